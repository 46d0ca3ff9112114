// Inputs that the fuzzer found, kept for ever. `finding` says what was seen; all of them must be explained now.

import type { Failure } from './fuzz.ts';

export interface Regression extends Omit<Failure, 'problem'> {
  readonly finding: string;
}

const whole = { cuts: [], isHead: false } as const;

export const REGRESSIONS: readonly Regression[] = [
  {
    ...whole,
    kind: 'request',
    finding: 'a TAB behind chunked: refused by llhttp in requests',
    input: 'GET /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t \r\n\r\n0;a=b\r\nX: y\r\n\r\n',
  },
  {
    ...whole,
    kind: 'response',
    finding: 'a TAB behind chunked: read to the end by llhttp in responses',
    input: 'HTTP/1.1 200 d\xe9\r\nTrailer: X\r\nTransfer-Encoding: chunked\t\r\nX: 5 \r\n\r\n0;a\r\n\r',
  },
  {
    ...whole,
    kind: 'response',
    finding: 'the same with a whole body, which llhttp then takes for data',
    input: 'HTTP/1.1 500 \r\nTransfer-Encoding: CHUNKED\t\r\n\r\n0\r\nContent-Length: 5\r\n\r\n',
  },
  {
    ...whole,
    kind: 'request',
    finding: 'a trailer named Content-Length: refused by llhttp, dropped here',
    input:
      'DELETE /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked \r\n\r\n3\r\nhel\r\n0\r\nContent-Length: 5\r\n\r\n',
  },
  {
    ...whole,
    kind: 'request',
    finding: 'the same behind an upgrade, where llhttp stops without an error',
    input:
      'PATCH /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: CHUNKED\r\n\r\n0;a=b\r\nContent-Length: 5\r\n\r\n',
  },
  {
    ...whole,
    kind: 'response',
    finding: '204 with both framing fields: refused by llhttp, unread here',
    input: 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\nX: y\r\n\r\n',
  },
  {
    ...whole,
    kind: 'response',
    finding: '204 of HTTP/1.0 with an empty coding',
    input: 'HTTP/1.0 204 No Content\r\nConnection: Host\r\nTransfer-Encoding: \r\n\r\n7\r\nhello w\r\n0\r\n\r\n',
  },
  {
    ...whole,
    kind: 'response',
    finding: '101 that upgrades nothing: llhttp cannot be ended behind it',
    input: 'HTTP/1.1 101 Switching\r\nTrailer: X\r\nTransfer-Encoding: Chunked\r\n\r\n8\r\nhello wo\r\n0\r\n\r\n',
  },
  {
    ...whole,
    kind: 'request',
    finding: 'no version: HTTP/0.9 to llhttp',
    input: 'PURGE /:HTTP/2.0\r\nHost: b.mesh\r\nUpgrade: h2c\r\n\r\n',
  },
  {
    ...whole,
    kind: 'request',
    finding: 'no version and a bare LF: accepted by llhttp',
    input: 'PUT /a/b/\nHost: a\r\nExpect: y\r\nUpgrade: h2c\r\n\r\n',
  },
  {
    ...whole,
    kind: 'request',
    finding: 'two empty lines before a request: skipped by llhttp',
    input: '\r\n\r\nHEAD /a?b=c HTTP/1.0\r\nHost: A.SVC.:80\r\nX-A:b\r\n\r\n',
  },
];
