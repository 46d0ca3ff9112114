// Judges one request the way a connection would read it, in whatever pieces it comes.

import type { Test } from 'tap';
import { BodyReader, joinRanges } from '../../agent/proxy/http1/body-reader.ts';
import { REQUEST_LIMITS } from '../../agent/proxy/http1/fields.ts';
import { parseRequestHead, type RequestHead } from '../../agent/proxy/http1/request-head.ts';
import { seededRandom } from './seeded-random.ts';

export type Verdict =
  | { kind: 'message'; head: RequestHead; body: string; rest: string }
  | { kind: 'refused'; reason: string }
  | { kind: 'incomplete' };

/** Feeds pieces the way a connection does: the head is parsed again from its start, the body is read once. */
export function judge(pieces: readonly Buffer[]): Verdict {
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
      reader.reset(head.framing, true);
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

/** The verdict of the whole input, after checking that every way to cut it gives the same one. */
export function judgeEveryWay(t: Test, input: string): Verdict {
  const random = seededRandom(input.length);
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

export const HOST = 'Host: a\r\n';
export const get = (fields: string, line = 'GET / HTTP/1.1'): string => `${line}\r\n${HOST}${fields}\r\n`;
export const post = (fields: string, body = ''): string => `POST / HTTP/1.1\r\n${HOST}${fields}\r\n${body}`;
export const chunked = (body: string): string => post('Transfer-Encoding: chunked\r\n', body);
