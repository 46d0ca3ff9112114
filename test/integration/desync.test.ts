// No input may put the two sides out of step. Each hostile input goes through a real listener; behind it a victim asks on the
// same pools and must get its own answer; and the origin, which is node:http, must have read exactly the requests we meant.

import { METHODS } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { BODY_UNTIL_CLOSE } from '../../agent/proxy/http1/framing.ts';
import { drawInput } from '../fuzz/grammar.ts';
import { readMessages } from '../fuzz/read-messages.ts';
import { startOrigin } from '../support/origin.ts';
import { echoOf, type ParsingOrigin, startParsingOrigin } from '../support/parsing-origin.ts';
import { type Rig, startRig } from '../support/proxy-rig.ts';
import { rawClient } from '../support/raw-client.ts';
import { seededRandom } from '../support/seeded-random.ts';

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
const post = (fields: string, body = '') => `POST /p HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`;
const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body);

/** `meant`: what the origin shall read, `METHOD target body`; a request that is cut off inside is not in it. */
const CASES: readonly (readonly [id: string, input: string, meant: readonly string[]])[] = [
  ['A1', `GET / HTTP/1.1\nHost: a\n\n${SMUGGLED}`, []],
  ['A3', `GET /\r\n${SMUGGLED}`, []],
  ['A7', `\r\n\r\n\r\n${SMUGGLED}`, []],
  ['A18', `GET /1 HTTP/1.1\r\nHost: a\r\n\r\nInvalid\r\n\r\n${SMUGGLED}`, ['GET /1 ']],
  ['B1', post('Content-Length : 34\r\n', SMUGGLED), []],
  ['B3', post('Transfer-Encoding:\r\n chunked\r\nContent-Length: 34\r\n', SMUGGLED), []],
  ['B4', post('X: a\rContent-Length: 34\r\n', SMUGGLED), []],
  ['B5', `GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n${SMUGGLED}`, []],
  ['B6', post('X: ok\0\r\n', SMUGGLED), []],
  ['B14', `GET / HTTP/1.1\r\nHost: a\r\nUseless:\n\n${SMUGGLED}`, []],
  ['C1', post('Content-Length: 0\r\nContent-Length: 34\r\n', SMUGGLED), []],
  ['C2', post('Content-Length: 34\r\nContent-Length: 34\r\n', SMUGGLED), []],
  ['C4', post('Content-Length: \r\n', SMUGGLED), []],
  ['C5', post('Content-Length: +34\r\n', SMUGGLED), []],
  ['C6', post('Content-Length: 0x22\r\n', SMUGGLED), []],
  ['C8', post('Content-Length: 18446744073709551650\r\n', SMUGGLED), []],
  ['C9', `GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n${SMUGGLED}`, [`GET /1 ${SMUGGLED}`]],
  ['C10', `${post('Content-Length: 0\r\n')}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n`, ['POST /p ', 'GET /2 ']],
  ['C11', post('Content-Length: 99\r\n', SMUGGLED), []],
  ['D1', post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`), []],
  ['D1', post('Transfer-Encoding: chunked\r\nContent-Length: 40\r\n', `0\r\n\r\n${SMUGGLED}`), []],
  ['D2', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`), []],
  ['D6', post('Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${SMUGGLED}`), []],
  ['D9', post('Transfer-Encoding: \x0bchunked\r\n', `0\r\n\r\n${SMUGGLED}`), []],
  ['D12', `POST /p HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`, []],
  ['D13', post('Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`), []],
  ['D15', post('Content-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'), ['POST /p 0\r\n\r\n']],
  ['E1', chunked(`0x5\r\nhello\r\n0\r\n\r\n${SMUGGLED}`), []],
  ['E3', chunked(`FFFFFFFFFFFFFFFF\r\n${SMUGGLED}`), []],
  ['E4', chunked(`5\rX\r\nhello\r\n0\r\n\r\n${SMUGGLED}`), []],
  ['E5', chunked(`2;\nxx\r\n23\r\n\r\n0\r\n\r\n${SMUGGLED}`), []],
  ['E9', chunked(`5\r\nhello\n0\r\n\r\n${SMUGGLED}`), []],
  ['E9', chunked(`5\r\nhelloXX0\r\n\r\n${SMUGGLED}`), []],
  ['E11', chunked('0\r\nX:POST /smuggled HTTP/1.1\r\n\r\n'), ['POST /p ']],
  ['E12', chunked(`Z\r\n${SMUGGLED}`), []],
  [
    'E14',
    `${chunked('1\r\na\r\n0\r\nContent-Length: 9\r\n\r\n')}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n`,
    ['POST /p a', 'GET /2 '],
  ],
  ['E16', `${chunked('1\r\na\r\n0\r\n\r\n')}\x01${SMUGGLED}`, ['POST /p a']],
  ['F1', `GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n${SMUGGLED}`, []],
  ['F3', `GET http://a/1 HTTP/1.1\r\nHost: a\r\n\r\n`, ['GET /1 ']],
  ['H1', `CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n`, []],
  [
    'H10',
    `GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n`,
    ['GET /ws ', 'GET /2 '],
  ],
  [
    'H12',
    `GET /h2c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n`,
    ['GET /h2c '],
  ],
  ['H17', 'HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n', ['HEAD /1 ', 'GET /2 ']],
  ['J10', `GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n${SMUGGLED}`, ['GET /1 ']],
  ['J11', `POST /p HTTP/1.1\r\nHost: nowhere\r\nContent-Length: 35\r\n\r\n${SMUGGLED}`, []],
];

/** Sends the pieces as separate segments, half-closes and waits until the proxy has closed. */
async function send(t: Test, rig: Rig, input: string, cuts: readonly number[]): Promise<string> {
  const client = await rawClient(t, rig.port);
  let from = 0;
  for (const cut of [...cuts, input.length]) {
    client.write(input.slice(from, cut));
    from = cut;
    await turn();
  }
  client.end();
  return client.closed(4000);
}

let victims = 0;

/** Another caller: its answer must be made for it, and nothing of anybody else's may be in it. */
async function victim(t: Test, rig: Rig, host: string): Promise<string | null> {
  victims += 1;
  const target = `/victim-${victims}`;
  const client = await rawClient(t, rig.port);
  client.write(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  const text = await client.closed(4000);
  const [head = '', body] = text.split('\r\n\r\n');
  return head.startsWith('HTTP/1.1 200 OK\r\n') && body === echoOf('GET', target) ? null : text;
}

/** What the origin read since `from`, victims left out. */
function readBy(origin: ParsingOrigin, from: number): readonly string[] {
  return origin.requests
    .slice(from)
    .filter(({ target, isComplete }) => isComplete && !target.startsWith('/victim'))
    .map(({ method, target, body }) => `${method} ${target} ${body}`);
}

t.test('0 desync: each hostile request, whole and in pieces', async (t) => {
  const origin = await startParsingOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const random = seededRandom(5);
  for (const [id, input, meant] of CASES) {
    for (const cuts of [[], [Math.floor(random() * input.length)]]) {
      const from = origin.requests.length;
      await send(t, rig, input, cuts);
      const poisoned = await victim(t, rig, 'a');
      t.equal(poisoned, null, `${id} victim`);
      t.same(readBy(origin, from), meant, `${id} ${JSON.stringify(input.slice(0, 90))}`);
    }
  }
  t.same(origin.complaints, [], 'nothing that node:http refuses was sent to it');
});

t.test('0 desync: drawn requests arrive as they were read, in order, or not at all', async (t) => {
  const origin = await startParsingOrigin(t);
  const rig = await startRig(t, { a: [origin.port], b: [origin.port] });
  const random = seededRandom(11);
  let arrived = 0;
  for (let round = 0; round < 2000; round += 1) {
    const input = drawInput(random, 'request');
    const { messages } = readMessages(Buffer.from(input, 'latin1'), 'request', [], false);
    const meant = messages.map(({ head, body }) =>
      ('method' in head ? [head.method, head.target, body] : []).join(' '),
    );
    // Any token is a method to us; to node:http, which reads here, only those of its list.
    if (messages.some(({ head }) => 'method' in head && !METHODS.includes(head.method))) continue;
    const from = origin.requests.length;
    await send(t, rig, input, random() < 0.5 ? [] : [Math.floor(random() * input.length)]);
    const poisoned = await victim(t, rig, 'a');
    if (poisoned !== null) t.fail(`victim of ${JSON.stringify(input)} got ${JSON.stringify(poisoned)}`);
    const read = readBy(origin, from);
    arrived += read.length;
    if (!isSubsequence(read, meant)) t.same(read, meant, JSON.stringify(input));
  }
  t.ok(arrived > 200, `${arrived} requests arrived`);
  t.same(origin.complaints, []);
});

t.test('0 desync: whatever an origin answers, the next caller on the pool gets its own answer', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  const random = seededRandom(13);
  let posts = 0;
  for (let round = 0; round < 1000; round += 1) {
    const bytes = drawInput(random, 'response');
    const { stop, messages } = readMessages(Buffer.from(bytes, 'latin1'), 'response', [], false);
    const last = messages[messages.length - 1];
    const isWhole = stop === 'end' && last !== undefined && 'status' in last.head && last.head.status >= 200;
    // What is whole leaves the connection open, where a surplus would wait for the next caller.
    const isOpen = isWhole && last.head.framing !== BODY_UNTIL_CLOSE;
    origin.answer = ({ text, socket }) => {
      const [method = '', target = ''] = text.split(' ');
      const echo = echoOf(method, target);
      if (target.startsWith('/victim'))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${echo.length}\r\n\r\n${echo}`);
      else {
        posts += 1;
        socket.write(bytes, 'latin1');
        if (!isOpen) socket.end();
      }
    };
    await send(t, rig, 'POST /any HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n', []);
    const poisoned = await victim(t, rig, 'a');
    if (poisoned !== null) t.fail(`victim of ${JSON.stringify(bytes)} got ${JSON.stringify(poisoned)}`);
  }
  t.equal(posts, 1000, 'no POST was sent twice');
});

function isSubsequence(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const item of whole) if (item === part[at]) at += 1;
  return at === part.length;
}
