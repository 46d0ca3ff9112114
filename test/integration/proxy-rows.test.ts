// Rows of bad-input.md that need a whole proxy: routing, methods, upgrades, reuse, departures, and what may not grow.

import t from 'tap';
import { Metrics } from '../../agent/telemetry/metrics.ts';
import { OK, startOrigin } from '../support/origin.ts';
import { until } from '../support/processes.ts';
import { policyWith, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';
import { seededRandom } from '../support/seeded-random.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const LAST = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

t.test('A12 a separator hidden in an escape is refused where permissions go by the path, else forwarded', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const at = (target: string) =>
    exchangeRaw(t, rig.port, `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  t.match(await at('/x%2fy%5cz'), /^HTTP\/1.1 200 /);
  t.match(origin.received[0], /^GET \/x%2Fy%5Cz /);
  const permissions = [{ action: 'allow' as const, methods: null, pathPrefix: '/x', pathExact: null }];
  rig.setService('a', [origin.port], undefined, [], { kind: 'permissions', from: 'ServiceIntentions/a', permissions });
  for (const target of ['/x%2fy', '/x/%5c']) t.match(await at(target), /^HTTP\/1.1 400 /, target);
  t.equal(origin.requests(), 1);
});

t.test('C9 a body of GET, HEAD, OPTIONS and DELETE is forwarded with its framing', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) =>
    socket.write(text.startsWith('HEAD') ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n' : OK),
  );
  const rig = await startRig(t, { a: [origin.port] });
  for (const [index, method] of ['GET', 'HEAD', 'OPTIONS', 'DELETE'].entries()) {
    const input = `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${GET.length}\r\n\r\n${GET}`;
    t.match(await exchangeRaw(t, rig.port, input), /^HTTP\/1.1 200 /, method);
    t.equal(origin.requests(), index + 1, 'the body is not a request');
  }
  t.equal(origin.received.join('').split(`content-length: ${GET.length}\r\n\r\n${GET}`).length, 5);
});

t.test('F6 F9 each request of a connection is routed by its own Host, and by nothing else', async (t) => {
  const [one, two] = [await startOrigin(t), await startOrigin(t)];
  const rig = await startRig(t, { a: [one.port], b: [two.port] });
  rig.setService('b', [two.port], undefined, [], { kind: 'permissions', from: 'ServiceIntentions/a', permissions: [] });
  const client = await rawClient(t, rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  client.write(GET.replace('Host: a', 'Host: b'));
  await client.until((text) => text.includes('HTTP/1.1 403 '));
  const misleading = ['X-Original-URL: /b', 'X-Rewrite-URL: /b', 'X-Forwarded-Host: b', 'x-envoy-original-path: /b'];
  client.write(`GET /mine HTTP/1.1\r\nHost: a\r\n${misleading.join('\r\n')}\r\n\r\n`);
  await until(() => one.requests() === 2, 2000);
  t.match(one.received[0], /GET \/mine HTTP\/1.1\r\n[\s\S]*x-forwarded-host: a\r\n/);
  t.equal(two.requests(), 0);
});

t.test('H1 H2 CONNECT and TRACE are 405, and what follows is not a tunnel', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const early = await rawClient(t, rig.port);
  early.write('CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nbytes before any 2xx');
  t.match(await early.closed(), /^HTTP\/1.1 405 [\s\S]*HTTP\/1.1 400 /, 'they are read as a request');
  for (const fields of ['Cookie: a=b\r\n\r\n', 'Content-Length: 2\r\n\r\nhi']) {
    const input = `TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${fields}`;
    const answer = await exchangeRaw(t, rig.port, input);
    t.match(answer, /^HTTP\/1.1 405 [\s\S]*allow: /);
    t.notMatch(answer, /a=b/);
  }
  t.equal(origin.sockets.length, 0);
});

t.test('H11 a websocket that the upstream refuses stays HTTP', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) =>
    socket.write(
      text.includes('sec-websocket-version: 777')
        ? 'HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n'
        : OK,
    ),
  );
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write(
    `GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n${LAST.replace('Host: a', 'Host: admin')}`,
  );
  t.match(await client.closed(), /^HTTP\/1.1 426 [\s\S]*HTTP\/1.1 404 [\s\S]*no_route/);
  t.equal(origin.requests(), 1);
});

t.test('I23 an answer to a slow client that closes under way: no more is kept than one read', async (t) => {
  const origin = await startOrigin(t);
  const size = 64 * 1024 * 1024;
  origin.answer = ({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    socket.write(Buffer.alloc(size));
  };
  const rig = await startRig(t, { a: [origin.port] });
  for (const leave of ['end', 'reset'] as const) {
    const client = await rawClient(t, rig.port);
    client.socket.pause();
    client.write(GET);
    await until(() => origin.open() === 1, 2000);
    await sleep(150);
    t.ok((origin.sockets.at(-1)?.writableLength ?? 0) > size / 2, 'most of it still waits at the origin');
    client[leave]();
    if (leave === 'end') client.socket.destroy();
    await until(() => origin.open() === 0, 2000);
  }
  t.same(new Set(rig.ends.map(({ result }) => result)), new Set(['downstream_disconnect']));
  origin.answer = OK;
  t.match(await exchangeRaw(t, rig.port, LAST), /^HTTP\/1.1 200 /);
});

t.test('J4 nothing is repeated once a part of the answer went out', async (t) => {
  const bad = await startOrigin(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart');
    setTimeout(() => socket.resetAndDestroy(), 30);
  });
  const good = await startOrigin(t);
  const policy = policyWith({ loadBalancer: { policy: 'roundRobin' }, retries: { attempts: 3 } });
  const rig = await startRig(t, { a: [bad.port, good.port] }, { policy });
  t.match(await exchangeRaw(t, rig.port, LAST), /\r\n\r\npart$/);
  t.same([bad.requests(), good.requests(), rig.retries.length], [1, 0, 0]);
});

t.test('J14 the application and an endpoint at the same address have pools of their own', async (t) => {
  const origin = await startOrigin(t);
  const outbound = await startRig(t, { a: [origin.port] });
  await exchangeRaw(t, outbound.port, LAST);
  const view = outbound.snapshot().services.get('a');
  if (view === undefined) throw new Error('the rig has the service');
  const { pools } = outbound;
  const inbound = await startRig(t, {}, { direction: 'inbound', route: { kind: 'inbound', view: () => view }, pools });
  await exchangeRaw(t, inbound.port, LAST);
  t.equal(origin.sockets.length, 2, 'the idle connection of the other side was not taken');
  t.equal(
    pools.connections().reduce((sum, { idle }) => sum + idle, 0),
    2,
  );
});

t.test('J16 an answer and FIN in one segment are used, and so is data before a reset', async (t) => {
  const origin = await startOrigin(t, ({ socket }) => socket.end(OK));
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ retries: { attempts: 0 } }) });
  for (let round = 0; round < 3; round += 1) t.match(await exchangeRaw(t, rig.port, LAST), /ok$/);
  origin.answer = ({ socket }) => {
    socket.write(OK);
    socket.resetAndDestroy();
  };
  for (let round = 0; round < 3; round += 1) t.match(await exchangeRaw(t, rig.port, LAST), /ok$/);
  t.same(new Set(rig.attempts), new Set(['response']));
});

t.test('K9 names that callers make up add no series and no state', async (t) => {
  const metrics = new Metrics();
  t.teardown(() => metrics.close());
  const rig = await startRig(t, {}, { metrics });
  const random = seededRandom(3);
  const word = () => Math.floor(random() * 2 ** 40).toString(36);
  const ask = (count: number) =>
    Array.from(
      { length: count },
      () => `${word().toUpperCase()} /${word()} HTTP/1.1\r\nHost: ${word()}\r\nX-${word()}: 1\r\n\r\n`,
    );
  const series = async () => (await metrics.render()).split('\n').filter((line) => /^outrigger_re/.test(line)).length;
  const run = async (count: number) => {
    const client = await rawClient(t, rig.port);
    client.write(ask(count).join(''));
    await client.until((text) => text.split('HTTP/1.1 404').length === count + 1, 5000);
  };
  await run(20);
  const before = await series();
  await sleep(1050); // a rendering is shared within one second
  await run(2000);
  t.equal(await series(), before);
});
