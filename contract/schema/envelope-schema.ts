// What every policy document has around its spec.

import { Type } from 'typebox';
import { API_VERSION } from '../policy/api-version.ts';
import { CLOSED, checked, notes } from './schema-fields.ts';

/** The name of a service, lower case. */
export const serviceName = (means: string) => checked('serviceName', { means }, { maxLength: 128 });

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
