// ServiceIntentions: who may call one service. Consul's words.

import { type Static, Type } from 'typebox';
import { apiVersion, Metadata, serviceName } from './envelope-schema.ts';
import { CLOSED, checked, notes } from './schema-fields.ts';

const ACTIONS = ['allow', 'deny'] as const;

const Permission = Type.Object(
  {
    action: Type.Enum([...ACTIONS], notes({ means: 'What happens to a request that matches.' })),
    http: Type.Object(
      {
        methods: Type.Optional(
          Type.Array(checked('method', { means: 'Method in capital letters.' }), {
            minItems: 1,
            maxItems: 32,
            uniqueItems: true,
            ...notes({ means: 'Methods; without any, every method.', elsewhere: 'Consul HTTP.Methods' }),
          }),
        ),
        pathPrefix: Type.Optional(
          checked(
            'path',
            { means: 'Path prefix, whole segments as in HTTPRoute.', elsewhere: 'Consul HTTP.PathPrefix' },
            { maxLength: 1_024 },
          ),
        ),
        pathExact: Type.Optional(
          checked('path', { means: 'Exact path.', elsewhere: 'Consul HTTP.PathExact' }, { maxLength: 1_024 }),
        ),
      },
      { ...CLOSED, 'x-rules': ['onePath'] },
    ),
  },
  CLOSED,
);

const Source = Type.Object(
  {
    name: checked(
      'sourceName',
      { means: 'Calling service, or * for every caller that is not named.' },
      { maxLength: 128 },
    ),
    action: Type.Optional(
      Type.Enum([...ACTIONS], notes({ means: 'Applies to every request of the caller; either this or permissions.' })),
    ),
    permissions: Type.Optional(
      Type.Array(Permission, {
        minItems: 1,
        maxItems: 100,
        ...notes({ means: 'The first that matches decides; when none does, defaultAction.' }),
      }),
    ),
  },
  { ...CLOSED, 'x-rules': ['actionOrPermissions'] },
);

export const ServiceIntentionsSchema = Type.Object(
  {
    apiVersion,
    kind: Type.Literal(
      'ServiceIntentions',
      notes({
        means: "Who may call one service. Enforced by the caller's agent: no security boundary until mutual TLS.",
      }),
    ),
    metadata: Metadata(serviceName('The service that is called.')),
    spec: Type.Object(
      {
        defaultAction: Type.Enum(
          [...ACTIONS],
          notes({
            means: 'What happens to callers and requests that nothing else matches.',
            elsewhere: 'Consul default intention policy',
          }),
        ),
        sources: Type.Optional(
          Type.Array(Source, {
            maxItems: 1_000,
            'x-unique': 'name',
            ...notes({ means: 'Callers; an exact name goes before *.', elsewhere: 'Consul Sources' }),
          }),
        ),
      },
      CLOSED,
    ),
  },
  { ...CLOSED, title: 'ServiceIntentions' },
);
export type ServiceIntentionsSpec = Static<typeof ServiceIntentionsSchema>['spec'];
