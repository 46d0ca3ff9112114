// The proxy over real sockets: what origins receive and what clients get, byte for byte.

import t from 'tap';

const tick = () => new Promise<void>((resolve) => setTimeout(resolve, 5));

import { OK, startOrigin } from '../support/origin.ts';
import { startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const isWhole = (text: string) => text.endsWith('ok');

t.test('a request arrives rewritten from parsed fields, and the answer comes back on a kept connection', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write(
    'GET /x/../y?q=1 HTTP/1.1\r\nHost: A.mesh\r\nX-Request-Id: id-1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Outrigger-Reason: x\r\nForwarded: for=x\r\nAccept:  */*  \r\nKeep-Alive: 5\r\n\r\n',
  );
  t.equal(await client.until(isWhole), 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
  t.equal(
    origin.received[0]?.replace(/(x-outrigger-deadline: 149)\d\d/, '$1__'),
    'GET /y?q=1 HTTP/1.1\r\nhost: a.mesh\r\naccept: */*\r\nx-request-id: id-1\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: a.mesh\r\nvia: 1.1 outrigger\r\nx-outrigger-deadline: 149__\r\n\r\n',
  );
  client.write(GET);
  await client.until((text) => text.split('ok').length === 3);
  t.equal(origin.sockets.length, 1, 'the upstream connection was used again');
  t.match(rig.records[0], {
    destination: 'a',
    method: 'GET',
    path: '/y?q=1',
    status: 200,
    result: 'ok',
    attempts: 1,
    bytesOut: 2,
    requestId: 'id-1',
  });
  t.equal(rig.begun(), 2);
  t.same(
    rig.ends.map(({ result }) => result),
    ['ok', 'ok'],
  );
  t.same(rig.attempts, ['response', 'response']);
  t.equal(rig.endpoints('a')[0]?.stats.inFlight, 0);
  t.same(rig.pools.connections(), [{ destination: 'a', active: 0, idle: 1 }]);
});

t.test('bodies with a length, in chunks, and absent are framed anew', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello');
  await client.until((text) => text.split('ok').length === 2);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n');
  client.write('2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n');
  await client.until((text) => text.split('ok').length === 3);
  const [first, second] = (origin.received[0] ?? '').split('POST / HTTP/1.1\r\n').slice(1);
  t.ok(first?.endsWith('content-length: 5\r\n\r\nhello'));
  t.match(second, /transfer-encoding: chunked\r\n\r\n(3\r\nabc\r\n2\r\nde|5\r\nabcde)\r\n0\r\n\r\n$/);
});

t.test('answers in chunks, delimited by close, and without a body are framed anew', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) => {
    if (text.includes('/chunks'))
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n');
    else if (text.includes('/close')) socket.end('HTTP/1.0 200 OK\r\n\r\nuntil the end');
    else if (text.startsWith('HEAD')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n');
    else if (text.includes('/204')) socket.write('HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n');
    else socket.write('HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: x\r\n\r\n');
  });
  const rig = await startRig(t, { a: [origin.port] });
  const answer = async (line: string, version = '1.1') =>
    exchangeRaw(t, rig.port, `${line} HTTP/${version}\r\nHost: a\r\nConnection: close\r\n\r\n`);
  t.equal(
    await answer('GET /chunks'),
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nhi!\r\n0\r\n\r\n',
  );
  t.equal(await answer('GET /chunks', '1.0'), 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi!');
  t.equal(
    await answer('GET /close'),
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nd\r\nuntil the end\r\n0\r\n\r\n',
  );
  t.equal(await answer('GET /close', '1.0'), 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end');
  t.equal(await answer('HEAD /'), 'HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: close\r\n\r\n');
  t.equal(await answer('GET /204'), 'HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n');
  t.equal(
    await answer('GET /304'),
    'HTTP/1.1 304 Not Modified\r\netag: x\r\ncontent-length: 7\r\nconnection: close\r\n\r\n',
  );
});

t.test('HTTP/1.0 keeps its connection only when it asks to', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  t.match(await exchangeRaw(t, rig.port, 'GET / HTTP/1.0\r\nHost: a\r\n\r\n'), /connection: close\r\n\r\nok$/);
  const client = await rawClient(t, rig.port);
  client.write('GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n');
  t.match(await client.until(isWhole), /connection: keep-alive\r\n\r\nok$/);
  client.write(GET);
  await client.until((text) => text.split('ok').length === 3);
});

t.test('J9 pipelined requests are answered in order', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) => {
    const number = /GET \/(\d+)/.exec(text)?.[1] ?? '';
    const reply = () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${number.length + 1}\r\n\r\n<${number}`);
    if (number === '3') setTimeout(reply, 60);
    else reply();
  });
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write(Array.from({ length: 100 }, (_, at) => `GET /${at} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''));
  const text = await client.until((received) => received.includes('<99'));
  t.same(
    text.match(/<\d+/g),
    Array.from({ length: 100 }, (_, at) => `<${at}`),
  );
});

t.test('J7 J8 a half-closed client gets its whole answer, one that resets stops the upstream', async (t) => {
  const origin = await startOrigin(t, ({ socket }) => setTimeout(() => socket.write(OK), 50));
  const rig = await startRig(t, { a: [origin.port] });
  const half = await rawClient(t, rig.port);
  half.write(GET);
  half.end();
  t.match(await half.closed(), /connection: close\r\n\r\nok$|\r\n\r\nok$/);
  origin.answer = () => {};
  const gone = await rawClient(t, rig.port);
  gone.write(GET);
  while (origin.requests() < 2) await tick();
  gone.reset();
  const before = performance.now();
  while (origin.open() > 0 && performance.now() - before < 1000) await tick();
  t.equal(origin.open(), 0, 'the upstream connection was closed');
  t.match(rig.ends.at(-1), { result: 'downstream_disconnect', status: 0 });
  t.equal(rig.attempts.at(-1), 'canceled');
});

t.test('J10 bytes behind a request with Connection: close are ignored', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const text = await exchangeRaw(t, rig.port, `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n${GET}`);
  t.equal(text.split('HTTP/1.1 200').length, 2);
  t.equal(origin.requests(), 1);
});

t.test('a large body passes both ways unharmed and is held back on both sides', async (t) => {
  const size = 8 * 1024 * 1024;
  let got = 0;
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  origin.answer = ({ socket }) => {
    got += 1;
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    socket.write(Buffer.alloc(size, 'x'));
  };
  const client = await rawClient(t, rig.port);
  client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
  client.socket.write(Buffer.alloc(size, 'y'));
  const text = await client.until((received) => received.length > size, 8000);
  t.equal(text.length - text.indexOf('\r\n\r\n') - 4, size);
  t.equal(got, 1);
  t.match(origin.received[0]?.slice(-10), 'yyyyyyyyyy');
});

t.test('H4 100-continue is relayed and the body follows', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) => {
    if (text.includes('expect: 100-continue')) {
      socket.write('HTTP/1.1 100 Continue\r\n\r\n');
      socket.once('data', () => socket.write(OK));
    }
  });
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
  await client.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
  client.write('hello');
  await client.until(isWhole);
  t.ok(origin.received[0]?.endsWith('\r\n\r\nhello'));
});

t.test('H5 a final answer instead of 100 is relayed and both connections end', async (t) => {
  const origin = await startOrigin(t, 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nok');
  const rig = await startRig(t, { a: [origin.port] });
  const text = await exchangeRaw(
    t,
    rig.port,
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n',
  );
  t.match(text, /^HTTP\/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok$/);
  t.same(rig.pools.connections(), [{ destination: 'a', active: 0, idle: 0 }]);
});

t.test('I12 interim answers are relayed to HTTP/1.1, dropped for HTTP/1.0, and bounded', async (t) => {
  const origin = await startOrigin(t, `${'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n'.repeat(3)}${OK}`);
  const rig = await startRig(t, { a: [origin.port] });
  const answer = (version: string) =>
    exchangeRaw(t, rig.port, `GET / HTTP/${version}\r\nHost: a\r\nConnection: close\r\n\r\n`);
  t.equal((await answer('1.1')).split('HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n').length, 4);
  t.ok((await answer('1.0')).startsWith('HTTP/1.1 200'));
  origin.answer = `${'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(40)}${OK}`;
  t.match(await answer('1.1'), /HTTP\/1.1 502 /);
});

t.test('H10 H13 H16 an upgrade becomes a tunnel only after the 101 that was asked for', async (t) => {
  const ask = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const origin = await startOrigin(t, ({ text, socket }) => {
    if (!text.includes('upgrade: websocket')) {
      socket.write(OK);
      return;
    }
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhey');
    socket.removeAllListeners('data');
    socket.on('data', (bytes: Buffer) => socket.write(`<${bytes.toString()}>`));
  });
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write(ask);
  await client.until((text) => text.endsWith('\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhey'));
  client.write('ping');
  await client.until((text) => text.endsWith('<ping>'));
  client.end();
  await client.closed();
  t.match(rig.ends.at(-1), { result: 'ok', status: 101 });

  origin.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
  const refused = await rawClient(t, rig.port);
  refused.write(`${ask}GET /admin HTTP/1.1\r\nHost: nowhere\r\n\r\n`);
  const text = await refused.until((received) => received.includes('404'));
  t.match(text, /^HTTP\/1.1 200 OK[\s\S]*HTTP\/1.1 404/);
  t.notOk(origin.received.join('').includes('/admin'), 'bytes behind the head went through the policies');
});

t.test('H14 a 101 that nobody asked for is a protocol error', async (t) => {
  const origin = await startOrigin(
    t,
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
  );
  const rig = await startRig(t, { a: [origin.port] });
  t.match(await exchangeRaw(t, rig.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /^HTTP\/1.1 502 /);
});

t.test('J17 messages cut at every byte are relayed like whole ones', async (t) => {
  const answers: readonly [string, RegExp][] = [
    [
      `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${OK}`,
      /^HTTP\/1.1 103 [\s\S]*content-length: 2\r\nconnection: close\r\n\r\nok$/,
    ],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\n',
      /\r\n\r\n(2\r\nhi|1\r\nh\r\n1\r\ni)\r\n0\r\n\r\n$/,
    ],
  ];
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  for (const [answer, expected] of answers) {
    origin.answer = ({ socket }) => void drip(answer, (piece) => socket.write(piece));
    const client = await rawClient(t, rig.port);
    await drip('POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc', (piece) =>
      client.write(piece),
    );
    t.match(await client.closed(), expected);
  }
  t.ok(origin.received.every((text) => text.endsWith('\r\n\r\nabc') || text.split('\r\n\r\nabc').length === 3));
});

t.test('H17 HEAD and a pipelined GET: no body for the first, its own for the second', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) =>
    socket.write(text.startsWith('HEAD') ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n' : OK),
  );
  const rig = await startRig(t, { a: [origin.port] });
  const text = await exchangeRaw(
    t,
    rig.port,
    `HEAD / HTTP/1.1\r\nHost: a\r\n\r\n${GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}`,
  );
  t.equal(
    text,
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok',
  );
  t.equal(origin.sockets.length, 1);
});

t.test('H15 U24 an upgrade with a body sends the body first; a tunnel whose upstream dies ends', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) => {
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n<${text.slice(-5)}>`);
    setTimeout(() => socket.resetAndDestroy(), 50);
  });
  const rig = await startRig(t, { a: [origin.port] });
  const text = await exchangeRaw(
    t,
    rig.port,
    'POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhello',
  );
  t.match(text, /\r\n\r\n<hello>$/);
  t.equal(rig.ends.length, 1);
  t.same(rig.pools.connections(), [{ destination: 'a', active: 0, idle: 0 }]);
});

async function drip(text: string, write: (piece: string) => void): Promise<void> {
  for (const piece of text) {
    write(piece);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
