// Requests, bad and good, against the pure parsers: every row of bad-input A–F that bytes alone decide. Each input is given
// whole, byte by byte and at random cuts; the outcome must be the same.

import t, { type Test } from 'tap';
import { BodyReader, joinRanges } from '../../../../agent/proxy/http1/body-reader.ts';
import { REQUEST_LIMITS } from '../../../../agent/proxy/http1/fields.ts';
import { parseRequestHead, type RequestHead } from '../../../../agent/proxy/http1/request-head.ts';
import { seededRandom } from '../../../support/seeded-random.ts';

type Verdict =
  | { kind: 'message'; head: RequestHead; body: string; rest: string }
  | { kind: 'refused'; reason: string }
  | { kind: 'incomplete' };

/** Feeds pieces the way a connection does: the head is parsed again from its start, the body is read once. */
function judge(pieces: readonly Buffer[]): Verdict {
  let pending = Buffer.alloc(0);
  let head: RequestHead | null = null;
  let body = '';
  const reader = new BodyReader();
  for (const piece of pieces) {
    pending = Buffer.concat([pending, piece]);
    let from = 0;
    if (head === null) {
      const parsed = parseRequestHead(pending, 0, pending.length, REQUEST_LIMITS);
      if (parsed === null) continue;
      if (parsed.kind === 'fault') return { kind: 'refused', reason: parsed.reason };
      head = parsed;
      reader.reset(head.framing);
      from = head.next;
    }
    if (!reader.isDone) {
      const ranges: number[] = [];
      const next = reader.read(pending, from, pending.length, ranges);
      if (reader.fault !== null) return { kind: 'refused', reason: 'bad_request' };
      if (ranges.length > 0) body += joinRanges(pending, ranges).toString('latin1');
      from = next;
    }
    pending = pending.subarray(from);
  }
  if (head === null || !reader.isDone) return { kind: 'incomplete' };
  return { kind: 'message', head, body, rest: pending.toString('latin1') };
}

function comparable(verdict: Verdict): unknown {
  return verdict.kind === 'message' ? { ...verdict, head: { ...verdict.head, next: 0 } } : verdict;
}

const random = seededRandom(20);

/** The verdict of the whole input, after checking that every way to cut it gives the same one. */
function judgeEveryWay(t: Test, input: string): Verdict {
  const bytes = Buffer.from(input, 'latin1');
  const whole = judge([bytes]);
  if (bytes.length < 5000) {
    const single = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
    t.same(comparable(judge(single)), comparable(whole), 'byte by byte');
  }
  for (let round = 0; round < 3; round += 1) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + Math.floor(random() * Math.min(bytes.length, 900));
      pieces.push(bytes.subarray(at, at + size));
      at += size;
    }
    t.same(comparable(judge(pieces)), comparable(whole), 'at random cuts');
  }
  return whole;
}

const H = 'Host: a\r\n';
const get = (fields: string, line = 'GET / HTTP/1.1') => `${line}\r\n${H}${fields}\r\n`;
const post = (fields: string, body = '') => `POST / HTTP/1.1\r\n${H}${fields}\r\n${body}`;
const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body);

const REFUSED: readonly [title: string, reason: string, inputs: readonly string[]][] = [
  ['A1 bare LF line ends', 'bad_request', ['GET / HTTP/1.1\nHost: a\n\n', 'GET / HTTP/1.1\r\nHost: a\n\r\n']],
  ['A2 LF inside the request line', 'bad_request', ['GET /\nHTTP/1.1\r\nHost: a\r\n\r\n']],
  ['A3 HTTP/0.9 request line', 'bad_request', ['GET /\r\n']],
  [
    'A4 other versions',
    'version_not_supported',
    ['2.0', '0.9', '9.9', '1.2'].map((version) => `GET / HTTP/${version}\r\nHost: a\r\n\r\n`),
  ],
  [
    'A5 malformed versions',
    'bad_request',
    ['http/1.1', 'HTTP/01.1', 'HTTP/1.32', 'HTTP/1.', 'HTTP/4294967295.255', 'HTTP/\r\r1.1'].map(
      (version) => `GET / ${version}\r\nHost: a\r\n\r\n`,
    ),
  ],
  [
    'A6 wrong spacing in the request line',
    'bad_request',
    ['GET  / HTTP/1.1', 'GET /  HTTP/1.1', 'GET\t/ HTTP/1.1', 'GET / HTTP/1.1 ', ' GET / HTTP/1.1'].map((l) =>
      get('', l),
    ),
  ],
  ['A7 three empty lines before the request', 'bad_request', [`\r\n\r\n\r\n${get('')}`, `\r\n\r\n${get('')}`]],
  [
    'A8 forbidden bytes in the target',
    'bad_request',
    ['/a\x01', '/a\x7f', '/a\x80', '/"', '/<', '/>', '/^', '/`', '/{', '/}', '/\\', '/a\0'].map((target) =>
      get('', `GET ${target} HTTP/1.1`),
    ),
  ],
  ['A9 fragment in the target', 'bad_request', [get('', 'GET /#x HTTP/1.1')]],
  [
    'A10 escaped control bytes and overlong escapes',
    'bad_request',
    ['/%00', '/%0d%0a', '/%c0%ae', '/%zz', '/%4', '/%7f'].map((target) => get('', `GET ${target} HTTP/1.1`)),
  ],
  [
    'A13 methods that are no token, or too long',
    'bad_request',
    ['G=":<>(e),[T];?" /get HTTP/1.1', `${'A'.repeat(33)} / HTTP/1.1`].map((l) => get('', l)),
  ],
  [
    'A15 targets of no known form',
    'bad_request',
    ['foo', '*', 'http://', 'http:///x'].map((x) => get('', `GET ${x} HTTP/1.1`)),
  ],
  [
    'A16 other protocols on this port',
    'bad_request',
    ['\x16\x03\x01\x02\x00\x01', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'SSH-2.0-OpenSSH_8\r\n'],
  ],
  ['A17 a target of 8,193 bytes', 'uri_too_long', [get('', `GET /${'a'.repeat(8192)} HTTP/1.1`)]],
  ['B1 blank before the colon', 'bad_request', ['Content-Length : 5\r\n', 'X\t: y\r\n'].map((f) => get(f))],
  ['B2 blank before the first field', 'bad_request', [`GET / HTTP/1.1\r\n ${H}\r\n`, `GET / HTTP/1.1\r\n\t${H}\r\n`]],
  [
    'B3 folded fields',
    'bad_request',
    ['X: a\r\n b\r\n', 'Transfer-Encoding:\r\n chunked\r\n', 'Expect: 100-\r\n continue\r\n'].map((f) => get(f)),
  ],
  ['B4 bare CR', 'bad_request', ['X: a\rb\r\n', 'X\r: a\r\n', 'X: a\r\r\n'].map((f) => get(f))],
  ['B5 CR CR ends nothing', 'bad_request', [`GET / HTTP/1.1\r\n${H}\r\rX`, `GET / HTTP/1.1\r\n${H}X: a\r\n\rX`]],
  ['B6 NUL in names and values', 'bad_request', ['x-foo: ok\0\r\n', 'x\0foo: ok\r\n'].map((f) => get(f))],
  ['B7 other control bytes', 'bad_request', ['X: a\x08\r\n', 'X: a\x7f\r\n', 'X: \x0b\r\n'].map((f) => get(f))],
  ['B8 empty names', 'bad_request', [': v\r\n', ':\r\n'].map((f) => get(f))],
  ['B9 no colon', 'bad_request', [get('Content-Length 10\r\n')]],
  ['B10 a name cut by CRLF', 'bad_request', [get('Transfer-\r\nEncoding: chunked\r\n')]],
  [
    'B11 names with separators or high bytes',
    'bad_request',
    ['X\x85: a\r\n', 'X\xa0: a\r\n', 'X\xad: a\r\n', 'X\xef: a\r\n', 'X(: a\r\n', 'X/: a\r\n'].map((f) => get(f)),
  ],
  [
    'B12 high bytes in steering values',
    'bad_request',
    [
      'GET / HTTP/1.1\r\nHost: a\xa0\r\n\r\n',
      post('Content-Length: 5\x85\r\n'),
      post('Transfer-Encoding: chunked\xa0\r\n'),
      get('Connection: close\xa0\r\n'),
      get('Expect: 100-continue\xa0\r\n'),
      get('Upgrade: websocket\x85\r\n'),
    ],
  ],
  [
    'B13 underscores in names',
    'bad_request',
    ['Content_Length: 5\r\n', 'X_Forwarded_For: a\r\n', 'Transfer_Encoding: chunked\r\n'].map((f) => get(f)),
  ],
  ['B14 LF LF hides a request', 'bad_request', [get('Useless:\n\nGET /evil HTTP/1.1\r\n')]],
  [
    'B16 too many, too long, too large',
    'head_too_large',
    [
      get(Array.from({ length: 100 }, (_, at) => `x-${at}: 1\r\n`).join('')),
      get(`X: ${'a'.repeat(8193)}\r\n`),
      get(`X: ${'a'.repeat(8000)}\r\nY: ${'a'.repeat(8000)}\r\nZ: ${'a'.repeat(400)}\r\n`),
    ],
  ],
  [
    'B17 duplicate single fields',
    'bad_request',
    ['Content-Type: a\r\ncontent-type: a\r\n', 'Authorization: a\r\nAuthorization: b\r\n'].map((f) => get(f)),
  ],
  [
    'C1 two different Content-Length values',
    'bad_request',
    ['Content-Length: 5\r\ncontent-length: 6\r\n', 'CONTENT-LENGTH: 6\r\nContent-Length: 5\r\n'].map((f) =>
      post(f, 'hello!'),
    ),
  ],
  [
    'C2 the same Content-Length twice',
    'bad_request',
    ['Content-Length: 5\r\nContent-Length: 5\r\n', 'Content-Length: 5, 5\r\n'].map((f) => post(f, 'hello')),
  ],
  ['C3 a list of lengths', 'bad_request', [post('Content-Length: 5,6\r\n', 'hello')]],
  [
    'C4 empty Content-Length',
    'bad_request',
    ['Content-Length: \r\n', 'Content-Length:\r\nContent-Length: 5\r\n'].map((f) => post(f, 'hello')),
  ],
  ['C5 signed lengths', 'bad_request', ['+5', '-5', '-0', '-48'].map((v) => post(`Content-Length: ${v}\r\n`, 'hello'))],
  [
    'C6 lengths that are not decimal',
    'bad_request',
    ['0x10', '1e1', '5.0', '1_0', '5 5', '"5"', '1Z'].map((v) => post(`Content-Length: ${v}\r\n`, 'hello')),
  ],
  [
    'C8 lengths beyond 2^53-1',
    'bad_request',
    ['9007199254740992', '18446744073709551617', '9'.repeat(400), '0'.repeat(400)].map((v) =>
      post(`Content-Length: ${v}\r\n`),
    ),
  ],
  [
    'D1 Content-Length with Transfer-Encoding',
    'bad_request',
    ['Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', 'transfer-encoding: chunked\r\nCONTENT-LENGTH: 5\r\n'].map(
      (f) => post(f, '0\r\n\r\n'),
    ),
  ],
  [
    'D2 two Transfer-Encoding lines',
    'bad_request',
    [post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n')],
  ],
  [
    'D3 chunked twice',
    'bad_request',
    ['chunked, chunked', 'chunked, gzip, chunked'].map((v) => post(`Transfer-Encoding: ${v}\r\n`)),
  ],
  ['D4 gzip before chunked', 'not_implemented', [post('Transfer-Encoding: gzip, chunked\r\n')]],
  [
    'D5 chunked not last',
    'bad_request',
    ['chunked, gzip', 'chunked, identity'].map((v) => post(`Transfer-Encoding: ${v}\r\n`)),
  ],
  [
    'D6 other codings',
    'not_implemented',
    ['identity', 'xchunked', 'chunkedchunked', 'chunk', 'blegh'].map((v) => post(`Transfer-Encoding: ${v}\r\n`)),
  ],
  ['D7 empty list members', 'bad_request', [',chunked', 'chunked,'].map((v) => post(`Transfer-Encoding: ${v}\r\n`))],
  [
    'D8 quotes and parameters',
    'bad_request',
    ['"chunked"', 'chunked;q=1', '(chunked)'].map((v) => post(`Transfer-Encoding: ${v}\r\n`)),
  ],
  [
    'D9 odd bytes around chunked',
    'bad_request',
    ['\x0b', '\x0c', '\x00', '\xa0', '\xff', '\x85'].flatMap((b) =>
      [`${b}chunked`, `chunked${b}`, `chu${b}nked`].map((v) => post(`Transfer-Encoding: ${v}\r\n`)),
    ),
  ],
  [
    'D10 wrapped Transfer-Encoding',
    'bad_request',
    [':\r\n chunked', ':\n chunked', ': \r\n\tchunked'].map((v) => post(`Transfer-Encoding${v}\r\n`)),
  ],
  [
    'D12 Transfer-Encoding in HTTP/1.0',
    'bad_request',
    ['', 'Connection: keep-alive\r\n', 'Content-Length: 5\r\n'].map(
      (f) => `POST / HTTP/1.0\r\n${H}${f}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ),
  ],
  [
    'D13 Connection names a framing field',
    'bad_request',
    ['Transfer-Encoding', 'Content-Length', 'Host'].map((v) => get(`Connection: ${v}\r\n`)),
  ],
  [
    'D14 Transfer-Encoding behind a bare CR or LF',
    'bad_request',
    [post('X: a\rTransfer-Encoding: chunked\r\n'), post('X: a\nTransfer-Encoding: chunked\r\n')],
  ],
  [
    'E1 chunk sizes that are not hexadecimal',
    'bad_request',
    ['0x5', '+5', '-5', '0_2e', ' 5', '5 ', '1these', 'Z'].map((v) => chunked(`${v}\r\nhello\r\n0\r\n\r\n`)),
  ],
  ['E2 empty chunk size', 'bad_request', [chunked('\r\nhello\r\n')]],
  [
    'E3 chunk sizes too large',
    'bad_request',
    ['FFFFFFFFFFFFFFFF', '1'.repeat(17), `${'0'.repeat(1000)}5`].map((v) => chunked(`${v}\r\nhello\r\n`)),
  ],
  [
    'E4 chunk size line ends',
    'bad_request',
    ['5\nhello\r\n', '5\rhello\r\n', '5\rXhello\r\n', '5\r\rhello\r\n'].map(chunked),
  ],
  [
    'E5 line ends and NUL inside an extension',
    'bad_request',
    ['2;\nxx\r\n', '41;a=b\r\rX\r\n', '2;a\0\r\nxx\r\n', '2;a="\n"\r\nxx\r\n'].map(chunked),
  ],
  ['E7 empty extensions', 'bad_request', ['5;\r\nhello\r\n', '5 ;a\r\nhello\r\n'].map(chunked)],
  [
    'E8 extensions too long',
    'bad_request',
    [
      chunked(`5;${'a'.repeat(257)}\r\nhello\r\n`),
      chunked(`1;${'a'.repeat(200)}\r\nx\r\n`.repeat(25)),
      chunked(`5;a=${'b'.repeat(65_536)}`),
    ],
  ],
  [
    'E9 chunk data not ended by CRLF',
    'bad_request',
    [
      '5\r\nhello\n0\r\n\r\n',
      '5\r\nhelloXX0\r\n\r\n',
      '5\r\nhello0\r\n\r\n',
      '5\r\nhello\r0\r\n\r\n',
      '5\r\nhello!\r\n0\r\n\r\n',
    ].map(chunked),
  ],
  ['E10 an extra CRLF before the last chunk', 'bad_request', [chunked('5\r\nhello\r\n\r\n0\r\n\r\n')]],
  ['E12 an invalid chunk hides a request', 'bad_request', [chunked(`X\r\n${get('')}`)]],
  [
    'E15 malformed or endless trailers',
    'bad_request',
    [
      '0\r\nbad name: x\r\n\r\n',
      '0\r\n folded\r\n\r\n',
      `0\r\nX: ${'a'.repeat(4096)}\r\n\r\n`,
      `0\r\n${'X: a\r\n'.repeat(33)}\r\n`,
    ].map(chunked),
  ],
  ['E17 a flood of one-byte chunks', 'bad_request', [chunked('1\r\nx\r\n'.repeat(20_000))]],
  ['F1 no Host, or two', 'bad_request', ['GET / HTTP/1.1\r\n\r\n', get('Host: a\r\n'), get('Host: b\r\n')]],
  [
    'F2 malformed Host',
    'bad_request',
    ['', 'a,b', 'a b', 'a/b', 'u@a', 'a:99999', 'a:-1', '[::1', "[::1]' UNION", '../x', 'a..b', 'a:', 'a:0'].map(
      (v) => `GET / HTTP/1.1\r\nHost: ${v}\r\n\r\n`,
    ),
  ],
  ['F3 absolute-form and Host differ', 'bad_request', [get('', 'GET http://b/ HTTP/1.1')]],
  [
    'F4 other schemes, userinfo, backslashes',
    'bad_request',
    ['ftp://a/', 'https://a/', 'http://u@a/', 'http:\\\\a'].map((x) => get('', `GET ${x} HTTP/1.1`)),
  ],
  ['F5 authority-form without CONNECT', 'bad_request', [get('', 'GET a:80 HTTP/1.1')]],
  [
    'G2 Connection names a protected field',
    'bad_request',
    ['Authorization', 'Cookie', 'Host', 'Traceparent'].map((v) => get(`Connection: close, ${v}\r\n`)),
  ],
  [
    'G5 more than 32 connection options',
    'bad_request',
    [get(`Connection: ${'a, '.repeat(1000)}b\r\n`), get(`Connection: ${'a,'.repeat(32)}b\r\n`)],
  ],
  [
    'H3 Max-Forwards that is no number',
    'bad_request',
    ['X', '-1'].map((v) => get(`Max-Forwards: ${v}\r\n`, 'OPTIONS / HTTP/1.1')),
  ],
  [
    'H7 expectations that cannot be met',
    'expectation_failed',
    ['100-continue, x', 'y'].map((v) => post(`Content-Length: 1\r\nExpect: ${v}\r\n`, 'x')),
  ],
  [
    'H7 an expectation with a control byte',
    'bad_request',
    [post('Content-Length: 1\r\nExpect: 100-continue\x0b\r\n', 'x')],
  ],
  ['H9 OPTIONS, Expect and folding', 'bad_request', [get('Expect:\r\n 100-continue\r\n', 'OPTIONS / HTTP/1.1')]],
];

for (const [title, reason, inputs] of REFUSED) {
  t.test(title, async (t) => {
    for (const input of inputs)
      t.same(judgeEveryWay(t, input), { kind: 'refused', reason }, JSON.stringify(input.slice(0, 90)));
  });
}

function accepted(t: Test, input: string): { head: RequestHead; body: string; rest: string } {
  const verdict = judgeEveryWay(t, input);
  t.equal(verdict.kind, 'message', JSON.stringify(input.slice(0, 90)));
  if (verdict.kind !== 'message') throw new Error(`refused: ${JSON.stringify(verdict)}`);
  return verdict;
}

t.test('A7 one empty line before the request is ignored', async (t) => {
  t.equal(accepted(t, `\r\n${get('')}`).head.method, 'GET');
});

t.test('A11 dot segments, double slashes and escaped letters are brought to one spelling', async (t) => {
  for (const [given, path] of [
    ['/a/../admin', '/admin'],
    ['/a//b', '/a/b'],
    ['/%61dmin', '/admin'],
    ['/./', '/'],
    ['/a/%2e%2e/b', '/b'],
    ['/../../etc', '/etc'],
    ['/a/b/..', '/a/'],
    ['/a%2fb', '/a%2Fb'],
    ['/plain?x=/../%zz', '/plain'],
  ] as const) {
    const { head } = accepted(t, get('', `GET ${given} HTTP/1.1`));
    t.equal(head.path, path);
    t.ok(head.target.startsWith(path));
  }
  t.equal(accepted(t, get('', 'GET /x/../y?a=1 HTTP/1.1')).head.target, '/y?a=1');
});

t.test('A14 methods are case-sensitive tokens', async (t) => {
  t.equal(accepted(t, get('', 'get / HTTP/1.1')).head.method, 'get');
  t.equal(accepted(t, get('', 'FOO / HTTP/1.1')).head.method, 'FOO');
});

t.test('B12 high bytes at the edges of other values are kept', async (t) => {
  t.same(accepted(t, get('X: \x85admin\xa0\r\n')).head.fields, ['x', '\x85admin\xa0']);
});

t.test('B15 names of object machinery and numbers are plain names', async (t) => {
  const fields = ['__proto__'.replaceAll('_', '-'), 'constructor', 'hasOwnProperty'].map((n) => `${n}: 1\r\n`).join('');
  t.equal(accepted(t, get(fields)).head.fields.length, 6);
  const numbers = Array.from({ length: 60 }, (_, at) => `${at + 1}: v\r\n`).join('');
  t.equal(accepted(t, get(numbers)).head.fields.length, 120);
});

t.test('B16 exactly 100 fields and a value of 8 KiB are accepted', async (t) => {
  t.equal(accepted(t, get(Array.from({ length: 99 }, (_, at) => `x-${at}: 1\r\n`).join(''))).head.fields.length, 198);
  t.equal(accepted(t, get(`X: ${'a'.repeat(8192)}\r\n`)).head.fields[1]?.length, 8192);
});

t.test('B18 a head that is not complete is neither accepted nor refused', async (t) => {
  t.same(judge([Buffer.from(`GET / HTTP/1.1\r\n${H}`)]), { kind: 'incomplete' });
});

t.test('C7 leading zeros are decimal', async (t) => {
  t.equal(accepted(t, post('Content-Length: 010\r\n', '0123456789')).head.framing, 10);
  t.equal(accepted(t, post('Content-Length: 00005\r\n', 'hello')).body, 'hello');
});

t.test('C10 C12 what follows the declared length is the next message', async (t) => {
  t.equal(accepted(t, post('Content-Length: 0\r\n', 'POST /2')).rest, 'POST /2');
  t.equal(accepted(t, post('Content-Length: 5\r\n', 'hello!')).rest, '!');
});

t.test('C11 E13 a body that is cut short stays incomplete', async (t) => {
  t.equal(judgeEveryWay(t, post('Content-Length: 5\r\n', 'hell')).kind, 'incomplete');
  t.equal(judgeEveryWay(t, chunked('5\r\nhel')).kind, 'incomplete');
});

t.test('D11 Transfer-Encoding in any case and spacing', async (t) => {
  for (const line of ['Transfer-Encoding:chunked', 'tRANSFER-eNCODING: CHUNKED', 'Transfer-Encoding:\tchunked\t']) {
    t.equal(accepted(t, post(`${line}\r\n`, '5\r\nhello\r\n0\r\n\r\n')).body, 'hello');
  }
});

t.test('D15 Content-Encoding: chunked frames nothing', async (t) => {
  t.equal(accepted(t, post('Content-Encoding: chunked\r\nContent-Length: 5\r\n', 'hello')).head.framing, 5);
});

t.test('D16 TE is understood for trailers only', async (t) => {
  t.equal(accepted(t, get('TE: trailers, gzip\r\n')).head.wantsTrailers, true);
  t.equal(accepted(t, get('TE: gzip\r\n')).head.wantsTrailers, false);
  t.equal(accepted(t, get('TE: trailers;q=0.5\r\n')).head.wantsTrailers, false);
});

t.test('E6 E11 E14 extensions and trailers are checked and dropped', async (t) => {
  t.equal(accepted(t, chunked('5;a=b;c="d \\" e"\r\nhello\r\n0\r\n\r\n')).body, 'hello');
  t.equal(accepted(t, chunked('0\r\nX:POST / HTTP/1.1\r\n\r\n')).body, '');
  const merged = accepted(t, chunked('1\r\nx\r\n0\r\nContent-Length: 9\r\nHost: evil\r\nAuthorization: x\r\n\r\n'));
  t.same(
    { host: merged.head.host, fields: merged.head.fields, body: merged.body },
    { host: 'a', fields: [], body: 'x' },
  );
});

t.test('E16 an extra byte after the message is left for the next one', async (t) => {
  t.equal(accepted(t, chunked('0\r\n\r\nX')).rest, 'X');
});

t.test('F3 F7 hosts are brought to one spelling', async (t) => {
  t.equal(accepted(t, 'GET http://A.SVC.:80/x HTTP/1.1\r\nHost: a.svc\r\n\r\n').head.host, 'a.svc');
  t.equal(accepted(t, 'GET / HTTP/1.1\r\nHost: A.SVC.\r\n\r\n').head.host, 'a.svc');
  t.equal(accepted(t, 'GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n').head.host, '[::1]:8080');
  t.equal(accepted(t, 'GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n').head.target, '/?q');
});

t.test('F10 HTTP/1.0 without Host has an empty one', async (t) => {
  t.equal(accepted(t, 'GET / HTTP/1.0\r\n\r\n').head.host, '');
});

t.test('G3 G6 hop-by-hop fields and Proxy do not travel', async (t) => {
  const hop =
    'Keep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nTrailer: x\r\nProxy: http://x\r\nTE: gzip\r\nUpgrade: x\r\n';
  t.same(accepted(t, get(hop)).head.fields, []);
});

t.test('G5 close wins over keep-alive and empty options are ignored', async (t) => {
  t.equal(accepted(t, get('Connection: keep-alive, close\r\n')).head.isKeepAlive, false);
  t.equal(accepted(t, get('Connection: ,,close\r\n')).head.isKeepAlive, false);
  t.equal(accepted(t, `GET / HTTP/1.0\r\n${H}\r\n`).head.isKeepAlive, false);
  t.equal(accepted(t, `GET / HTTP/1.0\r\n${H}Connection: Keep-Alive\r\n\r\n`).head.isKeepAlive, true);
});

t.test('G7 hops are counted in Via', async (t) => {
  t.equal(accepted(t, get('Via: 1.1 outrigger, 1.0 other\r\nVia: 1.1 outrigger\r\n')).head.hops, 2);
});

t.test('H8 Expect is ignored in HTTP/1.0 and not waited for without a body', async (t) => {
  t.equal(
    accepted(t, `POST / HTTP/1.0\r\n${H}Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx`).head.expectsContinue,
    false,
  );
  t.equal(accepted(t, post('Expect: 100-continue\r\nContent-Length: 0\r\n')).head.expectsContinue, false);
  t.equal(accepted(t, post('Expect: 100-continue\r\nContent-Length: 1\r\n', 'x')).head.expectsContinue, true);
});

t.test('H12 H13 only one protocol with Connection: upgrade in HTTP/1.1 is an upgrade, and never h2c', async (t) => {
  const upgrade = (fields: string, line?: string) => accepted(t, get(fields, line)).head.upgrade;
  t.equal(upgrade('Connection: Upgrade\r\nUpgrade: WebSocket\r\n'), 'websocket');
  t.equal(upgrade('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n'), null);
  t.equal(upgrade('Upgrade: websocket\r\n'), null);
  t.equal(upgrade('Connection: upgrade\r\nUpgrade: websocket\r\n', 'GET / HTTP/1.0'), null);
  t.equal(upgrade('Connection: upgrade\r\nUpgrade: websocket, h2c\r\n'), null);
});
