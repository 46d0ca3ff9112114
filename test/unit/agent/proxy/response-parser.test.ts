// Responses, bad and good, against the pure parser: the rows of bad-input I that bytes alone decide.

import t from 'tap';
import { RESPONSE_LIMITS } from '../../../../agent/proxy/http1/fields.ts';
import { BODY_CHUNKED, BODY_NONE, BODY_UNTIL_CLOSE } from '../../../../agent/proxy/http1/framing.ts';
import { parseResponseHead, type ResponseHead } from '../../../../agent/proxy/http1/response-head.ts';

function parse(text: string, isHead = false): ReturnType<typeof parseResponseHead> {
  const bytes = Buffer.from(text, 'latin1');
  const whole = parseResponseHead(bytes, 0, bytes.length, isHead, RESPONSE_LIMITS);
  if (bytes.length > 3000) return whole;
  for (let end = 0; end <= bytes.length; end += 1) {
    const part = parseResponseHead(bytes, 0, end, isHead, RESPONSE_LIMITS);
    if (part !== null) {
      t.same(part, whole, `the first ${end} bytes are judged like the whole`);
      break;
    }
  }
  return whole;
}

function head(text: string, isHead = false): ResponseHead {
  const parsed = parse(text, isHead);
  if (parsed === null || parsed.kind === 'fault') throw new Error(`not a head: ${JSON.stringify(parsed)}`);
  return parsed;
}

const ok = (fields: string, line = 'HTTP/1.1 200 OK') => `${line}\r\n${fields}\r\n`;

const REFUSED: readonly [title: string, inputs: readonly string[]][] = [
  [
    'I1 Transfer-Encoding with Content-Length',
    [
      ok('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'),
      ok('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'),
    ],
  ],
  [
    'I2 bad framing fields',
    [
      'Content-Length: 5\r\nContent-Length: 5\r\n',
      'Content-Length: \r\n',
      'Content-Length: 5,5\r\n',
      'Content-Length: -1\r\n',
      'Transfer-Encoding: gzip\r\n',
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n',
    ].map((f) => ok(f)),
  ],
  ['I3 Transfer-Encoding in HTTP/1.0', [ok('Transfer-Encoding: chunked\r\n', 'HTTP/1.0 200 OK')]],
  [
    'I4 malformed fields',
    [
      'Content_Length: 1\r\n',
      'X: a\n',
      'X: a\rb\r\n',
      'X: a\0\r\n',
      'X: \x08\r\n',
      'X\r\n',
      'X : a\r\n',
      'X: a\r\n b\r\n',
    ].map((f) => ok(f)),
  ],
  [
    'I5 malformed status lines',
    [
      'HTTP/1.1 20',
      'HTTP/1.1  200',
      'HTTP/2 200',
      'HTTP/2.0 200',
      'ICY 200',
      'HTTP/1.1 099',
      'HTTP/1.1 1000',
      'HTTP/1.1\t200',
      '<html>',
    ].map((l) => ok('', l)),
  ],
  [
    'I7 more than 200 fields or 64 KiB',
    [ok('X: a\r\n'.repeat(201)), ok(`X: ${'a'.repeat(40_000)}\r\nY: ${'b'.repeat(40_000)}\r\n`)],
  ],
];

for (const [title, inputs] of REFUSED) {
  t.test(title, async (t) => {
    for (const input of inputs)
      t.match(parse(input), { kind: 'fault', reason: 'upstream_protocol_error' }, JSON.stringify(input.slice(0, 80)));
  });
}

t.test('I6 a missing reason phrase is empty, and one outside ASCII is not repeated', async (t) => {
  t.equal(head(ok('', 'HTTP/1.1 200')).phrase, '');
  t.equal(head(ok('', 'HTTP/1.1 200 ')).phrase, '');
  t.equal(head(ok('', 'HTTP/1.1 200 d\xe9j\xe0')).phrase, '');
  t.equal(head(ok('', 'HTTP/1.1 404 Not Here')).phrase, 'Not Here');
});

t.test('I10 I11 HEAD, 1xx, 204 and 304 have no body whatever they declare', async (t) => {
  t.match(head(ok('Content-Length: 5\r\n'), true), { framing: BODY_NONE, contentLength: 5 });
  t.match(head(ok('Content-Length: 5\r\n', 'HTTP/1.1 304 Not Modified')), { framing: BODY_NONE, contentLength: 5 });
  t.match(head(ok('Content-Length: 5\r\n', 'HTTP/1.1 204 No Content')), { framing: BODY_NONE, contentLength: -1 });
  t.match(head(ok('Transfer-Encoding: chunked\r\n', 'HTTP/1.1 103 Early Hints')), {
    framing: BODY_NONE,
    contentLength: -1,
  });
});

t.test('the three framings of a body', async (t) => {
  t.equal(head(ok('Content-Length: 12\r\n')).framing, 12);
  t.equal(head(ok('Transfer-Encoding: chunked\r\n')).framing, BODY_CHUNKED);
  t.equal(head(ok('')).framing, BODY_UNTIL_CLOSE);
});

t.test('G8 fields that Connection names do not travel, nor do hop-by-hop ones', async (t) => {
  const fields =
    'Connection: X-Secret, close\r\nX-Secret: 1\r\nX-Open: 2\r\nKeep-Alive: timeout=2\r\nProxy-Authenticate: x\r\n';
  t.match(head(ok(fields)), { fields: ['x-open', '2'], isKeepAlive: false, keepAliveMs: 2000 });
});

t.test('I24 close, HTTP/1.0 and Keep-Alive decide about reuse', async (t) => {
  t.equal(head(ok('')).isKeepAlive, true);
  t.equal(head(ok('Connection: close\r\n')).isKeepAlive, false);
  t.equal(head(ok('', 'HTTP/1.0 200 OK')).isKeepAlive, false);
  t.equal(head(ok('Connection: keep-alive\r\n', 'HTTP/1.0 200 OK')).isKeepAlive, true);
  t.equal(head(ok('Keep-Alive: max=5, timeout=7\r\n')).keepAliveMs, 7000);
  t.equal(head(ok('Keep-Alive: timeout=0\r\n')).keepAliveMs, 1);
});

t.test('H14 the protocol of a 101 is told, and its framing ignored', async (t) => {
  const answer = head(
    ok('Connection: upgrade\r\nUpgrade: WebSocket\r\nContent-Length: 5\r\n', 'HTTP/1.1 101 Switching'),
  );
  t.match(answer, { upgrade: 'websocket', framing: BODY_NONE });
});
