// What every policy document has around its spec.

import { Type } from 'typebox';
import { API_VERSION } from '../policy/api-version.ts';
import { CLOSED, checked, notes } from './schema-fields.ts';

/** The name of a service, lower case. */
export const serviceName = (means: string) => checked('serviceName', { means }, { maxLength: 128 });

const SUBSET_NAME = '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$';

/** The name of a subset within its service. */
export const subsetName = (means: string) =>
  Type.String({
    maxLength: 63,
    pattern: SUBSET_NAME,
    'x-expected': 'subset name: 1–63 of a–z, 0–9 and "-", with a letter or digit at both ends',
    ...notes({ means }),
  });

/** Subsets of a service by name. */
export const Subsets = Type.Optional(
  Type.Record(
    Type.String({ pattern: SUBSET_NAME }),
    Type.Object(
      { filter: checked('filter', { means: 'Consul filter expression over an instance of the service.' }) },
      CLOSED,
    ),
    {
      ...CLOSED,
      maxProperties: 32,
      ...notes({
        means:
          'Parts of the service that backendRefs of an HTTPRoute can name, by their name: { filter: EXPRESSION }, in the filter language of Consul.',
        elsewhere: 'Consul service-resolver Subsets, Istio subsets',
      }),
    },
  ),
);

export const Metadata = (name: ReturnType<typeof serviceName>) =>
  Type.Object(
    {
      name,
      labels: Type.Optional(
        Type.Record(
          Type.String({ pattern: '^[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?$' }),
          Type.String({ maxLength: 256 }),
          {
            ...CLOSED,
            maxProperties: 64,
            ...notes({ means: 'Own words about the document; nothing reads them.' }),
          },
        ),
      ),
    },
    CLOSED,
  );

export const apiVersion = Type.Literal(API_VERSION, notes({ means: 'Version of this format.' }));
