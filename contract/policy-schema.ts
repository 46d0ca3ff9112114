// The four kinds of policy document as JSON Schema: the one source of types, validation, OpenAPI, editor completion and
// docs/policy.md. A field is here only if it has an effect in this version.

import { type Static, Type } from 'typebox';
import { BALANCER_POLICIES, RETRY_CONDITIONS } from './policy.ts';
import { CLOSED, checked, count, duration, flag, inheritedDuration, notes, rate, word } from './schema-fields.ts';

export const API_VERSION = 'outrigger.dev/v1';

const STATUS_PATTERN = '^(409|429|5[0-9]{2})$';
const CONDITIONS_EXPECTED = `${RETRY_CONDITIONS.join(', ')} or a status in quotes: "409", "429", "500" to "599"`;

const LoadBalancer = Type.Object(
  {
    policy: word('peakEwma', BALANCER_POLICIES, {
      means: 'How an endpoint is picked for an attempt.',
      elsewhere: 'Envoy lb_policy, Istio loadBalancer.simple, Consul LoadBalancer.Policy',
    }),
    choiceCount: count(2, 2, 8, {
      means: 'Endpoints drawn for each pick by peakEwma and leastRequest; the cheapest is taken.',
      larger: 'more agents agree on the same best endpoint and crowd it',
      elsewhere: 'Envoy choice_count, Consul LeastRequestConfig.ChoiceCount',
    }),
  },
  CLOSED,
);

const Timeouts = Type.Object(
  {
    connect: duration('1s', '1ms', '1m', {
      means: 'Time to open a connection to an endpoint.',
      larger: 'a dead address holds a request longer before another is tried',
      elsewhere: 'Envoy connect_timeout, Istio tcp.connectTimeout, Consul ConnectTimeoutMs',
    }),
    request: duration('15s', '0s', '1d', {
      means: 'Whole request up to the response head, all attempts together; 0s = no limit.',
      larger: 'requests pile up behind a slow service',
      elsewhere: 'Envoy route timeout, Istio timeout, Gateway API timeouts.request, Consul RequestTimeout',
    }),
    backendRequest: duration('5s', '0s', '1d', {
      means: 'One attempt up to its response head; 0s = no limit. The request timeout ends it in any case.',
      larger: 'less of the request timeout is left for a second attempt',
      elsewhere: 'Envoy per_try_timeout, Istio perTryTimeout, Gateway API timeouts.backendRequest',
    }),
    idle: duration('60s', '1s', '1d', {
      means: 'Time without a byte in either direction while a body is under way.',
      larger: 'a stalled peer holds a connection longer',
      elsewhere: 'Envoy stream_idle_timeout',
    }),
  },
  { ...CLOSED, 'x-rules': ['attemptWithinRequest'] },
);

const Retries = Type.Object(
  {
    attempts: count(1, 0, 10, {
      means: 'Attempts after the first; 0 turns retries off.',
      larger: 'each further attempt multiplies load during an outage',
      elsewhere: 'Envoy num_retries, Istio retries.attempts, Consul NumRetries',
    }),
    on: Type.Optional(
      Type.Array(
        Type.Union([Type.Enum([...RETRY_CONDITIONS]), Type.String({ pattern: STATUS_PATTERN })], {
          'x-expected': CONDITIONS_EXPECTED,
        }),
        {
          maxItems: 120,
          uniqueItems: true,
          default: ['connectFailure', 'reset', 'timeout', 'gatewayError'],
          ...notes({
            means: `What is repeated: ${CONDITIONS_EXPECTED}. gatewayError is 502, 503 and 504.`,
            larger: 'more answers are asked for twice',
            elsewhere: 'Envoy retry_on, Istio retryOn, Consul RetryOnStatusCodes',
          }),
        },
      ),
    ),
    methods: Type.Optional(
      Type.Array(checked('method', { means: 'A method in capital letters.' }), {
        maxItems: 32,
        uniqueItems: true,
        default: ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'],
        ...notes({
          means:
            'Methods that may be repeated once bytes were sent. A request with an Idempotency-Key, and one of which nothing was sent, may always be.',
          larger: 'a method that is not idempotent may take effect twice',
          elsewhere: 'Linkerd isRetryable',
        }),
      }),
    ),
    budget: Type.Optional(
      Type.Object(
        {
          percent: count(20, 0, 100, {
            means: 'Retries allowed as a percentage of the requests within the interval.',
            larger: 'more extra load on a service that is failing already',
            elsewhere: 'Envoy retry_budget.budget_percent, Gateway API retryConstraint.budget.percent',
          }),
          interval: duration('10s', '1s', '1h', {
            means: 'Window over which requests are counted for the budget.',
            larger: 'a quiet hour pays for a burst of retries later',
            elsewhere: 'Gateway API retryConstraint.budget.interval, Finagle ttl',
          }),
          minRetryRate: rate('10/s', {
            means: 'Retries that are allowed whatever the traffic, as a rate.',
            larger: 'small services retry more than their share',
            elsewhere: 'Envoy min_retry_concurrency, Gateway API minRetryRate',
          }),
        },
        CLOSED,
      ),
    ),
  },
  CLOSED,
);

const Limits = Type.Object(
  {
    maxConnections: count(1024, 1, 65_535, {
      means: 'Connections to one endpoint from one agent.',
      larger: 'more sockets and memory on both sides',
      elsewhere: 'Envoy max_connections, Istio tcp.maxConnections, Consul MaxConnections',
    }),
    maxConcurrentRequests: count(10_000, 1, 1_000_000, {
      means: 'Requests in flight to the whole service from one agent; one more is answered 503 upstream_overflow.',
      larger: 'an overloaded service is protected later',
      elsewhere: 'Envoy max_requests, Istio http2MaxRequests, Consul MaxConcurrentRequests',
    }),
    idleTimeout: duration('60s', '100ms', '1d', {
      means: 'An idle pooled connection is closed after this long.',
      larger: 'more connections that the other side may have closed meanwhile',
      elsewhere: 'Envoy and Istio idleTimeout',
    }),
  },
  CLOSED,
);

const OutlierDetection = Type.Object(
  {
    consecutive5xxErrors: count(5, 0, 1_000, {
      means: 'Consecutive 5xx answers that eject an endpoint; 0 = off.',
      larger: 'a broken endpoint keeps its share of traffic longer',
      elsewhere: 'Envoy consecutive_5xx, Istio consecutive5xxErrors, Consul MaxFailures',
    }),
    consecutiveGatewayErrors: count(5, 0, 1_000, {
      means: 'Consecutive 502, 503 and 504 answers that eject an endpoint; 0 = off.',
      larger: 'a broken endpoint keeps its share of traffic longer',
      elsewhere: 'Envoy consecutive_gateway_failure, Istio consecutiveGatewayErrors',
    }),
    consecutiveLocalOriginFailures: count(5, 0, 1_000, {
      means: 'Consecutive connect failures, resets and timeouts that eject an endpoint; 0 = off.',
      larger: 'a dead endpoint keeps its share of traffic longer',
      elsewhere: 'Envoy consecutive_local_origin_failure, Istio consecutiveLocalOriginFailures',
    }),
    interval: duration('10s', '100ms', '1h', {
      means: 'Time between two sweeps, which eject and reinstate.',
      larger: 'an endpoint that recovered returns later',
      elsewhere: 'Envoy, Istio and Consul interval',
    }),
    baseEjectionTime: duration('30s', '100ms', '1d', {
      means: 'Length of the first ejection; the n-th in a row is n times as long.',
      larger: 'an endpoint that recovered returns later',
      elsewhere: 'Envoy base_ejection_time, Istio and Consul baseEjectionTime',
    }),
    maxEjectionTime: duration('5m', '100ms', '1d', {
      means: 'Longest ejection; a longer baseEjectionTime raises the default with it.',
      larger: 'an endpoint that failed often returns later',
      elsewhere: 'Envoy max_ejection_time',
    }),
    maxEjectionPercent: count(50, 0, 100, {
      means:
        'Ceiling on ejected endpoints: max(1, floor(percent × N / 100)), while at least one stays; 0 = eject none.',
      larger: 'those that stay must carry more',
      elsewhere: 'Envoy max_ejection_percent, Istio and Consul maxEjectionPercent',
    }),
    minHealthPercent: count(50, 0, 100, {
      means: 'Panic threshold: with a smaller share of serving endpoints, ejections are ignored; 0 = never.',
      larger: 'traffic returns to bad endpoints sooner',
      elsewhere: 'Envoy healthy_panic_threshold, Istio minHealthPercent',
    }),
  },
  { ...CLOSED, 'x-rules': ['baseWithinMaxEjection'] },
);

const SECTIONS = {
  loadBalancer: Type.Optional(LoadBalancer),
  timeouts: Type.Optional(Timeouts),
  retries: Type.Optional(Retries),
  limits: Type.Optional(Limits),
  outlierDetection: Type.Optional(OutlierDetection),
  exposeEndpoint: flag(false, {
    means: 'Tell the caller who answered: x-outrigger-endpoint and x-outrigger-attempts on the response.',
  }),
};

/** The settings that every layer may say; the object of all defaults is drawn from it. */
export const SectionsSchema = Type.Object(SECTIONS, CLOSED);
export type Sections = Static<typeof SectionsSchema>;

const serviceName = (means: string) => checked('serviceName', { means }, { maxLength: 128 });

const Metadata = (name: ReturnType<typeof serviceName>) =>
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

const apiVersion = Type.Literal(API_VERSION, notes({ means: 'Version of this format.' }));

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
    ...SECTIONS,
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

/** Schema by kind. */
export const POLICY_SCHEMAS = {
  MeshDefaults: MeshDefaultsSchema,
  ServicePolicy: ServicePolicySchema,
  HTTPRoute: HTTPRouteSchema,
  ServiceIntentions: ServiceIntentionsSchema,
} as const;

/** Any policy document; what editors and OpenAPI see. */
export const PolicySchema = Type.Union(Object.values(POLICY_SCHEMAS), { title: 'Outrigger policy document' });
