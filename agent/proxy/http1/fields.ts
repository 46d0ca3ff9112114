// Field lines of a head, as both parsers read them: strict RFC 9112 5, CRLF only, no folding. Finds where names and values
// lie; what they mean is decided elsewhere.

import type { Reason } from '../../core/reason.ts';
import { FIELD_VALUE, TOKEN } from './char-tables.ts';

/** Bounds of one head. */
export interface HeadLimits {
  /** All bytes of the head, start line and last CRLF included. */
  readonly headBytes: number;
  readonly fieldCount: number;
  readonly valueBytes: number;
  readonly targetBytes: number;
}

export const REQUEST_LIMITS: HeadLimits = { headBytes: 16_384, fieldCount: 100, valueBytes: 8192, targetBytes: 8192 };
/** Upstreams are trusted with longer heads: cookies and security policies are long. */
export const RESPONSE_LIMITS: HeadLimits = { headBytes: 65_536, fieldCount: 200, valueBytes: 65_536, targetBytes: 0 };

/** A message that is refused. `message` is one sentence fragment for the answer's body and the log. */
export interface Fault {
  readonly kind: 'fault';
  readonly reason: Reason;
  readonly message: string;
}

export function fault(message: string, reason: Reason = 'bad_request'): Fault {
  return { kind: 'fault', reason, message };
}

/** Returned instead of an offset by the scanners of this folder: more bytes are needed. */
export const INCOMPLETE = -1;

/** What a negative offset below INCOMPLETE means, by its negation. */
export const SCAN_FAULTS: Readonly<Record<number, Fault>> = {
  2: fault('a field name holds a byte that is not allowed, or no colon follows it'),
  3: fault('a field value holds a control byte'),
  4: fault('a line does not end in CRLF'),
  5: fault('a field line starts with white space: folding is not allowed'),
  6: fault('too many fields', 'head_too_large'),
  7: fault('a field value is too long', 'head_too_large'),
  8: fault('the head is too large', 'head_too_large'),
};

const CR = 0x0d;
const LF = 0x0a;

/**
 * Scans field lines up to and including the empty line that ends the head.
 *
 * @param from       offset of the first field line
 * @param headStart  offset where the head began; `limits.headBytes` counts from here
 * @param marks      receives four offsets a field: name start, name end, value start, value end (value trimmed of SP, HTAB)
 * @returns          offset behind the head, INCOMPLETE, or the negation of a key of SCAN_FAULTS
 */
export function scanFields(
  bytes: Uint8Array,
  from: number,
  end: number,
  headStart: number,
  limits: HeadLimits,
  marks: number[],
): number {
  const stop = Math.min(end, headStart + limits.headBytes);
  let at = from;
  for (;;) {
    if (at >= stop) return stop < end || at - headStart >= limits.headBytes ? -8 : INCOMPLETE;
    const first = bytes[at] as number; // at < end, here and below
    if (first === CR) {
      if (at + 1 >= stop) return stop < end ? -8 : INCOMPLETE;
      return bytes[at + 1] === LF ? at + 2 : -4;
    }
    if (first === 0x20 || first === 0x09) return -5;
    if (marks.length >= limits.fieldCount * 4) return -6;
    const nameStart = at;
    while (at < stop && TOKEN[bytes[at] as number] === 1) at += 1;
    if (at >= stop) continue;
    if (bytes[at] !== 0x3a || at === nameStart) return -2;
    const nameEnd = at;
    at += 1;
    while (at < stop && (bytes[at] === 0x20 || bytes[at] === 0x09)) at += 1;
    const valueStart = at;
    while (at < stop && FIELD_VALUE[bytes[at] as number] === 1) at += 1;
    if (at - valueStart > limits.valueBytes) return -7;
    if (at >= stop) continue;
    if (bytes[at] !== CR) return bytes[at] === LF ? -4 : -3;
    let valueEnd = at;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === 0x20 || bytes[valueEnd - 1] === 0x09)) valueEnd -= 1;
    at += 1;
    if (at >= stop) continue;
    if (bytes[at] !== LF) return -4;
    at += 1;
    marks.push(nameStart, nameEnd, valueStart, valueEnd);
  }
}

/** Splits a comma-separated list, trimming SP and HTAB only; empty members are kept. */
export function splitList(value: string): string[] {
  return value.split(',').map(trimBlank);
}

/** Trims SP and HTAB and nothing else: `String.trim` would also take a NBSP or a vertical tab away. */
export function trimBlank(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** True when `value` holds a byte above 0x7e: legal in a value, never in one that steers a message. */
export function hasHighByte(value: string): boolean {
  for (let index = 0; index < value.length; index += 1) if (value.charCodeAt(index) > 0x7e) return true;
  return false;
}
