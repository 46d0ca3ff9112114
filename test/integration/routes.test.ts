// Routes through real sockets: matching, subsets, sticky splits, rewrite and redirect, and what hostile clients make of them.

import t from 'tap';
import type { PathChange, Redirect, RouteRule } from '#contract/policy/route-rule.ts';
import { startOrigin } from '../support/origin.ts';
import { startRig } from '../support/proxy-rig.ts';
import { exchangeRaw } from '../support/raw-client.ts';
import { backend, match, ruleTo } from '../support/rules.ts';

const ask = (target: string, lines = '', host = 'api') =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${lines}Connection: close\r\n\r\n`;
const prefix = (value: string, from: string): PathChange => ({ type: 'ReplacePrefixMatch', value, prefix: from });
const under = (value: string) => [match({ path: { type: 'PathPrefix', value } })];

function redirectTo(changes: Partial<Redirect>): Redirect {
  return { scheme: null, hostname: null, port: null, path: null, status: 302, ...changes };
}

t.test('a pattern, a header pattern and a query parameter choose the backend', async (t) => {
  const [api, other] = [await startOrigin(t), await startOrigin(t)];
  const rig = await startRig(t, { api: [api.port], other: [other.port] });
  rig.setService('api', [api.port], undefined, [
    ruleTo('other', { matches: [match({ path: { type: 'RegularExpression', value: '/v[0-9]+/.*' } })] }),
    ruleTo('other', { matches: [match({ headers: [{ type: 'RegularExpression', name: 'x-user', value: 'u-.*' }] })] }),
    ruleTo('other', { matches: [match({ queryParams: [{ type: 'Exact', name: 'beta', value: 'yes' }] })] }),
    ruleTo('api'),
  ]);
  const cases: [string, string, boolean][] = [
    ['/v12/a', '', true],
    ['/v12', '', false],
    ['/x/../v1/a', '', true],
    ['/%76%31/a', '', true],
    ['/', 'X-User: u-1\r\n', true],
    ['/', 'X-User: x\r\nX-User: u-1\r\n', false],
    ['/?beta=yes', '', true],
    ['/?beta=%79es', '', true],
    ['/?beta=no&beta=yes', '', false],
    ['/?', '', false],
  ];
  for (const [target, lines, isOther] of cases) {
    const before = other.requests();
    t.match(await exchangeRaw(t, rig.port, ask(target, lines)), /^HTTP\/1.1 200 /);
    t.equal(other.requests() - before, isOther ? 1 : 0, `${target} ${lines}`);
  }
});

t.test('a pattern that ruins a backtracking engine is answered at once', async (t) => {
  const api = await startOrigin(t);
  const rig = await startRig(t, { api: [api.port] });
  rig.setService('api', [api.port], undefined, [
    ruleTo('api', { matches: [match({ headers: [{ type: 'RegularExpression', name: 'x-a', value: '(a+)+$' }] })] }),
  ]);
  const answer = await exchangeRaw(t, rig.port, ask('/', `X-A: ${'a'.repeat(8000)}!\r\n`));
  t.match(answer, /^HTTP\/1.1 404 [\s\S]*no_route/);
});

t.test('a subset gets what its filter says; an empty one says which filter matched nobody', async (t) => {
  const [stable, canary] = [await startOrigin(t), await startOrigin(t)];
  const ports = [stable.port, canary.port];
  const rig = await startRig(t, { api: ports });
  const to = (subset: string) => ruleTo('api', { name: subset, backends: [backend('api', 1, subset)] });
  const byHeader = (subset: string): RouteRule => ({
    ...to(subset),
    matches: [match({ headers: [{ type: 'Exact', name: 'x-subset', value: subset }] })],
  });
  rig.setService(
    'api',
    ports,
    undefined,
    [byHeader('canary'), byHeader('none'), byHeader('lost'), to('stable')],
    undefined,
    [
      { name: 'stable', filter: `"port-${stable.port}" in Service.Tags` },
      { name: 'canary', filter: `Service.Port == ${canary.port}` },
      { name: 'none', filter: 'Service.Meta.version == "9"' },
    ],
  );
  for (let request = 0; request < 6; request++) await exchangeRaw(t, rig.port, ask('/'));
  t.same([stable.requests(), canary.requests()], [6, 0]);
  for (let request = 0; request < 6; request++) await exchangeRaw(t, rig.port, ask('/', 'X-Subset: canary\r\n'));
  t.same([stable.requests(), canary.requests()], [6, 6]);
  t.match(
    await exchangeRaw(t, rig.port, ask('/', 'X-Subset: none\r\n')),
    /^HTTP\/1.1 503 [\s\S]*no_healthy_upstream[\s\S]*subset none of api has no endpoint: its filter matches none \(Service.Meta.version == \\"9\\"\)/,
  );
  t.match(await exchangeRaw(t, rig.port, ask('/', 'X-Subset: lost\r\n')), /api has no subset lost/);
  t.equal(rig.snapshot().services.get('api')?.stats.inFlight, 0);
  canary.answer = 'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n';
  await exchangeRaw(t, rig.port, ask('/', 'X-Subset: canary\r\n'));
  t.equal(stable.requests(), 6, 'a retry stays within the subset');
});

t.test('a sticky split keeps a user with one backend', async (t) => {
  const [a, b] = [await startOrigin(t), await startOrigin(t)];
  const rig = await startRig(t, { a: [a.port], b: [b.port] });
  rig.setService('a', [a.port], undefined, [
    ruleTo('a', { backends: [backend('a', 50), backend('b', 50)], sticky: [{ kind: 'cookie', name: 'sid' }] }),
  ]);
  for (let user = 0; user < 12; user++) {
    const before = [a.requests(), b.requests()];
    for (let request = 0; request < 3; request++) {
      await exchangeRaw(t, rig.port, ask('/', `Cookie: x=1; sid=user-${user}\r\n`, 'a'));
    }
    const grown = [a.requests() - (before[0] ?? 0), b.requests() - (before[1] ?? 0)];
    t.ok(grown.includes(3) && grown.includes(0), `user ${user}: ${grown}`);
  }
  t.ok(a.requests() > 0 && b.requests() > 0);
});

t.test('a rewrite changes path and Host, keeps the query, and tells the application what was asked for', async (t) => {
  const api = await startOrigin(t);
  const rig = await startRig(t, { api: [api.port] });
  rig.setService('api', [api.port], undefined, [
    ruleTo('api', { matches: under('/v1'), rewrite: { hostname: 'new.example', path: prefix('/v2', '/v1') } }),
    ruleTo('api', { matches: under('/strip'), rewrite: { hostname: null, path: prefix('/', '/strip') } }),
    ruleTo('api', { rewrite: { hostname: null, path: { type: 'ReplaceFullPath', value: '/all', prefix: '/' } } }),
  ]);
  const cases: [string, string][] = [
    ['/v1/a?b=/v1', 'GET /v2/a?b=/v1 HTTP/1.1 | host: new.example'],
    ['/v1', 'GET /v2 HTTP/1.1 | host: new.example'],
    ['/strip/a', 'GET /a HTTP/1.1 | host: api'],
    ['/strip', 'GET / HTTP/1.1 | host: api'],
    ['/strip//evil.example/x', 'GET /evil.example/x HTTP/1.1 | host: api'],
    ['/strip/%2e%2e/v1/x', 'GET /v2/x HTTP/1.1 | host: new.example'],
    ['/strip/%2Fadmin', 'GET /%2Fadmin HTTP/1.1 | host: api'],
    ['/v1/..%2f..%2fadmin', 'GET /v2/..%2F..%2Fadmin HTTP/1.1 | host: new.example'],
    ['/v1x?q', 'GET /all?q HTTP/1.1 | host: api'],
  ];
  for (const [target, head] of cases) {
    t.match(await exchangeRaw(t, rig.port, ask(target)), /^HTTP\/1.1 200 /);
    const got =
      api.received
        .join('')
        .split(/(?=GET )/)
        .at(-1) ?? '';
    t.equal(got.split('\r\n').slice(0, 2).join(' | '), head, target);
    t.match(got, /x-forwarded-host: api\r\n/);
  }
});

t.test('permissions go by the path that the service gets to see as well', async (t) => {
  const api = await startOrigin(t);
  const rig = await startRig(t, { api: [api.port] });
  const rules = [ruleTo('api', { matches: under('/open'), rewrite: { hostname: null, path: prefix('/', '/open') } })];
  rig.setService('api', [api.port], undefined, rules, {
    kind: 'permissions',
    from: 'ServiceIntentions/api',
    permissions: [
      { action: 'deny', methods: null, pathPrefix: '/admin', pathExact: null },
      { action: 'allow', methods: null, pathPrefix: '/', pathExact: null },
    ],
  });
  t.match(await exchangeRaw(t, rig.port, ask('/open/a')), /^HTTP\/1.1 200 /);
  t.match(await exchangeRaw(t, rig.port, ask('/open/admin/x')), /^HTTP\/1.1 403 /);
  t.match(await exchangeRaw(t, rig.port, ask('/open/%61dmin')), /^HTTP\/1.1 403 /);
  t.match(await exchangeRaw(t, rig.port, ask('/open/%2Fadmin')), /^HTTP\/1.1 400 /);
  t.equal(api.requests(), 1);
});

t.test(
  'a redirect is the agent’s own answer: absolute, with the policy’s headers, counted as ok, asked of nobody',
  async (t) => {
    const api = await startOrigin(t);
    const rig = await startRig(t, { api: [api.port] });
    rig.setService('api', [api.port], undefined, [
      ruleTo('api', { matches: under('/tls'), redirect: redirectTo({ scheme: 'https', status: 308 }) }),
      ruleTo('api', {
        matches: under('/old'),
        redirect: redirectTo({ hostname: 'new.example', port: 8443, path: prefix('/new', '/old'), status: 301 }),
        responseHeaders: { set: [{ name: 'cache-control', value: 'no-store' }], add: [], remove: [] },
      }),
      ruleTo('api', { matches: under('/loop'), redirect: redirectTo({ path: prefix('/loop/more', '/loop') }) }),
      ruleTo('api', { matches: under('/self'), redirect: redirectTo({ hostname: 'api.mesh' }) }),
      ruleTo('api', {
        matches: under('/post'),
        redirect: redirectTo({ path: { type: 'ReplaceFullPath', value: '/done', prefix: '/' }, status: 303 }),
      }),
      ruleTo('api'),
    ]);
    const answer = await exchangeRaw(t, rig.port, ask('/old/a?b=c'));
    t.match(answer, /^HTTP\/1.1 301 Moved Permanently\r\n/);
    t.match(
      answer,
      /\r\nlocation: http:\/\/new.example:8443\/new\/a\?b=c\r\ncache-control: no-store\r\ncontent-length: 0\r\n/,
    );
    t.match(
      await exchangeRaw(t, rig.port, ask('/tls/a', '', 'api:8080')),
      /^HTTP\/1.1 308 [\s\S]*location: https:\/\/api\/tls\/a\r\n/,
    );
    t.match(
      await exchangeRaw(t, rig.port, ask('/tls//evil.example/%0d%0aSet-Cookie:x')),
      /^HTTP\/1.1 400 /,
      'no line end reaches Location',
    );
    t.match(
      await exchangeRaw(t, rig.port, ask('/tls//evil.example')),
      /location: https:\/\/api\/tls\/evil.example\r\n/,
      'a path cannot name another host',
    );
    t.match(await exchangeRaw(t, rig.port, ask('/loop/a')), /^HTTP\/1.1 508 [\s\S]*redirects again/);
    t.match(
      await exchangeRaw(t, rig.port, ask('/self/a')),
      /^HTTP\/1.1 508 [\s\S]*loop_detected/,
      'another name for itself',
    );
    const posted = 'POST /post HTTP/1.1\r\nHost: api\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc';
    t.match(await exchangeRaw(t, rig.port, posted), /^HTTP\/1.1 303 See Other[\s\S]*location: http:\/\/api\/done\r\n/);
    t.equal(api.requests(), 0);
    t.same(
      rig.ends.map(({ result, status }) => `${result} ${status}`),
      ['ok 301', 'ok 308', 'bad_request 400', 'ok 308', 'loop_detected 508', 'loop_detected 508', 'ok 303'],
    );
  },
);

t.test('the decision record says which rule matched and what the nearest other one missed', async (t) => {
  const api = await startOrigin(t);
  const rig = await startRig(t, { api: [api.port] });
  rig.setService('api', [api.port], undefined, [
    ruleTo('api', { name: 'canary', matches: [match({ headers: [{ type: 'Exact', name: 'x-canary', value: '1' }] })] }),
    ruleTo('api', { name: 'orders', matches: under('/orders') }),
  ]);
  await exchangeRaw(t, rig.port, ask('/orders/1'));
  await exchangeRaw(t, rig.port, ask('/other', 'X-Canary: 2\r\n'));
  const { explainDecision } = await import('../../agent/core/decision/explain.ts');
  const [lost, found] = rig.decisions.recent(2, false).map((record) => explainDecision(record, 'x', 0));
  t.equal(found?.rule, 'orders');
  t.equal(found?.route?.text, 'rule orders matches; canary would have, but header x-canary is not there');
  t.equal(lost?.rule, null);
  t.equal(lost?.route?.text, 'no rule matches; canary would have, but header x-canary is not "1"');
});
