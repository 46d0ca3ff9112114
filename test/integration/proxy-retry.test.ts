// Failing upstreams over real sockets: what is repeated where, what is not, and what the caller is told.

import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import t from 'tap';
import { OK, startOrigin } from '../support/origin.ts';
import { policyWith, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';
import { match, ruleTo } from '../support/rules.ts';

const ask = (method = 'GET', extra = '', body = '') =>
  `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${extra}\r\n${body}`;
const roundRobin = { policy: 'roundRobin' as const };
/** A port on which nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

t.test('U1 U10 a refused connection is tried elsewhere, even for a POST with a body', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(
    t,
    { a: [await deadPort(), origin.port] },
    { policy: policyWith({ loadBalancer: roundRobin }) },
  );
  for (const method of ['GET', 'POST']) {
    for (let round = 0; round < 2; round += 1) {
      t.match(await exchangeRaw(t, rig.port, ask(method, 'Content-Length: 5\r\n', 'hello')), /^HTTP\/1.1 200 /);
    }
  }
  t.ok(rig.retries.length > 0);
  t.same(new Set(rig.retries), new Set(['connect_failure']));
  t.equal(origin.received.join('').split('\r\n\r\nhello').length, 5, 'each body arrived once, whole');
  t.ok(rig.endpoints('a').every(({ stats }) => stats.inFlight === 0));
});

t.test(
  'four of five refuse connections: each request finds the fifth, whatever retries and their budget say',
  async (t) => {
    const origin = await startOrigin(t);
    const dead = [await deadPort(), await deadPort(), await deadPort(), await deadPort()];
    const budget = { percent: 0, intervalMs: 10_000, minRetriesPerSecond: 0 };
    const retries = { attempts: 1, budget };
    const policy = policyWith({ loadBalancer: roundRobin, retries });
    const rig = await startRig(t, { a: [...dead, origin.port] }, { policy });
    for (let round = 0; round < 20; round += 1)
      t.match(await exchangeRaw(t, rig.port, ask('POST', 'Content-Length: 5\r\n', 'hello')), /^HTTP\/1.1 200 /);
    t.ok(rig.attempts.filter((kind) => kind === 'connect_failure').length > 40, 'most attempts were refused');
    t.equal(origin.requests(), 20);

    rig.setService(
      'a',
      [...dead, origin.port],
      policyWith({ loadBalancer: roundRobin, retries: { ...retries, attempts: 0 } }),
    );
    const answers = new Set<string>();
    for (let round = 0; round < 10; round += 1) answers.add((await exchangeRaw(t, rig.port, ask())).slice(9, 12));
    t.same([...answers].sort(), ['200', '503'], 'a policy without retries is kept to');
  },
);

t.test('all five refuse connections: once that is known, attempts are what policy and budget allow', async (t) => {
  const dead = await Promise.all([1, 2, 3, 4, 5].map(deadPort));
  const budget = { percent: 0, intervalMs: 10_000, minRetriesPerSecond: 0 };
  const policy = policyWith({ loadBalancer: roundRobin, retries: { attempts: 1, budget } });
  const rig = await startRig(t, { a: dead }, { policy });
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 503 /);
  t.equal(rig.attempts.length, 5, 'the first request finds it out');
  for (let round = 0; round < 10; round += 1) await exchangeRaw(t, rig.port, ask());
  t.equal(rig.attempts.length, 15, 'the others ask once');
});

t.test('U17 with every endpoint down the caller gets 503 at once, and sweeps are asked for', async (t) => {
  const rig = await startRig(t, { a: [await deadPort()] });
  for (let round = 0; round < 5; round += 1) {
    const text = await exchangeRaw(t, rig.port, ask());
    t.match(text, /^HTTP\/1.1 503 [\s\S]*x-outrigger-reason: upstream_connect_failure\r\nretry-after: 1\r\n/);
  }
  t.ok(rig.sweeps.includes('a'), 'five failures to connect crossed the detector');
});

t.test(
  'J3 U11 a reset before the head is repeated for GET; a POST is sent once, with an Idempotency-Key twice',
  async (t) => {
    const bad = await startOrigin(t, ({ socket }) => socket.resetAndDestroy());
    const good = await startOrigin(t);
    const rig = await startRig(t, { a: [bad.port, good.port] }, { policy: policyWith({ loadBalancer: roundRobin }) });
    t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
    rig.setService('a', [bad.port]);
    const before = bad.requests();
    t.match(
      await exchangeRaw(t, rig.port, ask('POST', 'Content-Length: 1\r\n', 'x')),
      /^HTTP\/1.1 502 [\s\S]*upstream_reset/,
    );
    t.equal(bad.requests(), before + 1);
    t.match(
      await exchangeRaw(t, rig.port, ask('POST', 'Idempotency-Key: k\r\nContent-Length: 1\r\n', 'x')),
      /^HTTP\/1.1 502 /,
    );
    t.equal(bad.requests(), before + 3, 'J3 with an Idempotency-Key it is sent a second time');
  },
);

t.test('J1 J2 a kept connection that the upstream closed: GET is repeated on a fresh one, POST is not', async (t) => {
  const origin = await startOrigin(t, ({ socket, turn }) => {
    if (turn === 1) socket.write(OK);
    else socket.resetAndDestroy();
  });
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ retries: { attempts: 0 } }) });
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  t.match(
    await exchangeRaw(t, rig.port, ask()),
    /^HTTP\/1.1 200 /,
    'the second GET met a dead connection and was repeated',
  );
  t.same(rig.retries, ['stale_connection']);
  t.equal(rig.endpoints('a')[0]?.stats.consecutiveLocalOrigin, 0, 'nothing is held against the endpoint');
  const before = origin.requests();
  t.match(await exchangeRaw(t, rig.port, ask('POST', 'Content-Length: 1\r\n', 'x')), /^HTTP\/1.1 502 /);
  t.equal(origin.requests(), before + 1);
});

t.test('a gateway error is repeated elsewhere and its connection is kept; the last answer is relayed', async (t) => {
  const bad = await startOrigin(t, 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy');
  const good = await startOrigin(t);
  const policy = policyWith({ loadBalancer: roundRobin, exposeEndpoint: true });
  const rig = await startRig(t, { a: [bad.port, good.port] }, { policy });
  const text = await exchangeRaw(t, rig.port, ask());
  t.match(text, new RegExp(`x-outrigger-endpoint: 127.0.0.1:${good.port}\r\nx-outrigger-attempts: 2\r\n`));
  t.same(rig.attempts, ['response', 'response']);
  t.match(rig.records[0], { attempts: 2, retryReason: 'gateway_error', endpoint: `127.0.0.1:${good.port}` });
  t.equal(rig.pools.connections()[0]?.idle, 2, 'the refused answer was read to its end');
  rig.setService('a', [bad.port], policy);
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 503 Service Unavailable\r\n[\s\S]*busy$/);
  t.match(rig.ends.at(-1), { result: 'ok', status: 503 });
});

t.test('J5 the retry budget ends a storm', async (t) => {
  const bad = await startOrigin(t, 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
  const budget = { percent: 20, intervalMs: 10_000, minRetriesPerSecond: 0 };
  const rig = await startRig(t, { a: [bad.port] }, { policy: policyWith({ retries: { budget } }) });
  const client = await rawClient(t, rig.port);
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(50));
  await client.until((text) => text.split('HTTP/1.1 503').length === 51);
  t.equal(bad.requests(), 60, 'fifty requests, ten retries');
  t.ok(rig.retries.includes('budget_exhausted'));
});

t.test('J6 a body beyond the replay buffer is sent once', async (t) => {
  const bad = await startOrigin(t, ({ socket }) => socket.resetAndDestroy());
  const rig = await startRig(t, { a: [bad.port] });
  const body = 'x'.repeat(200_000);
  t.match(await exchangeRaw(t, rig.port, ask('PUT', `Content-Length: ${body.length}\r\n`, body)), /^HTTP\/1.1 502 /);
  t.equal(bad.requests(), 1);
  t.match(await exchangeRaw(t, rig.port, ask('PUT', 'Content-Length: 5\r\n', 'hello')), /^HTTP\/1.1 502 /);
  t.equal(bad.requests(), 3, 'a small one twice');
});

t.test('U3 U8 a silent upstream: the attempt times out and another endpoint answers; alone it is 504', async (t) => {
  const silent = await startOrigin(t, () => {});
  const good = await startOrigin(t);
  const policy = policyWith({ loadBalancer: roundRobin, timeouts: { backendRequestMs: 100, requestMs: 1000 } });
  const rig = await startRig(t, { a: [silent.port, good.port] }, { policy });
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  t.same(rig.attempts, ['timeout', 'response']);
  rig.setService('a', [silent.port], policyWith({ timeouts: { backendRequestMs: 100, requestMs: 150 } }));
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 504 [\s\S]*upstream_timeout/);
  t.equal(silent.open(), 0, 'what timed out is closed');
});

t.test('U9 U15 an endpoint that accepts no connection costs the connect timeout, then another answers', async (t) => {
  // A stopped process with a full accept queue: the kernel drops further SYNs, as a black hole would.
  const script =
    "require('net').createServer().listen({port:0,host:'127.0.0.1',backlog:1},function(){process.send(this.address().port)})";
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  t.teardown(() => child.kill('SIGKILL'));
  const port = await new Promise<number>((resolve) => child.once('message', (message) => resolve(Number(message))));
  child.kill('SIGSTOP');
  for (let round = 0; round < 4; round += 1) {
    const filler = connect(port, '127.0.0.1');
    filler.on('error', () => {});
    t.teardown(() => filler.destroy());
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  const good = await startOrigin(t);
  const policy = policyWith({ loadBalancer: roundRobin, timeouts: { connectMs: 150 } });
  const rig = await startRig(t, { a: [port, good.port] }, { policy });
  t.match(await exchangeRaw(t, rig.port, ask('POST', 'Content-Length: 1\r\n', 'x')), /^HTTP\/1.1 200 /);
  t.same(rig.attempts, ['connect_timeout', 'response']);
  rig.setService('a', [port], policy);
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 503 [\s\S]*upstream_connect_timeout/);
});

t.test('I19 a head that stalls is 504, a body that stalls ends the client', async (t) => {
  const origin = await startOrigin(t, 'HTTP/1.1 200 OK\r\nContent-');
  const policy = policyWith({ timeouts: { backendRequestMs: 100, idleMs: 150 }, retries: { attempts: 0 } });
  const rig = await startRig(t, { a: [origin.port] }, { policy });
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 504 /);
  origin.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf';
  t.match(await exchangeRaw(t, rig.port, ask()), /half$/);
  t.match(rig.ends.at(-1), { result: 'response_aborted' });
});

t.test('limits: connections to an endpoint, and requests to a service', async (t) => {
  const origin = await startOrigin(t, () => {});
  const policy = policyWith({ limits: { maxConnections: 1, maxPendingRequests: 0 }, retries: { attempts: 0 } });
  const rig = await startRig(t, { a: [origin.port] }, { policy });
  const first = await rawClient(t, rig.port);
  first.write(ask());
  while (origin.requests() < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 503 [\s\S]*x-outrigger-reason: upstream_overflow\r\n/);
  rig.setService('a', [origin.port], policyWith({ limits: { maxConcurrentRequests: 1, maxPendingRequests: 0 } }));
  t.match(await exchangeRaw(t, rig.port, ask()), /"message":"a has 1 requests in flight, which is the limit"/);
  t.equal(origin.requests(), 1);
});

t.test('endpoints that left lose their idle connections at once and their busy ones after the response', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  await exchangeRaw(t, rig.port, ask());
  origin.answer = ({ socket }) => setTimeout(() => socket.write(OK), 80);
  const busy = await rawClient(t, rig.port);
  busy.write(ask());
  while (origin.requests() < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  rig.setService('a', []);
  rig.pools.reconcile(rig.snapshot());
  t.match(await busy.closed(), /ok$/);
  t.equal(rig.pools.connections()[0]?.idle ?? 0, 0);
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 503 [\s\S]*no_healthy_upstream/);
});

t.test('an ejected endpoint loses its connections, and begins with new ones when it is back', async (t) => {
  const [bad, good] = await Promise.all([startOrigin(t), startOrigin(t)]);
  const rig = await startRig(t, { a: [bad.port, good.port] });
  while (bad.requests() < 2 || good.requests() < 2) await exchangeRaw(t, rig.port, ask());
  const [out, kept] = rig.endpoints('a').map(({ endpoint }) => endpoint.id);
  t.ok(rig.pools.connectionsOf(out ?? '') > 0 && rig.pools.connectionsOf(kept ?? '') > 0, 'both are kept alive');
  const stats = rig.endpoints('a')[0]?.stats;
  if (stats === undefined) throw new Error('two endpoints were set');
  stats.state = 'ejected';
  rig.pools.reconcile(rig.snapshot());
  t.equal(rig.pools.connectionsOf(out ?? ''), 0);
  t.ok(rig.pools.connectionsOf(kept ?? '') > 0);
  stats.state = 'serving';
  rig.pools.reconcile(rig.snapshot());
  const before = bad.requests();
  while (bad.requests() === before) t.match(await exchangeRaw(t, rig.port, ask()), /ok$/);
  t.ok(rig.pools.connectionsOf(out ?? '') > 0, 'kept alive again');
});

t.test('the first connection after a quiet time has the whole time for its head', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] }, { limits: { headMs: 300 } });
  await exchangeRaw(t, rig.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await new Promise((resolve) => setTimeout(resolve, 700)); // no connection is open, and nothing ticks
  const client = await rawClient(t, rig.port);
  await new Promise((resolve) => setTimeout(resolve, 120)); // several ticks, far from 300 ms
  client.write(ask());
  t.match(await client.closed(), /^HTTP\/1.1 200 /);
});

t.test('F7 F8 names: every spelling of a service, and never an address', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const at = (host: string, target = '/') =>
    exchangeRaw(t, rig.port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  for (const host of ['a', 'A.', 'a:80', 'A.Mesh', 'a.service.consul:8080'])
    t.match(await at(host), /^HTTP\/1.1 200 /, host);
  t.match(await at('a.mesh', 'http://a.mesh/x'), /^HTTP\/1.1 200 /);
  for (const host of ['169.254.169.254', '127.0.0.1:15000', '[::1]', 'b']) {
    t.match(await at(host), /^HTTP\/1.1 404 [\s\S]*x-outrigger-reason: no_route\r\n/, host);
  }
});

t.test('the first use of an undeclared service waits for discovery, for a while', async (t) => {
  const origin = await startOrigin(t);
  const asked: string[] = [];
  const rig = await startRig(
    t,
    {},
    {
      discover: async (service) => {
        asked.push(service);
        if (service === 'a') rig.setService('a', [origin.port]);
        if (service === 'slow') await new Promise(() => {});
        if (service === 'gone') throw new Error('no such service');
      },
    },
  );
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  for (const host of ['slow', 'gone']) {
    t.match(
      await exchangeRaw(t, rig.port, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
      /^HTTP\/1.1 404 /,
    );
  }
  t.same(asked, ['a', 'slow', 'gone']);
});

t.test(
  'routes send to weighted backends with header changes; permissions deny; escapes do not hide a path',
  async (t) => {
    const one = await startOrigin(t);
    const two = await startOrigin(t);
    const rig = await startRig(t, { a: [one.port], b: [two.port] });
    const rule = ruleTo('b', {
      name: 'to-b',
      matches: [match({ path: { type: 'PathPrefix', value: '/b' } })],
      requestHeaders: { set: [{ name: 'x-env', value: 'canary' }], add: [], remove: ['x-secret'] },
      responseHeaders: { set: [{ name: 'x-served-by', value: 'b' }], add: [], remove: [] },
    });
    rig.setService('a', [one.port], undefined, [rule]);
    const at = (target: string) =>
      exchangeRaw(
        t,
        rig.port,
        `GET ${target} HTTP/1.1\r\nHost: a\r\nX-Secret: 1\r\nX-Env: prod\r\nConnection: close\r\n\r\n`,
      );
    t.match(await at('/b/1'), /x-served-by: b\r\n/);
    t.match(two.received[0], /x-env: canary\r\n/);
    t.notMatch(two.received[0], /x-secret|prod/);
    t.match(await at('/c'), /^HTTP\/1.1 404 [\s\S]*no rule/);
    rig.setService('a', [one.port], undefined, [], {
      kind: 'permissions',
      from: 'ServiceIntentions/a',
      permissions: [{ action: 'allow', methods: null, pathPrefix: '/public', pathExact: null }],
    });
    t.match(await at('/public/x'), /^HTTP\/1.1 200 /);
    for (const target of ['/admin', '/public/../admin', '/public/%2e%2e/admin'])
      t.match(await at(target), /^HTTP\/1.1 403 /, target);
    t.match(await at('/public/..%2fadmin'), /^HTTP\/1.1 400 /, 'A12');
    t.equal(one.requests(), 1);
  },
);

t.test(
  'the inbound side passes everything to the application; drain says close and waits for what is in flight',
  async (t) => {
    const app = await startOrigin(t);
    const outbound = await startRig(t, { app: [app.port] });
    let isDraining = false;
    const view = outbound.snapshot().services.get('app');
    if (view === undefined) throw new Error('the rig has no service');
    const rig = await startRig(
      t,
      {},
      { direction: 'inbound', route: { kind: 'inbound', view: () => view }, isDraining: () => isDraining },
    );
    const client = await rawClient(t, rig.port);
    client.write('GET / HTTP/1.1\r\nHost: 10.0.0.1:15006\r\n\r\n');
    await client.until((text) => text.endsWith('ok'));
    const idle = await rawClient(t, rig.port);
    app.answer = ({ socket }) => setTimeout(() => socket.write(OK), 80);
    client.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n');
    while (app.requests() < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    isDraining = true;
    rig.pools.reconcile(rig.snapshot());
    const drained = rig.listener.drain(1500);
    t.match(await client.closed(), /connection: close\r\n\r\nok$/);
    t.equal(await idle.closed(), '');
    await drained;
  },
);

t.test('H3 OPTIONS for the agent itself is answered here, further ones count down', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  t.match(
    await exchangeRaw(t, rig.port, 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1.1 200 OK\r\n[\s\S]*allow: /,
  );
  t.match(await exchangeRaw(t, rig.port, ask('OPTIONS', 'Max-Forwards: 0\r\n')), /^HTTP\/1.1 200 OK\r\n[\s\S]*allow: /);
  await exchangeRaw(t, rig.port, ask('OPTIONS', 'Max-Forwards: 5\r\n'));
  t.equal(origin.requests(), 1);
  t.match(origin.received[0], /max-forwards: 4\r\n/);
});
