// The admin API over real sockets: what it says, what it refuses, and that it shows no secret.

import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { ADMIN_LIMITS } from '../../agent/admin/admin.ts';
import { redact } from '../../agent/admin/config-dump.ts';
import { isOwnHost, isSameOrigin } from '../../agent/admin/host-check.ts';
import { adminRoutes } from '../../agent/admin/routes.ts';
import { DEFAULT_POLICY } from '../../contract/policy/plan.ts';
import { type Answer, ask, options, start } from '../support/admin-rig.ts';

t.test('every reading path answers with what it promises', async (t) => {
  const { port } = await start(t);
  const get = async (path: string) => {
    const answer = await ask(port, path);
    t.equal(answer.status, 200, path);
    return answer.text;
  };
  t.same(JSON.parse(await get('/live')), { isLive: true });
  t.same(JSON.parse(await get('/ready')), { isReady: true, reasons: [] });
  t.match(await get('/metrics'), '# TYPE outrigger_panic gauge');
  t.equal((await ask(port, '/metrics')).headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  t.equal(await get('/stats?filter=panic'), 'outrigger_panic{destination="orders"} 0\n');
  t.equal(await get('/stats'), 'outrigger_panic{destination="orders"} 0\nother_metric 1\n');
  t.equal(await get(`/stats?filter=${encodeURIComponent('(.*)+$')}`), '', 'a filter is a text, not a pattern');
  t.match(JSON.parse(await get('/server_info')), { service: 'web', agentId: 'web-1', state: 'LIVE', policyVersion: 3 });
  t.match(JSON.parse(await get('/events')), { events: [{ kind: 'ejection', text: 'five times 503.' }] });
});

t.test('/clusters tells each endpoint as text for people and as JSON for programs', async (t) => {
  const { port } = await start(t);
  const { text } = await ask(port, '/clusters');
  for (const line of [
    'orders::source::consul',
    'orders::age_ms::1235',
    'orders::panic::false',
    'orders::127.0.0.1:7001::state::serving',
    'orders::127.0.0.1:7001::health_flags::healthy',
    'orders::127.0.0.1:7001::rq_active::2',
    'orders::127.0.0.1:7001::rq_total::40',
    'orders::127.0.0.1:7001::rq_error::1',
    'orders::127.0.0.1:7001::ewma_ms::12.346',
    'orders::127.0.0.1:7002::health_flags::/failed_outlier_check',
    'orders::127.0.0.1:7002::ewma_ms::-',
    'orders::127.0.0.1:7002::reason::five times 503.',
  ]) {
    t.ok(text.split('\n').includes(line), line);
  }
  const [orders] = JSON.parse((await ask(port, '/clusters?format=json')).text);
  t.match(orders, { service: 'orders', source: 'consul', holding: null, isPanicking: false });
  t.match(orders.endpoints[1], {
    address: '127.0.0.1:7002',
    state: 'ejected',
    connections: 5,
    ewmaMs: null,
    reason: 'five times 503.',
    ejectedUntilEpochMs: 1_700_000_010_000,
  });
});

t.test('/config_dump shows policies and every limit, and no secret', async (t) => {
  const { port } = await start(t);
  const { text } = await ask(port, '/config_dump');
  t.notMatch(text, /CANARY/);
  const dump = JSON.parse(text);
  t.equal(dump.config.consul.token, '[redacted]');
  t.equal(dump.config.consul.tokenFile, null, 'what is not set stays visible as such');
  t.same(dump.limits, { dataPlane: { headMs: 10_000 }, admin: ADMIN_LIMITS });
  t.same(dump.services[0].policy, JSON.parse(JSON.stringify(DEFAULT_POLICY)));
  t.equal(dump.services[0].endpoints.length, 2);
  t.same(redact({ list: [{ apiSecret: 'x' }], url: 'http://u:p@host/' }), {
    list: [{ apiSecret: '[redacted]' }],
    url: 'http://[redacted]@host/',
  });
});

t.test('/ready says every reason why not', async (t) => {
  const reasons = ['the listeners are not open', 'orders has no endpoints yet'];
  const { port } = await start(t, { notReady: () => reasons });
  const answer = await ask(port, '/ready');
  t.equal(answer.status, 503);
  t.match(answer.headers['content-type'], /^application\/problem\+json/);
  t.match(JSON.parse(answer.text), { status: 503, isReady: false, reasons, detail: reasons.join('; ') });
  t.equal((await ask(port, '/live')).status, 200);
  t.match(JSON.parse((await ask(port, '/server_info')).text), { state: 'PRE_INITIALIZING' });
});

t.test('verbs that change something are POST, with or without a body; GET is told so (S1)', async (t) => {
  const done: string[] = [];
  const { port, options: made } = await start(t, {
    drain: () => done.push('drain'),
    failHealthcheck: (isFailing) => done.push(isFailing ? 'fail' : 'ok'),
  });
  for (const path of ['/drain', '/healthcheck/fail', '/healthcheck/ok', '/logging?level=debug']) {
    const refused = await ask(port, path);
    t.equal(refused.status, 405, path);
    t.equal(refused.headers.allow, 'POST');
    t.match(refused.headers['content-type'], /^application\/problem\+json/);
  }
  t.same(done, []);
  t.equal((await ask(port, '/healthcheck/fail', 'POST')).status, 200);
  t.equal(
    (await ask(port, '/healthcheck/ok', 'POST', { 'content-type': 'application/json', 'content-length': '0' })).status,
    200,
  );
  t.equal(
    (await ask(port, '/drain', 'POST', { 'content-type': 'application/x-www-form-urlencoded' }, 'a=b')).status,
    200,
  );
  t.same(done, ['fail', 'ok', 'drain']);
  t.equal((await ask(port, '/logging?level=debug', 'POST')).status, 200);
  t.equal(made.log.level(), 'debug');
  const wrong = await ask(port, '/logging?level=loud', 'POST');
  t.equal(wrong.status, 400);
  t.match(JSON.parse(wrong.text).detail, 'level must be one of fatal, error');
  t.equal((await ask(port, '/metrics', 'POST')).headers.allow, 'GET, HEAD');
  t.equal((await ask(port, '/drain', 'POST', {}, 'x'.repeat(2000))).status, 413);
});

t.test('an unknown path is answered with those that exist', async (t) => {
  const { port } = await start(t);
  for (const path of ['/taps', '/whys', '/', '/quitquitquit', '/metrics/../../etc/passwd']) {
    const answer = await ask(port, path);
    t.equal(answer.status, 404, path);
    t.match(answer.headers['content-type'], /^application\/problem\+json/);
    const paths = JSON.parse(answer.text).paths.map((one: { path: string }) => one.path);
    t.ok(paths.includes('/ready') && paths.includes('/drain'));
  }
});

t.test('a fault inside is a 500 that says nothing about it', async (t) => {
  const { port } = await start(t, { metrics: () => Promise.reject(new Error('CANARY')) });
  const answer = await ask(port, '/metrics');
  t.equal(answer.status, 500);
  t.match(answer.headers['content-type'], /^application\/problem\+json/);
  t.notMatch(answer.text, /CANARY/);
});

t.test('foreign names and other sites are refused before anything runs (S1)', async (t) => {
  const done: string[] = [];
  const { port } = await start(t, { drain: () => done.push('drain') });
  const statusOf = async (headers: Record<string, string>) => (await ask(port, '/drain', 'POST', headers)).status;
  t.equal(await statusOf({ host: 'evil.example' }), 403);
  t.equal(await statusOf({ host: `evil.example:${port}` }), 403);
  t.equal(await statusOf({ host: `localhost.evil.example:${port}` }), 403);
  t.equal(await statusOf({ origin: 'https://evil.example' }), 403);
  t.equal(await statusOf({ origin: 'null' }), 403);
  t.equal(await statusOf({ 'sec-fetch-site': 'cross-site' }), 403);
  t.same(done, []);
  t.equal(await statusOf({ host: `127.0.0.1:${port}` }), 200, 'as the relay of the control plane asks');
  t.equal(await statusOf({ host: `localhost:${port}`, origin: `http://localhost:${port}` }), 200);
  t.same(done, ['drain', 'drain']);
});

t.test('which Host is ours depends on where the API listens', async (t) => {
  const rows: [host: string | undefined, bound: string, isOurs: boolean][] = [
    ['127.0.0.1:15000', '127.0.0.1', true],
    ['LOCALHOST', '127.0.0.1', true],
    ['[::1]:15000', '127.0.0.1', true],
    ['127.9.9.9:1', '::1', true],
    ['10.0.0.5:15000', '127.0.0.1', false],
    ['orders-1:15000', '127.0.0.1', false],
    ['10.0.0.5:15000', '10.0.0.5', true],
    ['10.0.0.6:15000', '10.0.0.5', false],
    ['orders-1:15000', '10.0.0.5', true],
    ['10.0.0.6:15000', '0.0.0.0', true],
    ['[fe80::1]:15000', '::', true],
    ['orders-1:15000', '0.0.0.0', true],
    ['evil.example:15000', '0.0.0.0', false],
    ['127.0.0.1.evil.example', '0.0.0.0', false],
    ['127.1', '127.0.0.1', false],
    ['', '0.0.0.0', false],
    [undefined, '0.0.0.0', false],
    ['a b', '0.0.0.0', false],
    ['user@127.0.0.1', '127.0.0.1', false],
  ];
  for (const [host, bound, isOurs] of rows) t.equal(isOwnHost(host, bound), isOurs, `${host} at ${bound}`);
  t.equal(isSameOrigin('http://127.0.0.1:1', undefined, '127.0.0.1:2'), false, 'another port is another site');
});

t.test('at most eight requests run at once; probes are answered all the same (A16)', async (t) => {
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  let running = 0;
  let most = 0;
  const { port } = await start(t, {
    async metrics() {
      most = Math.max(most, ++running);
      await gate;
      running--;
      return 'ok 1\n';
    },
  });
  const asked = Array.from({ length: 30 }, () => ask(port, '/metrics'));
  const refused = await new Promise<Answer[]>((resolve) => {
    const seen: Answer[] = [];
    for (const one of asked) {
      void one.then((answer) => {
        if (answer.status === 503) seen.push(answer);
        if (seen.length === 22) resolve(seen);
      });
    }
  });
  t.equal(refused[0]?.headers['retry-after'], '1');
  t.equal((await ask(port, '/ready')).status, 200);
  t.equal((await ask(port, '/live')).status, 200);
  release();
  const statuses = (await Promise.all(asked)).map(({ status }) => status);
  t.equal(statuses.filter((status) => status === 200).length, ADMIN_LIMITS.maxConcurrentRequests);
  t.equal(most, ADMIN_LIMITS.maxConcurrentRequests);
  t.equal((await ask(port, '/metrics')).status, 200, 'places are free again');
});

t.test('a client that goes away before the answer gives its place back', async (t) => {
  const gates: (() => void)[] = [];
  const { port } = await start(t, {
    metrics: () => new Promise((resolve) => gates.push(() => resolve('ok 1\n'))),
  });
  const sockets = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  for (const socket of sockets) socket.write(`GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`);
  while (gates.length < 8) await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal((await ask(port, '/events')).status, 503);
  for (const socket of sockets) socket.destroy();
  let status = 503;
  for (let tries = 0; tries < 100 && status === 503; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    status = (await ask(port, '/events')).status;
  }
  t.equal(status, 200);
  for (const open of gates) open();
});

t.test('docs/admin.md lists every path with its method, and no other', async (t) => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/admin.md', import.meta.url)), 'utf8');
  const documented = [...page.matchAll(/^\| `(GET|POST) (\/[a-z_/:]*)/gm)].map(
    ([, method, path]) => `${method} ${path}`,
  );
  const served = adminRoutes(options(), ADMIN_LIMITS).map(({ method, path }) => `${method} ${path}`);
  t.same(documented.sort(), served.sort());
  for (const [name, value] of Object.entries(ADMIN_LIMITS)) t.match(page, `\`${name}\` | ${value} |`, name);
});

t.test('GET /why tells why a request went where it went, and what it does not know', async (t) => {
  const { port } = await start(t);
  t.match(JSON.parse((await ask(port, '/why/web-1')).text), {
    id: 'web-1',
    requestId: 'r-1',
    path: '/a',
    text: 'GET /a to orders: no_route (no rule) after 0 attempts in 1 ms',
  });
  t.match(await ask(port, '/why/other'), { status: 404, text: /no such decision is kept/ });
  t.same(JSON.parse((await ask(port, '/why?failed=true')).text).decisions[0].id, 'web-1');
});
