// What an HTTPRoute may say beyond headers and prefixes, and how it reaches the request path.

import t from 'tap';
import { compilePattern, MAX_PATTERN_LENGTH, MAX_SUBJECT_LENGTH, type Pattern } from '#contract/input/pattern.ts';
import { checkConsistency } from '#contract/policy/consistency.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { explainPlan, planService } from '#contract/policy/plan.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { MAX_PATTERNS } from '#contract/policy/route-rules.ts';
import { REQUEST_LIMITS } from '../../../agent/proxy/http1/fields.ts';
import { seededRandom } from '../../support/seeded-random.ts';

type Json = Readonly<Record<string, unknown>>;

function document(kind: string, name: string, spec: Json): Json {
  return { apiVersion: 'outrigger.dev/v1', kind, metadata: { name }, spec };
}

function route(...rules: readonly Json[]): Json {
  return document('HTTPRoute', 'api', { parentRefs: [{ kind: 'Service', name: 'api' }], rules });
}

function valid(input: unknown): PolicyDocument {
  const parsed = parsePolicy(input);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

/** `CODE path` of each problem. */
function problemsOf(input: unknown): string[] {
  const parsed = parsePolicy(input);
  return parsed.ok ? [] : parsed.problems.map(({ code, path }) => `${code} ${path}`);
}

function ok(text: string): Pattern {
  const compiled = compilePattern(text);
  if (!compiled.ok) throw new Error(`${text}: ${compiled.expected}`);
  return compiled.pattern;
}

t.test('regular expressions: linear engine, whole text, bounds on length and program', async (t) => {
  t.equal(ok('/v[12]/.*').test('/v1/x'), true);
  t.equal(ok('v').test('/v'), false);
  const bomb = ok('(a+)+$');
  // A backtracking engine needs 2^4000 steps here; this would never end.
  t.equal(bomb.test(`${'a'.repeat(4000)}!`), false);
  t.same([REQUEST_LIMITS.valueBytes, REQUEST_LIMITS.targetBytes], [MAX_SUBJECT_LENGTH, MAX_SUBJECT_LENGTH]);
  t.equal(bomb.test('a'.repeat(MAX_SUBJECT_LENGTH)), true);
  t.equal(bomb.test('a'.repeat(MAX_SUBJECT_LENGTH + 1)), false, 'a longer text is not looked at');
  const refused: [string, string, RegExp][] = [
    ['', 'OTR_FORMAT', /a regular expression/],
    ['a'.repeat(MAX_PATTERN_LENGTH + 1), 'OTR_RANGE', /at most 256 characters/],
    ['a\nb', 'OTR_FORMAT', /control characters/],
    ['(', 'OTR_FORMAT', /missing closing \)/],
    ['[', 'OTR_FORMAT', /missing closing \]/],
    ['(?=a)b', 'OTR_FORMAT', /RE2 syntax/],
    ['(a)\\1', 'OTR_FORMAT', /RE2 syntax/],
    ['a{101}', 'OTR_RANGE', /at most 100 times/],
    ['(.*a){60}', 'OTR_RANGE', /at most 100 instructions/],
    ['(((a{9}){9}){9})', 'OTR_RANGE', /at most 100 instructions/],
    ['((a{99}){99}){99}', 'OTR_FORMAT', /RE2 syntax/],
  ];
  for (const [text, code, message] of refused) {
    const compiled = compilePattern(text);
    t.equal(compiled.ok, false, text);
    if (compiled.ok) continue;
    t.equal(compiled.code, code, text);
    t.match(compiled.expected, message, text);
  }
});

t.test('S7: 200 patterns that ruin a backtracking engine, each against texts made for it', async (t) => {
  const templates = [
    '(X+)+$',
    '(X|X)*$',
    '(X|XX)+Y',
    '(X*)*Y',
    '(.*X){12}',
    '.*X.{20}',
    '([XY]*X[XY]{30})*Z',
    '(X+X+)+Y',
    '([a-z]+)*Y$',
    '(X?){15}X{15}',
  ];
  const letters = 'abcdefghijklmnopqrst';
  const patterns = [...letters].flatMap((x, index) => {
    const [y, z] = [letters[(index + 1) % letters.length] ?? '', letters[(index + 2) % letters.length] ?? ''];
    return templates.map((template) => ({
      x,
      y,
      text: template.replaceAll('X', x).replaceAll('Y', y).replaceAll('Z', z),
    }));
  });
  t.equal(patterns.length, 200);
  const random = seededRandom(5);
  let worstMs = 0;
  for (const { x, y, text } of patterns) {
    const pattern = ok(text);
    const mixed = Array.from({ length: MAX_SUBJECT_LENGTH }, () => (random() < 0.5 ? x : y)).join('');
    for (const subject of [`${x.repeat(MAX_SUBJECT_LENGTH - 1)}!`, mixed, x.repeat(32 * 1024)]) {
      const began = performance.now();
      pattern.test(subject);
      worstMs = Math.max(worstMs, performance.now() - began);
    }
  }
  t.comment(`worst ${worstMs.toFixed(1)} ms`);
  t.ok(worstMs < 1000, 'milliseconds, where backtracking takes years');
});

t.test('matches: values are judged by their type, and every regular expression where it stands', async (t) => {
  const at = 'spec.rules[0].matches[0]';
  const cases: [string, Json, string[]][] = [
    ['regex path', { path: { type: 'RegularExpression', value: '/v[0-9]+' } }, []],
    ['bad regex path', { path: { type: 'RegularExpression', value: '/v[' } }, [`OTR_FORMAT ${at}.path.value`]],
    ['regex as prefix', { path: { value: 'v[0-9]+' } }, [`OTR_FORMAT ${at}.path.value`]],
    ['query in path', { path: { type: 'Exact', value: '/a?b' } }, [`OTR_FORMAT ${at}.path.value`]],
    ['present', { headers: [{ type: 'Present', name: 'X-A' }] }, []],
    [
      'present with value',
      { headers: [{ type: 'Present', name: 'x', value: 'y' }] },
      [`OTR_INCONSISTENT ${at}.headers[0].value`],
    ],
    ['no value', { headers: [{ name: 'x' }] }, [`OTR_MISSING ${at}.headers[0].value`]],
    ['line end', { headers: [{ name: 'x', value: 'a\r\nb' }] }, [`OTR_FORMAT ${at}.headers[0].value`]],
    [
      'bad regex header',
      { headers: [{ type: 'RegularExpression', name: 'x', value: '(?=' }] },
      [`OTR_FORMAT ${at}.headers[0].value`],
    ],
    [
      'params by case',
      {
        queryParams: [
          { name: 'a', value: '1' },
          { name: 'A', value: '2' },
        ],
      },
      [],
    ],
    [
      'param twice',
      {
        queryParams: [
          { name: 'a', value: '1' },
          { name: 'a', value: '2' },
        ],
      },
      [`OTR_DUPLICATE ${at}.queryParams[1].name`],
    ],
    ['nameless param', { queryParams: [{ name: '', value: '1' }] }, [`OTR_RANGE ${at}.queryParams[0].name`]],
    [
      'bad regex param',
      { queryParams: [{ type: 'RegularExpression', name: 'a', value: 'x{999}' }] },
      [`OTR_RANGE ${at}.queryParams[0].value`],
    ],
    [
      'unknown type',
      { queryParams: [{ type: 'Prefix', name: 'a', value: 'x' }] },
      [`OTR_ENUM ${at}.queryParams[0].type`],
    ],
  ];
  for (const [what, match, expected] of cases) t.same(problemsOf(route({ matches: [match] })), expected, what);
  const many = (count: number) =>
    route(
      ...Array.from({ length: count }, (_, n) => ({
        matches: [{ path: { type: 'RegularExpression', value: `/${n}.*` } }],
      })),
    );
  t.same(problemsOf(many(MAX_PATTERNS)), []);
  t.same(problemsOf(many(MAX_PATTERNS + 1)), ['OTR_RANGE spec.rules']);
});

t.test('filters: each has its own key, and what cannot go together is refused', async (t) => {
  const rewrite = { type: 'URLRewrite', urlRewrite: { hostname: 'new.example' } };
  const redirect = { type: 'RequestRedirect', requestRedirect: { scheme: 'https' } };
  const mirror = { type: 'RequestMirror', requestMirror: { backendRef: { name: 'shadow' }, percent: 5 } };
  const fault = { type: 'FaultInjection', faultInjection: { delay: { duration: '50ms' }, abort: { percent: 1 } } };
  const remove = { type: 'RequestHeaderModifier', requestHeaderModifier: { remove: ['x'] } };
  const answer = { type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'a', value: 'b' }] } };
  const prefix = (value: string) => ({ type: 'ReplacePrefixMatch', replacePrefixMatch: value });
  const full = (value: string) => ({ type: 'ReplaceFullPath', replaceFullPath: value });
  const at = 'spec.rules[0].filters[0]';
  const cases: [string, Json, string[]][] = [
    ['all but redirect', { filters: [rewrite, mirror, fault, remove, answer] }, []],
    ['redirect', { filters: [redirect, answer] }, []],
    [
      'redirect and backends',
      { filters: [redirect], backendRefs: [{ name: 'api' }] },
      ['OTR_INCONSISTENT spec.rules[0].backendRefs'],
    ],
    ['redirect and rewrite', { filters: [redirect, rewrite] }, ['OTR_INCONSISTENT spec.rules[0].filters[1]']],
    ['mirror and redirect', { filters: [mirror, redirect] }, [`OTR_INCONSISTENT ${at}`]],
    ['fault and redirect', { filters: [fault, redirect] }, [`OTR_INCONSISTENT ${at}`]],
    ['sticky redirect', { filters: [redirect], sticky: { source: true } }, ['OTR_INCONSISTENT spec.rules[0].sticky']],
    ['twice', { filters: [rewrite, rewrite] }, ['OTR_DUPLICATE spec.rules[0].filters[1].type']],
    ['no key', { filters: [{ type: 'URLRewrite' }] }, [`OTR_MISSING ${at}.urlRewrite`]],
    [
      'other key',
      { filters: [{ ...mirror, type: 'URLRewrite' }] },
      [`OTR_MISSING ${at}.urlRewrite`, `OTR_INCONSISTENT ${at}.requestMirror`],
    ],
    ['nothing rewritten', { filters: [{ type: 'URLRewrite', urlRewrite: {} }] }, [`OTR_MISSING ${at}.urlRewrite`]],
    [
      'redirect to itself',
      { filters: [{ type: 'RequestRedirect', requestRedirect: { statusCode: 301 } }] },
      [`OTR_MISSING ${at}.requestRedirect`],
    ],
    ['no fault', { filters: [{ type: 'FaultInjection', faultInjection: {} }] }, [`OTR_MISSING ${at}.faultInjection`]],
    [
      'status',
      { filters: [{ type: 'RequestRedirect', requestRedirect: { port: 1, statusCode: 304 } }] },
      [`OTR_ENUM ${at}.requestRedirect.statusCode`],
    ],
    [
      'abort with 200',
      { filters: [{ type: 'FaultInjection', faultInjection: { abort: { status: 200 } } }] },
      [`OTR_RANGE ${at}.faultInjection.abort.status`],
    ],
    [
      'both paths',
      { filters: [{ type: 'URLRewrite', urlRewrite: { path: { ...full('/a'), replacePrefixMatch: '/b' } } }] },
      [`OTR_INCONSISTENT ${at}.urlRewrite.path.replacePrefixMatch`],
    ],
    [
      'prefix of an exact path',
      {
        matches: [{ path: { type: 'Exact', value: '/a' } }],
        filters: [{ type: 'URLRewrite', urlRewrite: { path: prefix('/b') } }],
      },
      [`OTR_INCONSISTENT ${at}.urlRewrite.path.type`],
    ],
    [
      'prefix of any path',
      { matches: [{ method: 'GET' }], filters: [{ type: 'URLRewrite', urlRewrite: { path: prefix('/b') } }] },
      [],
    ],
    [
      'backends by subset',
      { backendRefs: [{ name: 'api', subset: 'a' }, { name: 'api', subset: 'b' }, { name: 'api' }] },
      [],
    ],
    [
      'a backend twice',
      {
        backendRefs: [
          { name: 'api', subset: 'a' },
          { name: 'api', subset: 'a' },
        ],
      },
      ['OTR_DUPLICATE spec.rules[0].backendRefs[1].name'],
    ],
    ['two keys', { sticky: { header: 'a', cookie: 'b' } }, ['OTR_INCONSISTENT spec.rules[0].sticky.cookie']],
  ];
  for (const [what, rule, expected] of cases) t.same(problemsOf(route(rule)), expected, what);
  const path = `${at}.urlRewrite.path.replaceFullPath`;
  for (const value of [
    'a',
    '/a?b',
    '/a#b',
    '//evil',
    '/a//b',
    '/..',
    '/a/../b',
    '/a/.',
    '/%2F',
    '/%2e',
    '/%0A',
    '/%zz',
    '/a b',
    '/a\r\nx: y',
    '/é',
  ]) {
    const rule = { filters: [{ type: 'URLRewrite', urlRewrite: { path: full(value) } }] };
    t.same(problemsOf(route(rule)), [`OTR_FORMAT ${path}`], JSON.stringify(value));
  }
  for (const hostname of ['a b', 'A', 'a:80', 'a\r\nx: y', '', '-a', 'a..b', 'user@host', 'a/b', 'é']) {
    const rule = { filters: [{ type: 'URLRewrite', urlRewrite: { hostname } }] };
    t.same(problemsOf(route(rule)), [`OTR_FORMAT ${at}.urlRewrite.hostname`], JSON.stringify(hostname));
  }
});

t.test(
  'precedence: exact, longest prefix, regular expression, the prefix /, method, headers, parameters, order',
  async (t) => {
    const header = (name: string) => ({ type: 'Present', name });
    const names = [
      ['root', [{ path: { value: '/' } }]],
      ['any', []],
      ['param', [{ queryParams: [header('a')] }]],
      ['header', [{ headers: [header('a')] }]],
      ['method', [{ method: 'GET' }]],
      ['regex', [{ path: { type: 'RegularExpression', value: '/.*' } }]],
      ['regex-method', [{ path: { type: 'RegularExpression', value: '/a' }, method: 'GET' }]],
      ['short', [{ path: { value: '/a' } }]],
      ['long', [{ path: { value: '/a/b' } }]],
      ['exact', [{ path: { type: 'Exact', value: '/' } }]],
    ] as const;
    const plan = planService([valid(route(...names.map(([name, matches]) => ({ name, matches }))))], 'web', 'api');
    t.same(
      plan.rules.map(({ name }) => name),
      ['exact', 'long', 'short', 'regex-method', 'regex', 'method', 'header', 'param', 'root', 'any'],
    );
  },
);

t.test('subsets: filters are read when the policy is, and rules name only what is defined', async (t) => {
  const policy = (subsets: Json) => document('ServicePolicy', 'api', { subsets });
  const stable = { filter: 'Service.Meta.version == "1"' };
  t.same(problemsOf(policy({ stable })), []);
  t.same(problemsOf(policy({ stable: { filter: 'Service.Meta.version =' } })), [
    'OTR_FORMAT spec.subsets.stable.filter',
  ]);
  t.same(problemsOf(policy({ stable: {} })), ['OTR_MISSING spec.subsets.stable.filter']);
  t.same(problemsOf(policy({ 'No Name': stable })), ['OTR_UNKNOWN_KEY spec.subsets["No Name"]']);
  t.same(problemsOf(policy(Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`s${n}`, stable])))), [
    'OTR_RANGE spec.subsets',
  ]);
  const mirror = { type: 'RequestMirror', requestMirror: { backendRef: { name: 'other', subset: 'x' } } };
  const documents = [
    valid(policy({ stable })),
    valid(
      route({
        backendRefs: [
          { name: 'api', subset: 'stable' },
          { name: 'api', subset: 'canary' },
        ],
        filters: [mirror],
      }),
    ),
  ];
  const problems = checkConsistency(documents);
  t.same(
    problems.map(({ code, path }) => `${code} ${path}`),
    [
      'OTR_INCONSISTENT HTTPRoute/api: spec.rules[0].backendRefs[1].subset',
      'OTR_INCONSISTENT HTTPRoute/api: spec.rules[0].filters[0].requestMirror.backendRef.subset',
    ],
  );
  t.equal(problems[0]?.message, 'must be stable, found canary');
  t.equal(problems[1]?.message, 'must be a subset of other, which has none, found x');
  t.same(planService(documents, 'web', 'api').subsets, [{ name: 'stable', filter: stable.filter }]);
});

t.test('the plan has every filter in numbers, and explains it in the words of the document', async (t) => {
  const filters = [
    { type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/v2' } } },
    { type: 'RequestMirror', requestMirror: { backendRef: { name: 'shadow', subset: 'a' } } },
    { type: 'FaultInjection', faultInjection: { delay: { duration: '1.5s', percent: 10 }, abort: {} } },
  ];
  const documents = [
    valid(
      route(
        { name: 'one', matches: [{ path: { value: '/v1/' } }, {}], filters, sticky: { header: 'X-User' } },
        {
          name: 'two',
          matches: [{ path: { value: '/old' } }],
          filters: [{ type: 'RequestRedirect', requestRedirect: { hostname: 'h' } }],
        },
      ),
    ),
  ];
  const [two, one, rest] = planService(documents, 'web', 'api').rules;
  t.same(one?.rewrite, { hostname: null, path: { type: 'ReplacePrefixMatch', value: '/v2', prefix: '/v1' } });
  t.equal(rest?.rewrite?.path?.prefix, '/', 'each match has its own prefix');
  t.same(one?.mirror, { service: 'shadow', subset: 'a', percent: 100 });
  t.same(one?.fault, { delay: { durationMs: 1500, percent: 10 }, abort: { status: 503, percent: 100 } });
  t.same(one?.sticky, [{ kind: 'header', name: 'x-user' }]);
  t.same(two?.redirect, { scheme: null, hostname: 'h', port: null, path: null, status: 302 });
  t.same(explainPlan(documents, 'web', 'api').rules[1]?.filters, filters);
});
