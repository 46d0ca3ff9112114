// parsePolicy: what it accepts, and that each bad input gets its own problems, all at once.

import t from 'tap';
import { locateProblems, parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { formatProblems } from '#contract/text/problem-text.ts';

const policy = (spec: unknown, name = 'api') => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServicePolicy',
  metadata: { name },
  spec,
});
const route = (rule: unknown, parent = 'api') => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'api' },
  spec: { parentRefs: [{ kind: 'Service', name: parent }], rules: [rule] },
});
const intentions = (source: unknown) => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServiceIntentions',
  metadata: { name: 'api' },
  spec: { defaultAction: 'deny', sources: [source] },
});

/** `CODE path`, one for each problem. */
function problemsOf(input: unknown): string[] {
  const parsed = parsePolicy(input);
  return parsed.ok ? [] : parsed.problems.map(({ code, path }) => `${code} ${path}`);
}

t.test('a whole document of each kind is accepted, copied and frozen', async (t) => {
  const headers = { set: [{ name: 'X-Route', value: 'a b' }], remove: ['x-old'] };
  const documents = [
    {
      apiVersion: 'outrigger.dev/v1',
      kind: 'MeshDefaults',
      metadata: { name: 'global' },
      spec: { timeouts: { connect: '500ms' } },
    },
    policy({
      loadBalancer: { policy: 'leastRequest', choiceCount: 8 },
      timeouts: { connect: '250ms', request: '5s', backendRequest: '5s', idle: '1m' },
      retries: {
        attempts: 10,
        on: ['5xx', '503', '409'],
        methods: ['GET', 'PROPFIND'],
        budget: { percent: 0, interval: '1s', minRetryRate: '3/s' },
      },
      limits: { maxConnections: 1, maxConcurrentRequests: 1, idleTimeout: '1s' },
      outlierDetection: { consecutive5xxErrors: 0, baseEjectionTime: '1m', maxEjectionTime: '1m', minHealthPercent: 0 },
      exposeEndpoint: true,
      overrides: [{ caller: 'batch-*', retries: { attempts: 0 } }],
    }),
    route({
      name: 'orders',
      matches: [
        { path: { type: 'PathPrefix', value: '/orders' }, method: 'GET', headers: [{ name: 'x-canary', value: '1' }] },
      ],
      backendRefs: [{ name: 'api', weight: 0 }, { name: 'api-next' }],
      timeouts: { request: '1s', backendRequest: '400ms' },
      retry: { attempts: 1, codes: [429, 502, 599] },
      filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: headers }],
    }),
    intentions({ name: '*', permissions: [{ action: 'allow', http: { methods: ['GET'], pathPrefix: '/orders' } }] }),
  ];
  for (const document of documents) {
    const parsed = parsePolicy(document);
    t.same(parsed, { ok: true, value: document }, document.kind);
    t.ok(parsed.ok && Object.isFrozen(parsed.value.spec) && parsed.value.spec !== document.spec);
  }
});

t.test('each bad value is named with its code and path', async (t) => {
  const cases: readonly [string, unknown, string[]][] = [
    ['nothing', undefined, ['OTR_TYPE ']],
    ['a text', 'x', ['OTR_TYPE ']],
    ['no kind', {}, ['OTR_MISSING apiVersion', 'OTR_MISSING kind', 'OTR_MISSING metadata', 'OTR_MISSING spec']],
    ['version', { ...policy({}), apiVersion: 'v2' }, ['OTR_ENUM apiVersion']],
    ['upper-case name', policy({}, 'Api'), ['OTR_FORMAT metadata.name']],
    ['name of the defaults', { ...policy({}), kind: 'MeshDefaults' }, ['OTR_ENUM metadata.name']],
    [
      'unknown keys',
      policy({ reqest: 1, protocol: {} }),
      ['OTR_UNKNOWN_KEY spec.reqest', 'OTR_UNKNOWN_KEY spec.protocol'],
    ],
    [
      'types',
      policy({ retries: [], limits: null, exposeEndpoint: 'yes' }),
      ['OTR_TYPE spec.retries', 'OTR_TYPE spec.limits', 'OTR_TYPE spec.exposeEndpoint'],
    ],
    [
      'ranges',
      policy({ retries: { attempts: 11 }, loadBalancer: { choiceCount: 1 } }),
      ['OTR_RANGE spec.retries.attempts', 'OTR_RANGE spec.loadBalancer.choiceCount'],
    ],
    ['fractions', policy({ retries: { attempts: 1.5 } }), ['OTR_TYPE spec.retries.attempts']],
    [
      'durations',
      policy({ timeouts: { connect: 1, idle: '0s', request: '1 s' } }),
      ['OTR_TYPE spec.timeouts.connect', 'OTR_RANGE spec.timeouts.idle', 'OTR_FORMAT spec.timeouts.request'],
    ],
    [
      'conditions',
      policy({ retries: { on: ['404', 503, 'reset', 'reset'] } }),
      ['OTR_ENUM spec.retries.on[0]', 'OTR_ENUM spec.retries.on[1]', 'OTR_DUPLICATE spec.retries.on[3]'],
    ],
    [
      'attempt beyond request',
      policy({ timeouts: { request: '1s', backendRequest: '2s' } }),
      ['OTR_INCONSISTENT spec.timeouts.backendRequest'],
    ],
    [
      'max below base',
      policy({ outlierDetection: { baseEjectionTime: '1m', maxEjectionTime: '30s' } }),
      ['OTR_INCONSISTENT spec.outlierDetection.maxEjectionTime'],
    ],
    [
      'callers twice',
      policy({ overrides: [{ caller: 'a' }, { caller: 'a' }] }),
      ['OTR_DUPLICATE spec.overrides[1].caller'],
    ],
    ['other parent', route({}, 'other'), ['OTR_INCONSISTENT spec.parentRefs[0].name']],
    ['no weight', route({ backendRefs: [{ name: 'a', weight: 0 }] }), ['OTR_RANGE spec.rules[0].backendRefs']],
    ['codes', route({ retry: { codes: [404] } }), ['OTR_ENUM spec.rules[0].retry.codes[0]']],
    ['path', route({ matches: [{ path: { value: 'a?b' } }] }), ['OTR_FORMAT spec.rules[0].matches[0].path.value']],
    [
      'filter without its part',
      route({ filters: [{ type: 'ResponseHeaderModifier' }] }),
      ['OTR_MISSING spec.rules[0].filters[0].responseHeaderModifier'],
    ],
    ['source', intentions({ name: 'web' }), ['OTR_MISSING spec.sources[0].action']],
    [
      'both',
      intentions({ name: 'web', action: 'allow', permissions: [{ action: 'deny', http: { methods: ['GET'] } }] }),
      ['OTR_INCONSISTENT spec.sources[0].action'],
    ],
    [
      'two paths',
      intentions({ name: 'web', permissions: [{ action: 'deny', http: { pathPrefix: '/', pathExact: '/' } }] }),
      ['OTR_INCONSISTENT spec.sources[0].permissions[0].http.pathExact'],
    ],
  ];
  for (const [what, input, expected] of cases) t.same(problemsOf(input).sort(), [...expected].sort(), what);
});

t.test('I18: a header value that could end a line is refused, and so are headers of the connection', async (t) => {
  const set = (name: string, value: string) =>
    route({ filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name, value }] } }] });
  const at = 'spec.rules[0].filters[0].requestHeaderModifier.set[0]';
  for (const [index, value] of ['a\r\nx: y', 'a\n', '\0', 'a\u007f', ' a', 'a ', '\u0100', 'a\u2028b'].entries()) {
    // Not the value itself: U+2028 would end the line of the report.
    t.same(problemsOf(set('x', value)), [`OTR_FORMAT ${at}.value`], `value ${index}`);
  }
  for (const value of ['', 'a', 'a\tb', 'é', '"q"; v=1'])
    t.same(problemsOf(set('x', value)), [], JSON.stringify(value));
  for (const name of ['Host', 'content-length', 'Transfer-Encoding', 'connection', 'a b', 'a:', '', 'ä']) {
    t.same(problemsOf(set(name, 'v')), [`OTR_FORMAT ${at}.name`], name);
  }
});

t.test('limits: size, depth, rules, and no more problems than anyone reads', async (t) => {
  let deep: unknown = {};
  for (let level = 0; level < 20; level++) deep = { spec: deep };
  t.match(problemsOf(deep), [/^OTR_TOO_LARGE spec/]);
  const ring: Record<string, unknown> = {};
  ring.spec = ring;
  t.match(problemsOf(ring), [/^OTR_TOO_LARGE/]);
  t.same(problemsOf(policy({ x: 'y'.repeat(300_000) })), ['OTR_TOO_LARGE ']);
  t.same(problemsOf(policy({ x: 'é'.repeat(140_000) })), ['OTR_TOO_LARGE '], 'bytes, not characters');
  const shared = Array.from({ length: 400 }, () => 'x'.repeat(100));
  t.same(
    problemsOf(policy({ x: Array.from({ length: 1_000 }, () => shared) })),
    ['OTR_TOO_LARGE '],
    'aliases count each time',
  );
  const many = route({});
  const rules = (count: number) => ({
    ...many,
    spec: { ...many.spec, rules: Array.from({ length: count }, () => ({})) },
  });
  t.same(problemsOf(rules(1_000)), []);
  t.same(problemsOf(rules(1_001)), ['OTR_RANGE spec.rules']);
  const clash = { ...many, spec: { ...many.spec, rules: [{ name: 'rule-2' }, {}] } };
  t.same(problemsOf(clash), ['OTR_DUPLICATE spec.rules[0].name'], 'the second rule is rule-2 already');
  t.equal(
    problemsOf(policy(Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`k${index}`, 0])))).length,
    200,
  );
});

t.test('S6: keys of the prototype are ordinary unknown keys and change nothing', async (t) => {
  const before = Object.getOwnPropertyNames(Object.prototype).sort();
  const hostile = JSON.parse(
    '{"apiVersion":"outrigger.dev/v1","kind":"ServicePolicy","metadata":{"name":"api","labels":{"constructor":"x"}},' +
      '"spec":{"__proto__":{"retries":{"attempts":9}},"constructor":{"prototype":{"polluted":1}},"toString":1}}',
  );
  t.same(problemsOf(hostile), [
    'OTR_UNKNOWN_KEY spec.__proto__',
    'OTR_UNKNOWN_KEY spec.constructor',
    'OTR_UNKNOWN_KEY spec.toString',
  ]);
  t.same(problemsOf({ ...policy({}), kind: '__proto__' }), ['OTR_ENUM kind']);
  t.same(problemsOf({ ...policy({}), kind: 'constructor' }), ['OTR_ENUM kind']);
  t.same(Object.getOwnPropertyNames(Object.prototype).sort(), before);
  t.equal(({} as { polluted?: unknown }).polluted, undefined);
});

t.test('what is no data at all is refused without a throw', async (t) => {
  const throwing = {
    get kind(): string {
      throw new Error('no');
    },
  };
  const trap = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error('no');
      },
    },
  );
  for (const input of [throwing, trap, new Date(), new Map(), 1n, Symbol('x'), () => 1, Number.NaN, [1]]) {
    t.notOk(parsePolicy(input).ok);
    t.notOk(parsePolicy(policy(input)).ok);
  }
});

t.test('hints name the nearest word, the word from elsewhere, the missing quotes', async (t) => {
  const parsed = parsePolicy(
    policy({
      timeouts: { reqest: '1s', perTryTimeout: '1s' },
      loadBalancer: { policy: 'least_request' },
      retries: { on: [503], attempts: 99 },
    }),
  );
  const hints = parsed.ok ? [] : parsed.problems.map(({ path, hint }) => `${path}: ${hint}`);
  t.same(
    hints,
    [
      'spec.loadBalancer.policy: did you mean leastRequest?',
      'spec.timeouts.reqest: did you mean request?',
      'spec.timeouts.perTryTimeout: use timeouts.backendRequest',
      'spec.retries.on[0]: put it in quotes: "503"',
      'spec.retries.attempts: what a larger value costs: each further attempt multiplies load during an outage',
    ].sort((a, b) => hints.indexOf(a) - hints.indexOf(b)),
  );
});

t.test('a problem is printed with its line, a caret and a way out', async (t) => {
  const text =
    'apiVersion: outrigger.dev/v1\nkind: ServicePolicy\nmetadata: { name: api }\nspec:\n  timeouts:\n    reqest: 1s\n';
  const documents = parseYamlDocuments(text, 'api.yaml');
  const [document] = documents.ok ? documents.value : [];
  const parsed = parsePolicy(document?.value);
  if (document === undefined || parsed.ok) return t.fail('must not be valid');
  const block = formatProblems(locateProblems(parsed.problems, document, 'api.yaml'), {
    sources: new Map([['api.yaml', text]]),
  });
  t.equal(
    block,
    [
      'error OTR_UNKNOWN_KEY  api.yaml:6:5  spec.timeouts.reqest',
      '   6 |     reqest: 1s',
      '     |     ^^^^^^ unknown key; known are connect, request, backendRequest, idle',
      '  why   a key that this kind of document does not have',
      '  fix   did you mean request?',
    ].join('\n'),
  );
  const secret = formatProblems(
    [{ code: 'OTR_TYPE', path: 'consul.token', message: 'm', file: 'a', line: 1, column: 8 }],
    { sources: new Map([['a', 'token: 12345']]) },
  );
  t.notMatch(secret, /12345/, 'a token is not repeated');
});
