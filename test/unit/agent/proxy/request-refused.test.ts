// Requests that must be refused, against the pure parsers: every row of bad-input A–F that bytes alone decide. Each input is
// given whole, byte by byte and at random cuts; the outcome must be the same.

import t from 'tap';
import { chunked, get, HOST, judgeEveryWay, post } from '../../../support/judge-request.ts';

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
  [
    'B2 blank before the first field',
    'bad_request',
    [`GET / HTTP/1.1\r\n ${HOST}\r\n`, `GET / HTTP/1.1\r\n\t${HOST}\r\n`],
  ],
  [
    'B3 folded fields',
    'bad_request',
    ['X: a\r\n b\r\n', 'Transfer-Encoding:\r\n chunked\r\n', 'Expect: 100-\r\n continue\r\n'].map((f) => get(f)),
  ],
  ['B4 bare CR', 'bad_request', ['X: a\rb\r\n', 'X\r: a\r\n', 'X: a\r\r\n'].map((f) => get(f))],
  ['B5 CR CR ends nothing', 'bad_request', [`GET / HTTP/1.1\r\n${HOST}\r\rX`, `GET / HTTP/1.1\r\n${HOST}X: a\r\n\rX`]],
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
    'B13 look-alikes of steering names',
    'bad_request',
    [
      'Content_Length',
      'Transfer_Encoding',
      'transfer_encoding_',
      'X_Forwarded_For',
      'X-Forwarded_Proto',
      'X_Outrigger_Reason',
      'X_Real_IP',
      '_host',
      'Host_',
      'connection_',
      'Content_Type',
      'Proxy_Connection',
    ].map((name) => get(`${name}: 1\r\n`)),
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
      (f) => `POST / HTTP/1.0\r\n${HOST}${f}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
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
