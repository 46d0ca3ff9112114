// planService, explainPlan, checkConsistency.

import t from 'tap';
import { checkConsistency } from '#contract/policy/consistency.ts';
import { matchesGlob } from '#contract/policy/layers.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { DEFAULT_POLICY, explainPlan, planService } from '#contract/policy/plan.ts';
import type { PolicyDocument, PolicyKind } from '#contract/policy/policy.ts';

function document(kind: PolicyKind, name: string, spec: unknown): PolicyDocument {
  const parsed = parsePolicy({ apiVersion: 'outrigger.dev/v1', kind, metadata: { name }, spec });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}
const route = (name: string, rules: unknown[]) =>
  document('HTTPRoute', name, { parentRefs: [{ kind: 'Service', name }], rules });

t.test('the defaults are those that were agreed', async (t) => {
  t.same(DEFAULT_POLICY, {
    loadBalancer: {
      policy: 'peakEwma',
      choiceCount: 2,
      slowStart: { windowMs: 30_000, minWeightPercent: 10, aggression: 1 },
      hashOn: [],
      hashBalanceFactor: 0,
      zoneAware: { isEnabled: false, minHosts: 2, isLoadAware: false },
      failover: [],
      subsetSize: 0,
    },
    timeouts: { connectMs: 1_000, requestMs: 15_000, backendRequestMs: 5_000, idleMs: 60_000 },
    retries: {
      attempts: 1,
      onConditions: ['connectFailure', 'reset', 'timeout', 'gatewayError'],
      onStatuses: [],
      methods: ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'],
      backoff: { baseMs: 25, maxMs: 250 },
      hedging: { isEnabled: false, percentile: 95, minDelayMs: 1 },
      budget: { percent: 20, intervalMs: 10_000, minRetriesPerSecond: 10 },
    },
    limits: {
      maxConnections: 1_024,
      maxConcurrentRequests: 10_000,
      maxPendingRequests: 100,
      queueTimeoutMs: 1_000,
      sheddablePercent: 80,
      idleTimeoutMs: 60_000,
      adaptiveConcurrency: {
        isEnabled: false,
        initialLimit: 20,
        minLimit: 4,
        maxLimit: 1_000,
        bufferPercent: 25,
        windowMs: 1_000,
      },
    },
    admissionControl: {
      isEnabled: false,
      successThresholdPercent: 95,
      aggression: 1,
      windowMs: 30_000,
      maxRejectPercent: 80,
      minRequestsPerSecond: 5,
    },
    rateLimit: { requests: 0, perMs: 1_000, burst: 0 },
    outlierDetection: {
      consecutive5xxErrors: 5,
      consecutiveGatewayErrors: 5,
      consecutiveLocalOriginFailures: 5,
      intervalMs: 10_000,
      baseEjectionTimeMs: 30_000,
      maxEjectionTimeMs: 300_000,
      maxEjectionPercent: 50,
      minHealthPercent: 50,
      maxEjectionTimeJitterMs: 0,
      successfulActiveHealthCheckUnejectHost: true,
      enforcingConsecutive5xx: 100,
      enforcingConsecutiveGatewayFailure: 100,
      enforcingConsecutiveLocalOriginFailure: 100,
      successRate: {
        enforcing: 100,
        enforcingLocalOrigin: 100,
        minimumHosts: 5,
        requestVolume: 100,
        stdevFactor: 1900,
      },
      failurePercentage: {
        enforcing: 0,
        enforcingLocalOrigin: 0,
        threshold: 85,
        minimumHosts: 5,
        requestVolume: 50,
      },
      robustSuccessRate: { enforcing: 100, minimumHosts: 3, requestVolume: 20 },
      latency: { enforcing: 100, minimumHosts: 3, requestVolume: 30, windowMs: 1_000, minimumDifferenceMs: 20 },
    },
    healthCheck: {
      type: 'off',
      path: '/healthz',
      expectedStatuses: [200],
      intervalMs: 10_000,
      timeoutMs: 1_000,
      unhealthyThreshold: 3,
      healthyThreshold: 2,
      jitterPercent: 20,
    },
    exposeEndpoint: false,
    slo: { latencyThresholdMs: 0 },
  });
  t.same(planService([], 'web', 'api'), {
    service: 'api',
    policy: DEFAULT_POLICY,
    rules: [],
    subsets: [],
    permission: { kind: 'allow' },
  });
  t.ok(Object.isFrozen(planService([], 'web', 'api').policy.retries.budget));
});

t.test('the closest document wins, value by value, and is named', async (t) => {
  const documents = [
    route('api', [{ name: 'slow', timeouts: { request: '40s' }, retry: { attempts: 4, codes: [502] } }]),
    document('ServicePolicy', 'api', {
      timeouts: { request: '3s' },
      retries: { on: ['connectFailure', '5xx', '503'] },
      overrides: [
        { caller: 'batch-*', timeouts: { request: '30s' }, retries: { attempts: 0 } },
        { caller: '*-night', retries: { attempts: 2 } },
      ],
    }),
    document('MeshDefaults', 'global', { timeouts: { connect: '500ms', request: '9s' } }),
  ];
  const web = planService(documents, 'web', 'api');
  t.same([web.policy.timeouts.connectMs, web.policy.timeouts.requestMs, web.policy.retries.attempts], [500, 3_000, 1]);
  t.equal(web.policy.timeouts.backendRequestMs, 3_000, 'an attempt never outlasts the request');
  t.same([web.policy.retries.onConditions, web.policy.retries.onStatuses], [['connectFailure', '5xx'], [503]]);
  const batch = planService(documents, 'batch-night', 'api').policy;
  t.same([batch.timeouts.requestMs, batch.retries.attempts], [30_000, 2], 'a later override lies on top');
  const [rule] = web.rules;
  t.same(
    rule?.policies.map(({ timeouts }) => timeouts.requestMs),
    [40_000],
  );
  t.same(
    rule?.policies.map(({ retries }) => [retries.attempts, retries.onConditions, retries.onStatuses]),
    [[4, ['connectFailure'], [502]]],
  );

  const explained = explainPlan(documents, 'web', 'api');
  t.same(explained.policy.timeouts, {
    connect: { value: '500ms', from: 'MeshDefaults/global' },
    request: { value: '3s', from: 'ServicePolicy/api' },
    backendRequest: { value: '3s', from: 'ServicePolicy/api' },
    idle: { value: '60s', from: 'default' },
  });
  t.same(explained.rules[0]?.backends[0]?.policy.retries.attempts, { value: 4, from: 'HTTPRoute/api' });
});

t.test('each backend of a rule keeps the policy of its own service', async (t) => {
  const documents = [
    document('ServicePolicy', 'api-next', { timeouts: { connect: '77ms' } }),
    route('api', [{ backendRefs: [{ name: 'api', weight: 9 }, { name: 'api-next' }] }]),
  ];
  const [rule] = planService(documents, 'web', 'api').rules;
  t.same(rule?.backends, [
    { service: 'api', subset: null, weight: 9 },
    { service: 'api-next', subset: null, weight: 1 },
  ]);
  t.same(
    rule?.policies.map(({ timeouts }) => timeouts.connectMs),
    [1_000, 77],
  );
});

t.test('rules are sorted as Gateway API asks: exact, longest prefix, method, headers, document order', async (t) => {
  const header = (name: string) => ({ name, value: '1' });
  const rules = [
    { name: 'all' },
    { name: 'all-2' },
    { name: 'one-header', matches: [{ headers: [header('X-A')] }] },
    { name: 'two-headers', matches: [{ headers: [header('x-a'), header('x-b')] }] },
    { name: 'method', matches: [{ method: 'GET' }] },
    {
      name: 'short',
      matches: [{ path: { type: 'PathPrefix', value: '/a/' }, method: 'GET', headers: [header('x-a')] }],
    },
    {
      name: 'long-and-exact',
      matches: [{ path: { type: 'PathPrefix', value: '/a/b' } }, { path: { type: 'Exact', value: '/' } }],
    },
    { name: 'middle', matches: [{ path: { value: '/ab' } }] },
  ];
  const plan = planService([route('api', rules)], 'web', 'api');
  t.same(
    plan.rules.map(({ name }) => name),
    ['long-and-exact', 'long-and-exact', 'middle', 'short', 'method', 'two-headers', 'one-header', 'all', 'all-2'],
  );
  t.same(plan.rules[3]?.matches, [
    {
      path: { type: 'PathPrefix', value: '/a' },
      method: 'GET',
      headers: [{ type: 'Exact', name: 'x-a', value: '1' }],
      queryParams: [],
    },
  ]);
  t.ok(
    plan.rules.every(({ matches, policies, backends }) => matches.length === 1 && policies.length === backends.length),
  );
  t.same(
    planService([route('api', [{}, { name: 'b' }, {}])], 'w', 'api').rules.map(({ name }) => name),
    ['rule-1', 'b', 'rule-3'],
  );
});

t.test('header changes are lower case', async (t) => {
  const filters = [
    { type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'X-A', value: 'V' }], remove: ['X-B'] } },
    { type: 'ResponseHeaderModifier', responseHeaderModifier: { add: [{ name: 'Via', value: 'x' }] } },
  ];
  const [rule] = planService([route('api', [{ filters }])], 'web', 'api').rules;
  t.same(rule?.requestHeaders, { set: [{ name: 'x-a', value: 'V' }], add: [], remove: ['x-b'] });
  t.same(rule?.responseHeaders, { set: [], add: [{ name: 'via', value: 'x' }], remove: [] });
});

t.test('intentions: exact before *, * before the default, and the last permission decides the rest', async (t) => {
  const documents = [
    document('ServiceIntentions', 'api', {
      defaultAction: 'deny',
      sources: [
        { name: '*', action: 'allow' },
        { name: 'web', action: 'deny' },
        { name: 'reports', permissions: [{ action: 'allow', http: { methods: ['GET'], pathPrefix: '/orders' } }] },
      ],
    }),
    document('ServiceIntentions', 'closed', { defaultAction: 'deny' }),
  ];
  const from = 'ServiceIntentions/api';
  t.same(planService(documents, 'web', 'api').permission, { kind: 'deny', from });
  t.same(planService(documents, 'other', 'api').permission, { kind: 'allow' });
  t.same(planService(documents, 'other', 'closed').permission, { kind: 'deny', from: 'ServiceIntentions/closed' });
  t.same(planService(documents, 'reports', 'api').permission, {
    kind: 'permissions',
    from,
    permissions: [
      { action: 'allow', methods: ['GET'], pathPrefix: '/orders', pathExact: null },
      { action: 'deny', methods: null, pathPrefix: null, pathExact: null },
    ],
  });
});

t.test('globs', async (t) => {
  const cases: readonly [string, string, boolean][] = [
    ['*', '', true],
    ['*', 'a', true],
    ['batch-*', 'batch-', true],
    ['batch-*', 'batch', false],
    ['*-a-*', 'x-a-b-a-', true],
    ['a*b*c', 'abbc', true],
    ['a*b', 'abc', false],
    ['a', 'ab', false],
  ];
  for (const [glob, text, expected] of cases) t.equal(matchesGlob(glob, text), expected, `${glob} ${text}`);
});

t.test('checkConsistency names what can never take effect, and lets a closer document tighten', async (t) => {
  const defaults = (spec: unknown) => document('MeshDefaults', 'global', spec);
  const api = (spec: unknown) => document('ServicePolicy', 'api', spec);
  const at = (...documents: PolicyDocument[]) => checkConsistency(documents).map(({ code, path }) => `${code} ${path}`);
  t.same(at(), []);
  t.same(at(api({}), api({})), ['OTR_DUPLICATE ServicePolicy/api: metadata.name']);
  t.same(
    at(api({ timeouts: { backendRequest: '20s' } })),
    ['OTR_INCONSISTENT ServicePolicy/api: spec.timeouts.backendRequest'],
    'longer than the default request',
  );
  t.same(at(defaults({ timeouts: { request: '60s' } }), api({ timeouts: { backendRequest: '20s' } })), []);
  t.same(
    at(defaults({ timeouts: { request: '0s' } }), api({ timeouts: { backendRequest: '20s' } })),
    [],
    '0s is no limit',
  );
  t.same(at(defaults({ timeouts: { backendRequest: '10s' } }), api({ timeouts: { request: '1s' } })), [], 'tightened');
  const override = api({ overrides: [{ caller: 'x', timeouts: { backendRequest: '1m' } }] });
  t.same(at(override), ['OTR_INCONSISTENT ServicePolicy/api: spec.overrides[0].timeouts.backendRequest']);
  const rule = route('web', [{}, { backendRefs: [{ name: 'api' }], timeouts: { backendRequest: '4s' } }]);
  t.same(at(rule, api({ timeouts: { request: '3s' } })), [
    'OTR_INCONSISTENT HTTPRoute/web: spec.rules[1].timeouts.backendRequest',
  ]);
  t.same(at(rule), []);
  t.same(at(api({ outlierDetection: { maxEjectionTime: '10s' } })), [
    'OTR_INCONSISTENT ServicePolicy/api: spec.outlierDetection.maxEjectionTime',
  ]);
  const long = api({ outlierDetection: { baseEjectionTime: '10m' } });
  t.same(at(long), [], 'raises the default maximum');
  t.equal(planService([long], 'web', 'api').policy.outlierDetection.maxEjectionTimeMs, 600_000);
  t.same(at(defaults({ outlierDetection: { maxEjectionTime: '5m' } }), long), [
    'OTR_INCONSISTENT ServicePolicy/api: spec.outlierDetection.baseEjectionTime',
  ]);
});
