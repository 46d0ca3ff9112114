// HTTPRoute: where requests to one service go. Gateway API's spelling and bounds.

import { type Static, Type } from 'typebox';
import { HashKey } from './balancer-schema.ts';
import { apiVersion, Metadata, serviceName, subsetName } from './envelope-schema.ts';
import { FILTER_TYPES, Filter } from './route-filters-schema.ts';
import { Match } from './route-match-schema.ts';
import { CLOSED, count, inheritedDuration, notes } from './schema-fields.ts';

const BackendRef = Type.Object(
  {
    name: serviceName('Service that receives the request.'),
    subset: Type.Optional(subsetName('Only endpoints of this subset, which its ServicePolicy defines.')),
    weight: count(1, 0, 1_000_000, { means: 'Share of requests relative to the other backends; 0 = none.' }),
  },
  CLOSED,
);

const Rule = Type.Object(
  {
    name: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        pattern: '^[A-Za-z0-9._-]+$',
        'x-expected': 'letters, digits, ".", "_" or "-"',
        ...notes({ means: 'Name in logs and metrics; without one it is rule-N, N from 1.' }),
      }),
    ),
    matches: Type.Optional(
      Type.Array(Match, {
        maxItems: 64,
        ...notes({ means: 'Any of these must match; within one, all its parts. None = every request.' }),
      }),
    ),
    backendRefs: Type.Optional(
      Type.Array(BackendRef, {
        minItems: 1,
        maxItems: 16,
        'x-rules': ['someWeight', 'backendsApart'],
        ...notes({ means: 'Where the request goes, by weight; without any, to the service itself.' }),
      }),
    ),
    sticky: Type.Optional(
      Type.Object(HashKey.properties, {
        ...CLOSED,
        'x-rules': ['oneChoice'],
        ...notes({
          means:
            'Requests with the same key stay with one of backendRefs; when weights change, only as many keys move as they must. Without the key, chance decides.',
          elsewhere: 'Envoy weighted_clusters.use_hash_policy',
        }),
      }),
    ),
    timeouts: Type.Optional(
      Type.Object(
        {
          request: inheritedDuration('0s', '1d', {
            means: 'As timeouts.request, for this rule.',
            elsewhere: 'Gateway API timeouts.request',
          }),
          backendRequest: inheritedDuration('0s', '1d', {
            means: 'As timeouts.backendRequest, for this rule.',
            elsewhere: 'Gateway API timeouts.backendRequest',
          }),
        },
        { ...CLOSED, 'x-rules': ['attemptWithinRequest'] },
      ),
    ),
    retry: Type.Optional(
      Type.Object(
        {
          attempts: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: 10,
              ...notes({
                means: 'As retries.attempts, for this rule.',
                larger: 'each further attempt multiplies load during an outage',
              }),
            }),
          ),
          codes: Type.Optional(
            Type.Array(
              Type.Union([Type.Enum([409, 429]), Type.Integer({ minimum: 500, maximum: 599 })], {
                'x-expected': '409, 429 or 500 to 599',
              }),
              {
                maxItems: 102,
                uniqueItems: true,
                ...notes({
                  means:
                    'Statuses that are repeated, in place of the statuses of retries.on; failures to answer are repeated as there.',
                  elsewhere: 'Gateway API retry.codes',
                }),
              },
            ),
          ),
        },
        CLOSED,
      ),
    ),
    filters: Type.Optional(
      Type.Array(Filter, {
        maxItems: FILTER_TYPES.length,
        'x-unique': 'type',
        ...notes({ means: 'What else happens to the request, one filter of each type.' }),
      }),
    ),
  },
  { ...CLOSED, 'x-rules': ['filtersAgree'] },
);

export const HTTPRouteSchema = Type.Object(
  {
    apiVersion,
    kind: Type.Literal(
      'HTTPRoute',
      notes({ means: 'Where requests to one service go, by path, method and header; Gateway API spelling.' }),
    ),
    metadata: Metadata(serviceName('The service whose requests are routed.')),
    spec: Type.Object(
      {
        parentRefs: Type.Array(
          Type.Object(
            {
              kind: Type.Literal('Service', notes({ means: 'Always Service.' })),
              name: serviceName('The same as metadata.name.'),
            },
            CLOSED,
          ),
          { minItems: 1, maxItems: 1, ...notes({ means: 'The service this route is for.' }) },
        ),
        rules: Type.Array(Rule, {
          minItems: 1,
          maxItems: 1_000,
          'x-rules': ['givenNamesApart'],
          'x-unique': 'name',
          ...notes({
            means:
              'Exact path before longest prefix before regular expression before the prefix /, then method, then more headers, then more query parameters, then document order.',
          }),
        }),
      },
      CLOSED,
    ),
  },
  { ...CLOSED, title: 'HTTPRoute', 'x-rules': ['parentIsSelf', 'patternsCompile'] },
);
export type HTTPRouteSpec = Static<typeof HTTPRouteSchema>['spec'];
