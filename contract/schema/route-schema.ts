// HTTPRoute: where requests to one service go. Gateway API's spelling and bounds.

import { type Static, Type } from 'typebox';
import { apiVersion, Metadata, serviceName } from './envelope-schema.ts';
import { CLOSED, checked, count, inheritedDuration, notes, word } from './schema-fields.ts';

const HeaderPair = Type.Object(
  {
    name: checked('editableHeaderName', { means: 'Header name, any case.' }),
    value: checked('headerValue', { means: 'Header value.' }, { maxLength: 4_096 }),
  },
  CLOSED,
);

const headerPairs = (means: string) =>
  Type.Optional(Type.Array(HeaderPair, { maxItems: 32, 'x-unique': 'name', ...notes({ means }) }));

const HeaderModifier = Type.Object(
  {
    set: headerPairs('Headers to set, replacing what is there.'),
    add: headerPairs('Headers to add beside what is there.'),
    remove: Type.Optional(
      Type.Array(checked('editableHeaderName', { means: 'Header name, any case.' }), {
        maxItems: 32,
        uniqueItems: true,
        ...notes({ means: 'Headers to remove.' }),
      }),
    ),
  },
  { ...CLOSED, 'x-rules': ['headerNamedOnce'] },
);

const Filter = Type.Object(
  {
    type: Type.Enum(
      ['RequestHeaderModifier', 'ResponseHeaderModifier'],
      notes({ means: 'Which of the two filters this is.' }),
    ),
    requestHeaderModifier: Type.Optional(HeaderModifier),
    responseHeaderModifier: Type.Optional(HeaderModifier),
  },
  { ...CLOSED, 'x-rules': ['filterMatchesType'] },
);

const Match = Type.Object(
  {
    path: Type.Optional(
      Type.Object(
        {
          type: word('PathPrefix', ['Exact', 'PathPrefix'], {
            means: 'PathPrefix compares whole segments: /a matches /a and /a/b, not /ab.',
          }),
          value: checked('path', { means: 'Path, case matters, without query.' }, { maxLength: 1_024 }),
        },
        CLOSED,
      ),
    ),
    method: Type.Optional(checked('method', { means: 'Method in capital letters.' })),
    headers: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: checked('headerName', { means: 'Header name, any case.' }),
            value: checked('headerValue', { means: 'The whole value, case matters.' }, { maxLength: 4_096 }),
          },
          CLOSED,
        ),
        {
          maxItems: 16,
          'x-unique': 'name',
          ...notes({ means: 'Headers that must all be there with exactly this value.' }),
        },
      ),
    ),
  },
  CLOSED,
);

const BackendRef = Type.Object(
  {
    name: serviceName('Service that receives the request.'),
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
        'x-unique': 'name',
        'x-rules': ['someWeight'],
        ...notes({ means: 'Where the request goes, by weight; without any, to the service itself.' }),
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
        maxItems: 2,
        'x-unique': 'type',
        ...notes({ means: 'Changes to request and response headers, one filter of each type.' }),
      }),
    ),
  },
  CLOSED,
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
          ...notes({ means: 'Exact path before longest prefix, then method, then more headers, then document order.' }),
        }),
      },
      CLOSED,
    ),
  },
  { ...CLOSED, title: 'HTTPRoute', 'x-rules': ['parentIsSelf'] },
);
export type HTTPRouteSpec = Static<typeof HTTPRouteSchema>['spec'];
