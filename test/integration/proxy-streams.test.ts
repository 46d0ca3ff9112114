// Connections that live long: WebSockets through two agents in a row, and streams of events beyond every request timeout.

import { once } from 'node:events';
import t, { type Test } from 'tap';
import { Pools } from '../../agent/proxy/pools.ts';
import { startOrigin } from '../support/origin.ts';
import { until } from '../support/processes.ts';
import { policyWith, type Rig, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { type Socket, WebSocket, WebSocketServer } from '../support/web-socket.ts';

/** The caller's agent → the callee's agent → the application. */
async function twoAgents(t: Test, appPort: number): Promise<{ outbound: Rig; inbound: Rig }> {
  const app = await startRig(t, { app: [appPort] });
  const view = app.snapshot().services.get('app');
  if (view === undefined) throw new Error('the rig has the service');
  const inbound = await startRig(t, {}, { direction: 'inbound', route: { kind: 'inbound', view: () => view } });
  return { outbound: await startRig(t, { chat: [inbound.port] }), inbound };
}

/** Resolves with the arguments of the next event. */
function next(socket: Socket, event: string): Promise<unknown[]> {
  return once(socket as never, event) as Promise<unknown[]>;
}

t.test('WebSockets pass two agents: text, binary, 1 MiB, ping, close codes from either side', async (t) => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  t.teardown(() => server.close());
  const accepted: Socket[] = [];
  server.on('connection', (socket) => {
    accepted.push(socket);
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => socket.send(isBinary ? data : data.toString()));
  });
  await once(server as never, 'listening');
  const { outbound, inbound } = await twoAgents(t, server.address().port);
  const open = async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${outbound.port}/room`, { headers: { host: 'chat' } });
    t.teardown(() => socket.terminate());
    await next(socket, 'open');
    return socket;
  };
  const socket = await open();
  for (const sent of ['grüß dich', Buffer.from([0, 1, 255]), Buffer.alloc(1024 * 1024, 7), 'x'.repeat(1024 * 1024)]) {
    const echo = next(socket, 'message');
    socket.send(sent);
    const [data, isBinary] = (await echo) as [Buffer, boolean];
    t.ok(data.equals(Buffer.from(sent)), `${data.length} bytes came back`);
    t.equal(isBinary, typeof sent !== 'string');
  }
  const pong = next(socket, 'pong');
  socket.ping('are you there');
  t.equal(String((await pong)[0]), 'are you there');
  const ping = next(socket, 'ping');
  accepted[0]?.ping('and you');
  t.equal(String((await ping)[0]), 'and you');

  const heard = next(accepted[0] as Socket, 'close');
  socket.close(4001, 'enough');
  t.same((await heard).map(String), ['4001', 'enough'], 'the client closes');
  const second = await open();
  const told = next(second, 'close');
  accepted[1]?.close(1012, 'restart');
  t.same((await told).map(String), ['1012', 'restart'], 'the server closes');
  const third = await open();
  third.on('error', () => {});
  const lost = next(third, 'close');
  accepted[2]?.terminate();
  t.equal((await lost)[0], 1006, 'a lost connection is no close');
  for (const rig of [outbound, inbound]) {
    await until(() => rig.ends.length === 3, 2000);
    t.same(
      rig.ends.map(({ result, status }) => `${result} ${status}`),
      ['ok 101', 'ok 101', 'ok 101'],
    );
  }
  t.same(
    outbound.endpoints('chat').map(({ stats }) => stats.inFlight),
    [0],
  );
});

t.test('a stream of events outlives every request timeout for an hour, and ends when it falls silent', async (t) => {
  const origin = await startOrigin(t, ({ socket }) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'),
  );
  const clock = new VirtualClock();
  const policy = policyWith({ timeouts: { requestMs: 15_000, backendRequestMs: 5000, idleMs: 300_000 } });
  const rig = await startRig(
    t,
    { a: [origin.port] },
    // A clock that jumps looks like an event loop that hangs.
    { policy, clock, pools: new Pools({ clock }), limits: { maxLoopDelayMs: Number.POSITIVE_INFINITY } },
  );
  const client = await rawClient(t, rig.port);
  client.write('GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n');
  await client.until((text) => text.endsWith('\r\n\r\n'));
  t.match(client.received(), /content-type: text\/event-stream\r\n/, 'the head goes out before the first event');
  const step = async (ms: number) => {
    clock.advance(ms);
    await new Promise((resolve) => setTimeout(resolve, 60)); // two turns of the deadlines' own timer
  };
  for (let event = 1; event <= 15; event += 1) {
    await step(240_000);
    origin.sockets[0]?.write(`9\r\ndata: ${String(event).padStart(2, '0')}\n\r\n`);
    await client.until((text) => text.includes(`data: ${String(event).padStart(2, '0')}\n`));
  }
  await step(301_000);
  t.notMatch(await client.closed(), /\r\n0\r\n/, 'cut, not ended');
  t.match(rig.ends, [{ result: 'response_aborted', status: 200 }]);
  t.ok(clock.now() >= 3_600_000);
});

t.test('G7 a request that goes in circles ends at the eighth agent, and each hop says what it is', async (t) => {
  // An agent whose only endpoint of `a` is itself.
  const loop = await startRig(t, { a: [1] });
  loop.setService('a', [loop.port], policyWith({ retries: { attempts: 0 } }));
  const text = await exchangeRaw(t, loop.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  t.match(text, /^HTTP\/1.1 508 [\s\S]*x-outrigger-reason: loop_detected\r\n/);
  t.equal(loop.ends.filter(({ result }) => result === 'ok').length, 8);

  const origin = await startOrigin(t);
  const { outbound } = await twoAgents(t, origin.port);
  await exchangeRaw(
    t,
    outbound.port,
    'GET / HTTP/1.1\r\nHost: chat\r\nConnection: close\r\nX-Request-Id: id-7\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nVia: 1.0 edge\r\n\r\n',
  );
  const head = origin.received[0] ?? '';
  t.match(head, /\r\nvia: 1.0 edge, 1.1 outrigger, 1.1 outrigger\r\n/);
  t.match(head, /\r\nx-request-id: id-7\r\n/);
  t.match(head, /\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n/);
  t.equal(head.split('x-forwarded-for: 127.0.0.1\r\n').length, 2);
  t.notMatch(head, /6\.6\.6\.6|forwarded: for/);
});
