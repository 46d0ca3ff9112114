// Why we may refuse what llhttp accepts. Each class names the fault of ours that it covers and a test of the input, written
// without the parser, that the fault is real: a parser that refused valid messages with a wrong reason would fail here.

interface Explanation {
  /** Key of the report: row of bad-input and the rule. */
  readonly name: string;
  readonly fault: RegExp;
  /** `head` without its last empty line; `lines` of it, the start line first; `rest` is everything behind the head. */
  holds(head: string, lines: readonly string[], rest: string): boolean;
}

const target = (lines: readonly string[]): string => lines[0]?.split(' ')[1] ?? '';
const values = (lines: readonly string[], name: string): string[] =>
  lines
    .slice(1)
    .filter((line) => line.slice(0, line.indexOf(':')).toLowerCase() === name)
    .map((line) => line.slice(line.indexOf(':') + 1).replace(/^[ \t]+|[ \t]+$/g, ''));
const isTwice = (lines: readonly string[], name: string): boolean => values(lines, name).length > 1;
const anyValue = (lines: readonly string[], name: string, test: RegExp): boolean =>
  values(lines, name).some((value) => test.test(value));
const port = (host: string): number => Number(/:(\d+)$/.exec(host)?.[1] ?? 80);

function hasControl(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return true;
  }
  return false;
}

/** Behind the first semicolon, its CR included. No part can match in two ways: the test stays linear. */
const EXTENSIONS =
  /^[\w!#$%&'*+.^`|~-]+(?:=(?:[\w!#$%&'*+.^`|~-]+|"(?:[^"\\]|\\.)*"))?(?:;[\w!#$%&'*+.^`|~-]+(?:=(?:[\w!#$%&'*+.^`|~-]+|"(?:[^"\\]|\\.)*"))?)*\r$/;

const EXPLANATIONS: readonly Explanation[] = [
  {
    name: 'A3 no HTTP/0.9',
    fault: /^the request target holds|^the request line does not end/,
    holds: (_head, lines) => /^\S+ \S+ *(?:\n|$)/.test(lines[0] ?? ''),
  },
  {
    name: 'A4 only HTTP/1.0 and HTTP/1.1',
    fault: /^only HTTP\/1\.0|^the status line is malformed$/,
    holds: (_head, lines) => /HTTP\/(?:0\.9|2\.0)( |$)/.test(lines[0] ?? ''),
  },
  {
    name: 'A6 one space between the parts of the request line',
    fault: /^the request line does not end|^the request target holds/,
    holds: (_head, lines) => /^\S+ +\S+ {2,}HTTP|^\S+ {2,}/.test(lines[0] ?? ''),
  },
  {
    name: 'A7 at most one empty line before a request',
    fault: /^the method is not a token/,
    holds: (head) => /^[\r\n]/.test(head),
  },
  {
    name: 'A8 A9 no quotes, brackets, backslash, fragment or raw bytes in a target',
    fault: /^the request target holds/,
    holds: (_head, lines) =>
      /["<>^`{}\\#\t\x7f-\xff]/.test((lines[0] ?? '').replace(/^\S+ /, '')) ||
      / {2,}|^\S+ \S+ \S+ /.test(lines[0] ?? ''),
  },
  {
    name: 'A10 broken or dangerous escape in the path',
    fault: /^the path holds a percent escape/,
    holds: (_head, lines) =>
      /%(?![2-7][0-9a-f]|[89ab][0-9a-f]|c[2-9a-f]|[de][0-9a-f]|f[0-4])|%7f/i.test(target(lines).split('?')[0] ?? ''),
  },
  {
    name: 'A15 F4 a target is a path, an http URL or * of OPTIONS',
    fault: /^the target (?:is neither|\* is|URL has no host|does not name)/,
    holds: (_head, lines) =>
      !/^\/|^http:\/\/(?:[a-z0-9][a-z0-9._-]*|\[[0-9a-f:.]+\])(?::\d{1,5})?(?:[/?]|$)/i.test(target(lines)) ||
      /^http:\/\/[^/?]*(?:\.\.|:0+(?:[/?]|$)|-(?:[:/?]|$)|_(?:[:/?]|$))/i.test(target(lines)) ||
      port(/^http:\/\/([^/?]*)/i.exec(target(lines))?.[1] ?? '') > 65_535,
  },
  {
    name: 'A17 a target of at most 8 KiB',
    fault: /^the request target is longer/,
    holds: (_head, lines) => target(lines).length > 8192,
  },
  {
    name: 'B7 B12 status phrase without control bytes',
    fault: /^the status line is malformed$/,
    holds: (_head, lines) => hasControl(lines[0] ?? '') || (lines[0]?.length ?? 0) > 500,
  },
  {
    name: 'I5 three digits from 100 and a space',
    fault: /^the status line is malformed$/,
    holds: (_head, lines) => !/^HTTP\/1\.[01] [1-9]\d\d( |$)/.test(lines[0] ?? ''),
  },
  {
    name: 'I5 nothing before a status line',
    fault: /^the status line is malformed$/,
    holds: (head) => /^[\r\n]/.test(head),
  },
  {
    name: 'B6 B7 no control byte in a field value',
    fault: /^a field value holds a control byte/,
    holds: (_head, lines) => lines.slice(1).some(hasControl),
  },
  {
    name: 'B13 no underscore look-alike of a steering field',
    fault: /is too much like|^a field name holds a byte/,
    holds: (_head, lines) => lines.slice(1).some((line) => /^[^:]*_[^:]*:/.test(line)),
  },
  {
    name: 'B16 head limits',
    fault: /^too many fields|^a field value is too long|^the head is too large/,
    holds: (head, lines) => lines.length > 101 || head.length > 16_384 - 4 || lines.some((line) => line.length > 8192),
  },
  {
    name: 'B17 F1 one value of a field that steers',
    fault: /^(\S+) appears twice/,
    holds: (_head, lines) =>
      'host content-type authorization idempotency-key max-forwards content-length transfer-encoding'
        .split(' ')
        .some((name) => isTwice(lines, name)),
  },
  {
    name: 'B12 only ASCII in a field that steers',
    fault: /holds a byte outside ASCII$/,
    holds: (_head, lines) =>
      'connection expect upgrade te'.split(' ').some((name) => anyValue(lines, name, /[\x7f-\xff]/)),
  },
  {
    name: 'C7 C8 a length of at most 32 digits and 2^53 - 1',
    fault: /^Content-Length is not/,
    holds: (_head, lines) =>
      values(lines, 'content-length').some((value) => value.length > 32 || Number(value) > Number.MAX_SAFE_INTEGER),
  },
  {
    name: 'D1 never both framings',
    fault: /^both Content-Length and/,
    holds: (_head, lines) =>
      values(lines, 'content-length').length > 0 && values(lines, 'transfer-encoding').length > 0,
  },
  {
    name: 'D3-D8 chunked and nothing else',
    fault: /^only the chunked|^Transfer-Encoding is not a list|^chunked is not the last/,
    holds: (_head, lines) => values(lines, 'transfer-encoding').join().toLowerCase() !== 'chunked',
  },
  {
    name: 'D12 I3 no Transfer-Encoding in HTTP/1.0',
    fault: /^Transfer-Encoding in an HTTP\/1\.0/,
    holds: (_head, lines) => /HTTP\/1\.0/.test(lines[0] ?? '') && values(lines, 'transfer-encoding').length > 0,
  },
  {
    name: 'D11 a TAB behind chunked is white space; llhttp sees another coding and reads to the end',
    fault: /^incomplete$|chunk|trailer/,
    holds: (head) => /\r\ntransfer-encoding:[^\r]*\t *(?:\r|$)/i.test(head),
  },
  {
    name: 'E5-E7 chunk extensions by their grammar',
    fault: /^a chunk extension is malformed/,
    holds: (_head, _lines, rest) =>
      [...rest.matchAll(/^[0-9a-f]+;([^\n]*)\n?/gim)].some(([, list = '']) => !EXTENSIONS.test(list)),
  },
  {
    name: 'E8 chunk extensions of at most 256 B',
    fault: /^chunk extensions are too long/,
    holds: (_head, _lines, rest) => /^[0-9a-f]+;[^\r]{250,}/im.test(rest),
  },
  {
    name: 'E3 chunk sizes of at most 16 digits and 2^53 - 1',
    fault: /^a chunk size is too large/,
    holds: (_head, _lines, rest) => /^(?:[0-9a-f]{17,}|(?!0*[0-9a-f]{1,13}\b)[0-9a-f]+)/im.test(rest),
  },
  {
    name: 'E15 trailers of at most 4 KiB and 32 fields',
    fault: /^trailers are too long|^too many trailers/,
    holds: (_head, _lines, rest) => rest.length > 4096 || rest.split('\r\n').length > 33,
  },
  {
    name: 'E15 B13 no underscore in a trailer',
    fault: /^a trailer is malformed/,
    holds: (_head, _lines, rest) => /^[^:\r\n]*_[^:\r\n]*:/m.test(rest),
  },
  {
    name: 'F1 Host in HTTP/1.1',
    fault: /^an HTTP\/1\.1 request needs a Host/,
    holds: (_head, lines) => values(lines, 'host').length === 0,
  },
  {
    name: 'F2 Host is a name or literal with a port',
    fault: /^Host is not a host name/,
    holds: (_head, lines) =>
      values(lines, 'host').some(
        (host) =>
          !/^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9.])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i.test(host) ||
          host.includes('..') ||
          port(host) > 65_535 ||
          port(host) === 0,
      ),
  },
  {
    name: 'F3 Host and URL agree',
    fault: /^Host and the target URL name different/,
    holds: (_head, lines) => {
      const authority = /^http:\/\/([^/?]*)/i.exec(target(lines))?.[1]?.toLowerCase();
      return authority !== undefined && authority !== values(lines, 'host')[0]?.toLowerCase();
    },
  },
  {
    name: 'G2 D13 protected names in Connection',
    fault: /^Connection may not name/,
    holds: (_head, lines) =>
      anyValue(
        lines,
        'connection',
        /(?:^|[,\s])(?:host|content-\w+|transfer-encoding|authorization|cookie|set-cookie|traceparent|tracestate|idempotency-key|via)(?:$|[,\s])/i,
      ),
  },
  {
    name: 'G5 at most 32 options in Connection',
    fault: /^Connection lists more than 32/,
    holds: (_head, lines) => values(lines, 'connection').join().split(',').length > 32,
  },
  {
    name: 'H1 CONNECT is answered 405 and its tunnel never opened',
    fault: /./,
    holds: (head) => /^(?:\r\n)?CONNECT /.test(head),
  },
  {
    name: 'H3 Max-Forwards is a number',
    fault: /^Max-Forwards is not/,
    holds: (_head, lines) => anyValue(lines, 'max-forwards', /^(?!\d{1,9}$)/),
  },
  {
    name: 'H7 no expectation but 100-continue',
    fault: /^the only expectation/,
    holds: (_head, lines) =>
      values(lines, 'expect').join().toLowerCase() !== '100-continue' && values(lines, 'expect').length > 0,
  },
];

/**
 * Name of the class that explains a refusal, or null.
 *
 * @param fault  our reason
 * @param text   the input from the start of the refused message
 */
export function explain(fault: string, text: string): string | null {
  // One empty line before the message is none of its lines; what else stands there is for the rules that forbid it.
  const body = /^\r\n[^\r\n]/.test(text) && !text.startsWith('\r\nHTTP') ? text.slice(2) : text;
  const end = body.indexOf('\r\n\r\n', /^[\r\n]*/.exec(body)?.[0].length);
  const head = end < 0 ? body : body.slice(0, end);
  const lines = head.split('\r\n');
  const rest = end < 0 ? '' : body.slice(end + 4);
  const found = EXPLANATIONS.find((entry) => entry.fault.test(fault) && entry.holds(head, lines, rest));
  return found?.name ?? null;
}
