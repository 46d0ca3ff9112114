// Hostile peers on both sides, over real sockets. After every case another caller on the same pools gets its own answer, and
// origins have heard nothing they should not have.

import t, { type Test } from 'tap';
import { OK, type Origin, startOrigin } from '../support/origin.ts';
import { policyWith, type Rig, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const LAST = 'GET /victim HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

/** Another caller asks for itself: it must get an answer made for it, with nothing of the attack in it. */
async function victim(t: Test, rig: Rig, origin: Origin, what: string): Promise<void> {
  const before = origin.answer;
  origin.answer = ({ text, socket }) => {
    const path = text.split(' ')[1] ?? '';
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
  };
  const text = await exchangeRaw(t, rig.port, LAST);
  t.match(text, /^HTTP\/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n\/victim$/, `victim after ${what}`);
  origin.answer = before;
}

t.test('a refused request is answered, closed, and nothing of it goes upstream', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const post = (fields: string, body = '') => `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`;
  const cases: readonly [id: string, status: number, input: string][] = [
    ['A1', 400, 'GET / HTTP/1.1\nHost: a\n\n'],
    ['A4', 505, 'GET / HTTP/2.0\r\nHost: a\r\n\r\n'],
    ['A16', 400, '\x16\x03\x01\x02\x00\x01\x00'],
    ['A17', 414, `GET /${'a'.repeat(8200)} HTTP/1.1\r\n`],
    ['B1', 400, post('Content-Length : 5\r\n', 'hello')],
    ['B13', 400, post('Content_Length: 5\r\n', 'hello')],
    ['B16', 431, post('x: y\r\n'.repeat(101))],
    ['C1', 400, post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello!')],
    ['D1', 400, post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
    ['D4', 501, post('Transfer-Encoding: gzip, chunked\r\n')],
    ['D12', 400, 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['E1', 400, post('Transfer-Encoding: chunked\r\n', '0x5\r\nhello\r\n')],
    ['E12', 400, post('Transfer-Encoding: chunked\r\n', `X\r\n${GET}`)],
    ['F1', 400, 'GET / HTTP/1.1\r\n\r\n'],
    ['F3', 400, 'GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['G2', 400, post('Connection: Authorization\r\n')],
    ['H1', 405, 'CONNECT a:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
    ['H2', 405, 'TRACE / HTTP/1.1\r\nHost: a\r\nCookie: x\r\nConnection: close\r\n\r\n'],
    ['H7', 417, post('Content-Length: 1\r\nExpect: x\r\n', 'x')],
    [
      'G7',
      508,
      `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nVia: ${Array(8).fill('1.1 outrigger').join(', ')}\r\n\r\n`,
    ],
  ];
  for (const [id, status, input] of cases) {
    const before = rig.records.length;
    const text = await exchangeRaw(t, rig.port, input + (status === 400 ? GET : ''));
    t.match(
      text,
      new RegExp(
        `^HTTP/1\\.1 ${status} [^\\r]+\\r\\n[\\s\\S]*connection: close\\r\\n[\\s\\S]*\\{"reason":"[a-z_]+","message":"[^"]+","service":"[^"]*"\\}\\n$`,
      ),
      `${id} is answered with ${status}`,
    );
    t.equal(text.match(/HTTP\/1\.1 \d{3} /g)?.length, 1, `${id} gets one answer`);
    t.equal(rig.records.length, before + 1, `${id} leaves one record`);
  }
  t.same(origin.received.join(''), '', 'the origin heard nothing');
  await victim(t, rig, origin, 'all of them');
  t.equal(rig.begun(), rig.ends.length);
});

t.test('A18 C12 garbage behind a whole request is refused after its answer', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const text = await exchangeRaw(t, rig.port, `${GET}Invalid\r\n\r\n`);
  t.match(text, /^HTTP\/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP\/1.1 400 /);
  await victim(t, rig, origin, 'A18');
});

t.test('E9 a chunk that goes bad under way stops the upstream without a final chunk', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
  await until(() => origin.received[0]?.includes('hello') === true);
  client.write('Z\r\n');
  t.match(await client.closed(), /^HTTP\/1.1 400 /);
  t.notMatch(origin.received[0], /\r\n0\r\n/);
  await until(() => origin.open() === 0);
  await victim(t, rig, origin, 'E9');
});

t.test('C11 E13 a client that leaves within its body stops the upstream', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  for (const body of ['Content-Length: 9\r\n\r\nhello', 'Transfer-Encoding: chunked\r\n\r\n9\r\nhello']) {
    const client = await rawClient(t, rig.port);
    client.write(`POST / HTTP/1.1\r\nHost: a\r\n${body}`);
    await until(() => origin.received.at(-1)?.includes('hello') === true);
    client.end();
    await client.closed();
    await until(() => origin.open() === 0);
  }
  t.equal(origin.requests(), 0, 'no whole request was ever made of it');
  t.same(
    rig.ends.map(({ result }) => result),
    ['downstream_disconnect', 'downstream_disconnect'],
  );
  await victim(t, rig, origin, 'C11');
});

t.test('B18 FIN within a head closes without an answer', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write('GET / HTTP/1.1\r\nHost');
  client.end();
  t.equal(await client.closed(), '');
  t.equal(origin.sockets.length, 0);
});

t.test('an unusable answer is 502, its connection is not used again', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ retries: { attempts: 0 } }) });
  const cases: readonly [id: string, answer: string][] = [
    ['I1', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok'],
    ['I2', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!'],
    ['I3', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['I4', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
    ['I5', 'ICY 200 OK\r\n\r\n'],
    ['I7', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(201)}\r\n`],
    ['U14', 'SSH-2.0-OpenSSH_9\r\n'],
  ];
  for (const [id, answer] of cases) {
    origin.answer = answer;
    const text = await exchangeRaw(t, rig.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    t.match(text, /^HTTP\/1.1 502 [\s\S]*x-outrigger-reason: upstream_protocol_error\r\n/, id);
    t.same(rig.pools.connections(), [{ destination: 'a', active: 0, idle: 0 }], id);
    await victim(t, rig, origin, id);
    rig.pools.closeAll();
  }
});

t.test('I8 I10 I15 surplus bytes are never delivered', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const cases: readonly [id: string, line: string, answer: string, expected: RegExp][] = [
    ['I8', 'GET /', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEVIL', /\r\n\r\nok$/],
    [
      'I8 chunked',
      'GET /',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nEVIL',
      /2\r\nok\r\n0\r\n\r\n$/,
    ],
    [
      'I10',
      'HEAD /',
      'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL',
      /content-length: 4\r\nconnection: close\r\n\r\n$/,
    ],
    ['I10 204', 'GET /', 'HTTP/1.1 204 No Content\r\n\r\nEVIL', /204 No Content\r\nconnection: close\r\n\r\n$/],
    ['I15', 'GET /', `${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL`, /\r\n\r\nok$/],
  ];
  for (const [id, line, answer, expected] of cases) {
    origin.answer = answer;
    t.match(await exchangeRaw(t, rig.port, `${line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`), expected, id);
    t.equal(rig.pools.connections()[0]?.idle, 0, `${id}: the connection is gone`);
    await victim(t, rig, origin, id);
    rig.pools.closeAll();
  }
});

t.test('I14 a response on an idle connection destroys it', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  await exchangeRaw(t, rig.port, LAST);
  t.equal(rig.pools.connections()[0]?.idle, 1);
  origin.sockets[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL');
  await until(() => rig.pools.connections()[0]?.idle === 0);
  await victim(t, rig, origin, 'I14');
  origin.sockets.at(-1)?.end();
  await until(() => rig.pools.connections()[0]?.idle === 0);
});

t.test('I9 I20 I22 an answer that breaks off ends the client connection without a clean end', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const cases: readonly [id: string, answer: string, expected: RegExp][] = [
    ['I9 FIN', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart', /content-length: 9\r\n\r\npart$/],
    ['I9 chunked', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n', /\r\n\r\n4\r\npart\r\n$/],
    ['I22', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n', /\r\n\r\n4\r\npart\r\n$/],
  ];
  for (const [id, answer, expected] of cases) {
    origin.answer = ({ socket }) => {
      socket.write(answer);
      setTimeout(() => (id === 'I22' ? socket.write('0x5\r\n') : socket.end()), 30);
    };
    const client = await rawClient(t, rig.port);
    client.write(GET);
    t.match(await client.closed(), expected, id);
    t.match(rig.ends.at(-1), { result: 'response_aborted', status: 200 }, id);
    await victim(t, rig, origin, id);
    rig.pools.closeAll();
  }
  t.ok(rig.attempts.includes('reset') && rig.attempts.includes('protocol_error'));
});

t.test(
  'I13 I24 close-delimited answers and Connection: close end the upstream connection; Keep-Alive bounds it',
  async (t) => {
    const origin = await startOrigin(t, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');
    const rig = await startRig(t, { a: [origin.port] });
    await exchangeRaw(t, rig.port, LAST);
    t.equal(rig.pools.connections()[0]?.idle, 0);
    origin.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=0\r\n\r\nok';
    await exchangeRaw(t, rig.port, LAST);
    t.equal(rig.pools.connections()[0]?.idle, 0, 'a promise shorter than the margin is not relied on');
    origin.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=1\r\n\r\nok';
    await exchangeRaw(t, rig.port, LAST);
    t.equal(rig.pools.connections()[0]?.idle, 1);
    await until(() => rig.pools.connections()[0]?.idle === 0);
  },
);

t.test('I16 an answer before the request is whole is relayed and ends both connections', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const client = await rawClient(t, rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello');
  await until(() => origin.received[0]?.includes('hello') === true);
  origin.sockets[0]?.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno');
  t.match(
    await client.closed(),
    /^HTTP\/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno$/,
  );
  t.equal(rig.pools.connections()[0]?.idle, 0);
  await victim(t, rig, origin, 'I16');
});

t.test('J11 J12 J13 a body behind an answer of the agent is never parsed as a request', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port], empty: [] });
  for (const host of ['nowhere', 'empty']) {
    const whole = await rawClient(t, rig.port);
    whole.write(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${GET.length}\r\n\r\n${GET}${LAST}`);
    const text = await whole.closed();
    t.equal(text.split('HTTP/1.1 ').length, 3, 'one answer for the POST, one for the request behind its body');
    const late = await rawClient(t, rig.port);
    late.write(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${GET.length}\r\n\r\n`);
    await late.until((received) => received.includes('connection: close'));
    late.write(GET);
    t.equal((await late.closed()).split('HTTP/1.1 ').length, 2);
  }
  t.notOk(origin.received.join('').includes('GET / '));
});

t.test('K1 K2 H6 slow heads and slow bodies are 408', async (t) => {
  const origin = await startOrigin(t, ({ text, socket }) => {
    if (text.includes('expect:')) socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    else socket.write(OK);
  });
  const rig = await startRig(t, { a: [origin.port] }, { limits: { headMs: 150, bodyGraceMs: 150, lingerMs: 100 } });
  const head = await rawClient(t, rig.port);
  head.write('GET / HTTP/1.1\r\n');
  const body = await rawClient(t, rig.port);
  body.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nh');
  const promised = await rawClient(t, rig.port);
  promised.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n');
  t.match(await head.closed(), /^HTTP\/1.1 408 /);
  t.match(await body.closed(), /^HTTP\/1.1 408 /);
  t.match(await promised.closed(), /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 408 /);
  const silent = await rawClient(t, rig.port);
  t.equal(await silent.closed(), '', 'a connection that says nothing is closed without a word');
  await victim(t, rig, origin, 'K2');
});

t.test('K3 K6 a client that never reads is not read from either, and is cut off', async (t) => {
  const origin = await startOrigin(t, () => {});
  const big = 256 * 1024;
  origin.answer = ({ socket }) => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${big}\r\n\r\n${'x'.repeat(big)}`);
  const rig = await startRig(t, { a: [origin.port] }, { limits: { writeStallMs: 400 } });
  const client = await rawClient(t, rig.port);
  client.socket.pause();
  client.write(GET.repeat(2000));
  await until(() => rig.ends.some(({ result }) => result === 'downstream_disconnect'), 4000);
  t.ok(origin.requests() < 100, `${origin.requests()} of 2000 requests were begun`);
});

t.test('K7 an upload to an upstream that does not read is held back', async (t) => {
  const origin = await startOrigin(t);
  origin.sockets.length = 0;
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ timeouts: { idleMs: 500 } }) });
  const client = await rawClient(t, rig.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n');
  await until(() => origin.sockets.length === 1);
  origin.sockets[0]?.pause();
  for (let round = 0; round < 64; round += 1) client.socket.write(Buffer.alloc(1024 * 1024));
  const text = await client.closed(4000);
  t.match(text, /^HTTP\/1.1 504 |^$/, 'the stalled upload is given up');
  t.ok((rig.records[0]?.bytesIn ?? 0) < 32 * 1024 * 1024, `${rig.records[0]?.bytesIn} bytes were taken`);
});

function until(check: () => boolean, ms = 2000): Promise<void> {
  const end = performance.now() + ms;
  return new Promise((resolve, reject) => {
    const look = () => {
      if (check()) resolve();
      else if (performance.now() > end) reject(new Error(`not within ${ms} ms: ${check}`));
      else setTimeout(look, 5);
    };
    look();
  });
}
