// Answers that come before the request is whole, that are lost between two resets, or that want the request in another form.

import t from 'tap';
import { systemClock } from '../../agent/clock.ts';
import { Pools } from '../../agent/proxy/pools.ts';
import type { UpstreamSink } from '../../agent/proxy/upstream-connection.ts';
import { DEFAULT_POLICY } from '../../contract/policy/plan.ts';
import { OK, startOrigin } from '../support/origin.ts';
import { until } from '../support/processes.ts';
import { startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';

const OLD = 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok';
const chunkedPost = (body: string, extra = '') =>
  `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n${extra}\r\n${body}`;

t.test('E18 a chunked body is given a length for an upstream that speaks HTTP/1.0', async (t) => {
  const origin = await startOrigin(t, OLD);
  const rig = await startRig(t, { a: [origin.port] });
  await exchangeRaw(t, rig.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  const client = await rawClient(t, rig.port);
  client.write(chunkedPost('5\r\nhello\r\n'));
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.equal(origin.requests(), 1, 'nothing is begun before the length is known');
  client.write('6\r\n world\r\n0\r\n\r\n');
  t.match(await client.closed(), /^HTTP\/1.1 200 OK\r\n/);
  t.match(origin.received.at(-1), /\r\ncontent-length: 11\r\n\r\nhello world$/);
  t.notMatch(origin.received.at(-1), /transfer-encoding/);

  const big = `${(70_000).toString(16)}\r\n${'x'.repeat(70_000)}\r\n0\r\n\r\n`;
  t.match(await exchangeRaw(t, rig.port, chunkedPost(big)), /^HTTP\/1.1 411 [\s\S]*length_required/);
  t.equal(origin.requests(), 2, 'nothing of the long one was sent');

  const polite = await rawClient(t, rig.port);
  polite.write(chunkedPost('', 'Expect: 100-continue\r\n'));
  await polite.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
  polite.write('2\r\nhi\r\n0\r\n\r\n');
  t.match(await polite.closed(), /HTTP\/1.1 200 OK\r\n/);
  t.match(origin.received.at(-1), /\r\ncontent-length: 2\r\n\r\nhi$/);
  t.notMatch(origin.received.at(-1), /expect:/);
});

t.test('E18 an upstream that answers 411 is asked again with a length, once', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) =>
    socket.write(text.includes('chunked') ? 'HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n' : OK),
  );
  const rig = await startRig(t, { a: [origin.port] });
  t.match(await exchangeRaw(t, rig.port, chunkedPost('5\r\nhello\r\n0\r\n\r\n')), /^HTTP\/1.1 200 OK\r\n/);
  t.equal(origin.requests(), 2);
  t.same(rig.retries, ['length_required']);
  origin.answer = 'HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n';
  t.match(await exchangeRaw(t, rig.port, chunkedPost('5\r\nhello\r\n0\r\n\r\n')), /^HTTP\/1.1 411 Length Required\r\n/);
  t.equal(origin.requests(), 4, 'the second 411 is the answer');
});

t.test('I16 after a refusal the rest of the body is not sent; a success may still be made of it', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  for (const [round, status] of ['413 Content Too Large', '200 OK'].entries()) {
    const client = await rawClient(t, rig.port);
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello');
    await until(() => origin.received[round]?.includes('hello') === true, 2000);
    const upstream = origin.sockets[round];
    upstream?.write(`HTTP/1.1 ${status}\r\nContent-Length: 4\r\n\r\nno`);
    await client.until((text) => text.endsWith('no'));
    client.write('REST OF THE BODY');
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal(origin.received[round]?.includes('REST'), status === '200 OK', status);
    upstream?.write('no');
    t.match(await client.closed(), /connection: close\r\n\r\nnono$/);
    t.equal(rig.pools.connections()[0]?.idle, 0, 'neither side is used again');
  }
});

t.test('I21 J15 an answer that lies behind a reset is read before the failed write counts', async (t) => {
  const origin = await startOrigin(t, () => {});
  const pools = new Pools({ clock: systemClock });
  t.teardown(() => pools.closeAll());
  const heard: string[] = [];
  const { promise: connected, resolve: onConnected } = Promise.withResolvers<void>();
  const { promise: ended, resolve: onEnded } = Promise.withResolvers<void>();
  const sink: UpstreamSink = {
    onConnected,
    onInformational: () => {},
    onSwitched: () => {},
    onResponseHead: ({ status }) => heard.push(`head ${status}`),
    onResponseBody: (bytes, [start, end]) => heard.push(`body ${bytes.toString('latin1', start, end)}`),
    onReadEnd: () => {},
    onResponseEnd: () => {
      heard.push('end');
      onEnded();
    },
    onUpstreamLost: (kind) => {
      heard.push(`lost ${kind}`);
      onEnded();
    },
    onUpstreamDrain: () => {},
    onUpstreamDeadline: () => {},
  };
  const rig = await startRig(t, { a: [origin.port] });
  const [view] = rig.endpoints('a');
  if (view === undefined) throw new Error('the rig has one endpoint');
  const connection = pools.acquire('a', view, DEFAULT_POLICY, sink, true, false);
  if (connection === null) throw new Error('a first connection is never too many');
  await connected;
  connection.expectResponse(false, null);
  connection.socket.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n');
  await until(() => origin.received[0]?.includes('\r\n\r\n') === true, 2000);
  // In one turn of the loop: the answer and the reset are in the kernel, nobody has read them, and the body goes on.
  origin.sockets[0]?.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig');
  origin.sockets[0]?.resetAndDestroy();
  connection.socket.write('more of the body', connection.onBodyWritten);
  await ended;
  t.same(heard, ['head 413', 'body big', 'end']);
  t.equal(pools.connectionsOf(view.endpoint.id), 0, 'and the connection is gone');
});

t.test('I16 an upload into an upstream that answers and resets: the client reads the answer', async (t) => {
  const origin = await startOrigin(t, () => {});
  const rig = await startRig(t, { a: [origin.port] });
  for (let round = 0; round < 10; round += 1) {
    const client = await rawClient(t, rig.port);
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nhello');
    await until(() => origin.received[round]?.includes('hello') === true, 2000);
    client.write('x'.repeat(20_000));
    origin.sockets[round]?.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig');
    origin.sockets[round]?.resetAndDestroy();
    client.write('x'.repeat(20_000));
    t.match(await client.closed(), /^HTTP\/1.1 413 Content Too Large\r\n[\s\S]*big$/);
  }
});
