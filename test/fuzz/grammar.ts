// What the fuzzer is made of: messages by grammar, with the rows of bad-input A–E and I as its weighted oddities. Pure text,
// Latin-1; chance is a parameter.

import type { Random } from '../../agent/clock.ts';

/** Plain ones stand first and are drawn more often: an input that is refused at its first byte finds little. */
const METHODS = [
  'GET',
  'POST',
  'PUT',
  'HEAD',
  'OPTIONS',
  'DELETE',
  'PATCH',
  'PURGE',
  'FOO',
  'get',
  'CONNECT',
  'G=":',
  'A'.repeat(33),
];
const TARGETS = [
  '/',
  '/a?b=c',
  '/a/b/c',
  '/x%20y?z=%00',
  '*',
  'http://a/p',
  'http://A:80?q',
  'HTTP://b/',
  '/a/../b',
  '//x',
  '/%61',
  '/a%2fb',
  '/#x',
  '/"',
  '/%00',
  '/%c0%ae',
  'a:80',
  'https://a/',
  'http://u@h/',
  'http://',
  '/\x80',
  '/a b',
  '/a\\b',
  '/\0',
  '/./',
  '/%',
  `/${'a'.repeat(8192)}`,
];
const VERSIONS = [
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/1.2',
  'HTTP/2.0',
  'HTTP/0.9',
  'http/1.1',
  'HTTP/01.1',
  'HTTP/1.',
  'HTTP/1.10',
  'HTTP/\r\r1.1',
  '',
];
const HOSTS = [
  'a',
  'b.mesh',
  'A.SVC.:80',
  '[::1]:8080',
  '',
  'a,b',
  'a b',
  'u@a',
  'a:99999',
  'a/b',
  'a\x80',
  '..',
  'a:-1',
  '[::1',
];
const LENGTHS = [
  '0',
  '5',
  '05',
  '12',
  '3',
  '5',
  '',
  '+5',
  '-0',
  '5,5',
  '5, 5',
  '0x5',
  '5.0',
  '5 5',
  '"5"',
  '9007199254740992',
  '18446744073709551617',
  '5\x0b',
  '5\xa0',
  '0'.repeat(40),
];
const CODINGS = [
  'chunked',
  'Chunked',
  'CHUNKED',
  'chunked ',
  'gzip, chunked',
  'chunked, chunked',
  'chunked, gzip',
  'identity',
  ',chunked',
  'chunked,',
  '"chunked"',
  'chunked;q=1',
  'xchunked',
  '\x0bchunked',
  'chunked\xff',
  'chunk',
  '',
];
const OTHERS = [
  'Accept: */*',
  'X-A:b',
  'X-B:\tc \t',
  'X-Empty:',
  'X: \x85admin\xa0',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: X-A, close',
  'Connection: Host',
  ',',
  'Via: 1.1 outrigger',
  'Connection: upgrade\r\nUpgrade: websocket',
  'Upgrade: h2c',
  'Expect: 100-continue',
  'Expect: y',
  'TE: trailers',
  'Trailer: X',
  'Keep-Alive: timeout=5',
  'Proxy: x',
  'Max-Forwards: 3',
  'Max-Forwards: x',
  'Content-Type: a\r\nContent-Type: b',
  'Authorization: x',
  'Idempotency-Key: 1',
  'Content-Encoding: chunked',
  'Content_Length: 5',
  'X_Forwarded_For: 1',
  'Content-Length : 5',
  'X\t: y',
  'X',
  ': v',
  ':',
  ' folded',
  '\tfolded',
  'X: a\rTransfer-Encoding: chunked',
  'X: a\nTransfer-Encoding: chunked',
  'Transfer-\r\nEncoding: chunked',
  'Transfer-Encoding:\r\n chunked',
  'X: ok\0',
  'X\x85: y',
  'X: \x7f',
  '__proto__: x',
  'constructor: y',
  'hasOwnProperty: 1',
  '1: 1',
  'HTTP2-Settings: AAA',
  'Cookie: a=b; c=d',
  'Retry-After: 3',
  'Connection: X-A\r\nX-A: 1',
  'Connection: Content-Length',
  'Proxy-Connection: close',
  'Content-Length 10',
  'Connection: ,,close',
  `Connection: ${'a,'.repeat(40)}close`,
  'X-M: 1\r\n'.repeat(101).trimEnd(),
  `X-L: ${'v'.repeat(8193)}`,
  `X-N: ${'v'.repeat(8000)}\r\nX-N: ${'w'.repeat(8000)}\r\nX-N: w\r\nX-O: ${'w'.repeat(400)}`,
];
const ENDS = ['\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '\r\r\n', '\r\n\r'];
const SIZES = [
  '5',
  '05',
  '0005',
  'a',
  'A',
  '0x5',
  '+5',
  '-5',
  ' 5',
  '5 ',
  '5g',
  '',
  'FFFFFFFFFFFFFFFF',
  '10000000000000000',
  '0'.repeat(20),
  '5_0',
];
const EXTENSIONS = [
  '',
  '',
  '',
  '',
  ';a',
  ';a=b',
  ';a=b;c="d e"',
  ';a="\\""',
  ';',
  ' ;a',
  ';a=',
  ';a b',
  ';\nx',
  ';a=b\r\rX',
  ';a="',
  ';\0',
  `;${'x'.repeat(300)}`,
  ';a\x80',
];
const TRAILERS = [
  '',
  '',
  '',
  'X: y\r\n',
  'X:POST / HTTP/1.1\r\n',
  'Content-Length: 5\r\n',
  'X\r\n',
  'X : y\r\n',
  ' y\r\n',
  'X: \0\r\n',
  'X: y\n',
  ':path: x\r\n',
  `X: ${'t'.repeat(4100)}\r\n`,
  'X: y\r\n'.repeat(33),
];
const STATUSES = [
  '200 OK',
  '204 No Content',
  '304 Not Modified',
  '100 Continue',
  '103 Early',
  '101 Switching',
  '404',
  '500 ',
  '200 d\xe9',
  '20',
  '099 x',
  '1000 x',
  ' 200',
  '200\tOK',
  '2x0 OK',
  '200 a\x01',
  '199 x',
  '600 x',
];
const PIECES = [
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  '\0',
  ':',
  ',',
  ';',
  '0',
  '5',
  'a',
  'F',
  '\x0b',
  '\x80',
  '\xff',
  '-',
  '+',
  '_',
  '"',
  '=',
  'chunked',
  '\r\n\r\n',
  '0\r\n\r\n',
  'Content-Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Host: b\r\n',
  'GET / HTTP/1.1\r\n',
  'HTTP/1.1',
];

/** One of the list; the first `common` ones nearly always. */
function draw(random: Random, list: readonly string[], common: number): string {
  const count = random() < 0.93 ? common : list.length;
  return list[Math.floor(random() * count)] as string; // lists are never empty
}

function chunkedBody(random: Random): string {
  let body = '';
  for (let count = Math.floor(random() * 4); count > 0; count -= 1) {
    const data = 'hello world'.slice(0, 1 + Math.floor(random() * 10));
    const size = random() < 0.95 ? data.length.toString(16) : draw(random, SIZES, SIZES.length);
    body += `${size}${draw(random, EXTENSIONS, 8)}${draw(random, ENDS, 8)}${data}${draw(random, ENDS, 8)}`;
  }
  return `${body}0${draw(random, EXTENSIONS, 8)}${draw(random, ENDS, 8)}${draw(random, TRAILERS, 6)}${draw(random, ENDS, 8)}`;
}

/** Framing field and the body that goes with it, or sometimes not with it. */
function framed(random: Random): readonly [fields: string, body: string] {
  const kind = random();
  if (kind < 0.35) return ['', random() < 0.03 ? 'surplus' : ''];
  if (kind < 0.6) {
    const length = draw(random, LENGTHS, 6);
    const declared = Number(length);
    const body = 'hello, world'.slice(0, declared <= 12 ? declared : 5);
    return [`Content-Length: ${length}\r\n`, random() < 0.9 ? body : `${body}x`];
  }
  if (kind < 0.95) return [`Transfer-Encoding: ${draw(random, CODINGS, 4)}\r\n`, chunkedBody(random)];
  return [`Transfer-Encoding: chunked\r\nContent-Length: ${draw(random, LENGTHS, 6)}\r\n`, chunkedBody(random)];
}

function fieldLines(random: Random): string {
  let lines = '';
  for (let count = Math.floor(random() * 4); count > 0; count -= 1) {
    lines += draw(random, OTHERS, 23) + draw(random, ENDS, 8);
  }
  return lines;
}

function request(random: Random): string {
  const method = draw(random, METHODS, 8);
  const target = method === 'OPTIONS' && random() < 0.3 ? '*' : draw(random, TARGETS, 4);
  const separator = random() < 0.98 ? ' ' : draw(random, PIECES, PIECES.length);
  const host = random() < 0.97 ? `Host: ${draw(random, HOSTS, 4)}\r\n` : '';
  const [framing, body] = framed(random);
  const lead = random() < 0.98 ? '' : '\r\n';
  return `${lead}${method} ${target}${separator}${draw(random, VERSIONS, 5)}${draw(random, ENDS, 8)}${host}${fieldLines(random)}${framing}${draw(random, ENDS, 8)}${body}`;
}

function response(random: Random): string {
  const [framing, body] = framed(random);
  return `${draw(random, VERSIONS, 5)} ${draw(random, STATUSES, 9)}${draw(random, ENDS, 8)}${fieldLines(random)}${framing}${draw(random, ENDS, 8)}${body}`;
}

/** Cuts, doubles, swaps or adds a few bytes anywhere. */
function disturb(random: Random, input: string): string {
  let text = input;
  for (let count = 1 + Math.floor(random() * 3); count > 0; count -= 1) {
    const at = Math.floor(random() * (text.length + 1));
    const kind = random();
    if (kind < 0.3) text = text.slice(0, at) + draw(random, PIECES, PIECES.length) + text.slice(at);
    else if (kind < 0.55) text = text.slice(0, at) + draw(random, PIECES, PIECES.length) + text.slice(at + 1);
    else if (kind < 0.75) text = text.slice(0, at) + text.slice(at + 1 + Math.floor(random() * 3));
    else if (kind < 0.9)
      text = text.slice(0, at) + String.fromCharCode(Math.floor(random() * 256)) + text.slice(at + 1);
    else text = text.slice(0, at) + text.slice(Math.max(0, at - 8), at) + text.slice(at);
  }
  return text;
}

export type MessageKind = 'request' | 'response';

/** One to three messages on one connection, a third of them disturbed. */
export function drawInput(random: Random, kind: MessageKind): string {
  const one = kind === 'request' ? request : response;
  let text = one(random);
  while (random() < 0.12) text += one(random);
  return random() < 0.35 ? disturb(random, text) : text;
}
