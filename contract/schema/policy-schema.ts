// The four kinds of policy document as JSON Schema: the one source of types, validation, OpenAPI, editor completion and
// docs/policy.md. The parts are in sections-schema.ts, route-schema.ts and intentions-schema.ts.

import { type Static, Type } from 'typebox';
import { apiVersion, Metadata, Subsets, serviceName } from './envelope-schema.ts';
import { ServiceIntentionsSchema } from './intentions-schema.ts';
import { HTTPRouteSchema } from './route-schema.ts';
import { CLOSED, checked, notes } from './schema-fields.ts';
import { CALLER_SECTIONS, SECTIONS, SectionsSchema } from './sections-schema.ts';

export const MeshDefaultsSchema = Type.Object(
  {
    apiVersion,
    kind: Type.Literal(
      'MeshDefaults',
      notes({ means: 'What applies to every service unless a closer document says otherwise.' }),
    ),
    metadata: Metadata(checked('serviceName', { means: 'Always global: there is one.' }, { enum: ['global'] })),
    spec: SectionsSchema,
  },
  { ...CLOSED, title: 'MeshDefaults' },
);

const Override = Type.Object(
  {
    caller: checked('callerGlob', { means: 'Callers this is for; * stands for any characters.' }, { maxLength: 128 }),
    ...CALLER_SECTIONS,
  },
  CLOSED,
);

export const ServicePolicySchema = Type.Object(
  {
    apiVersion,
    kind: Type.Literal('ServicePolicy', notes({ means: 'How callers treat one destination service.' })),
    metadata: Metadata(serviceName('The destination service.')),
    spec: Type.Object(
      {
        subsets: Subsets,
        ...SECTIONS,
        overrides: Type.Optional(
          Type.Array(Override, {
            maxItems: 100,
            'x-unique': 'caller',
            ...notes({
              means: 'Settings for some callers only. All that match apply, a later one on top of an earlier one.',
            }),
          }),
        ),
      },
      CLOSED,
    ),
  },
  { ...CLOSED, title: 'ServicePolicy' },
);
export type ServicePolicySpec = Static<typeof ServicePolicySchema>['spec'];

/** Schema by kind. */
export const POLICY_SCHEMAS = {
  MeshDefaults: MeshDefaultsSchema,
  ServicePolicy: ServicePolicySchema,
  HTTPRoute: HTTPRouteSchema,
  ServiceIntentions: ServiceIntentionsSchema,
} as const;

/** Any policy document; what editors and OpenAPI see. */
export const PolicySchema = Type.Union(Object.values(POLICY_SCHEMAS), { title: 'Outrigger policy document' });
