// How long is the body: the decision that request smuggling attacks. RFC 9112 6.3, with every doubt refused.

import { isToken } from './char-tables.ts';
import { type Fault, fault, splitList } from './fields.ts';

/** Body length as one number: a count of bytes, or one of the three below. */
export type Framing = number;
export const BODY_NONE = -2;
export const BODY_CHUNKED = -1;
/** Responses only: the body ends with the connection. */
export const BODY_UNTIL_CLOSE = -3;

/** Longer than any number with fewer digits than this can need; stops a value of kilobytes of zeros. */
const MAX_LENGTH_DIGITS = 32;

/**
 * Reads one Content-Length value: decimal digits and nothing else.
 *
 * @returns bytes, or -1 for anything that is not a whole number up to 2^53 - 1
 */
export function parseContentLength(value: string): number {
  if (value.length === 0 || value.length > MAX_LENGTH_DIGITS) return -1;
  let length = 0;
  for (let index = 0; index < value.length; index += 1) {
    const digit = value.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
    if (length > Number.MAX_SAFE_INTEGER) return -1;
  }
  return length;
}

/** Reads one Transfer-Encoding value: null when it is exactly `chunked`, else why not. */
export function checkTransferEncoding(value: string): Fault | null {
  if (value === 'chunked') return null;
  const codings = splitList(value.toLowerCase());
  for (const coding of codings) if (!isToken(coding)) return fault('Transfer-Encoding is not a list of coding names');
  const chunkedAt = codings.indexOf('chunked');
  if (chunkedAt >= 0 && chunkedAt !== codings.length - 1)
    return fault('chunked is not the last and only chunked coding');
  if (codings.length > 1 || chunkedAt < 0) return fault('only the chunked transfer coding is known', 'not_implemented');
  return null;
}

/**
 * Decides the framing of a request.
 *
 * @param contentLength     its value, null when absent
 * @param transferEncoding  its value, null when absent
 * @param minor             HTTP/1.minor
 */
export function requestFraming(
  contentLength: string | null,
  transferEncoding: string | null,
  minor: number,
): Framing | Fault {
  if (transferEncoding !== null) {
    if (contentLength !== null) return fault('both Content-Length and Transfer-Encoding');
    if (minor === 0) return fault('Transfer-Encoding in an HTTP/1.0 message');
    return checkTransferEncoding(transferEncoding) ?? BODY_CHUNKED;
  }
  if (contentLength === null) return BODY_NONE;
  const length = parseContentLength(contentLength);
  return length < 0 ? fault('Content-Length is not a whole number') : length;
}

/** True when a response with this status has no body whatever its fields say. */
export function isBodiless(status: number): boolean {
  return status < 200 || status === 204 || status === 304;
}

/**
 * Decides the framing of a response. Fields that contradict each other are a fault even where the body is empty by rule.
 *
 * @param isHead  it answers a HEAD request
 */
export function responseFraming(
  status: number,
  isHead: boolean,
  contentLength: string | null,
  transferEncoding: string | null,
  minor: number,
): Framing | Fault {
  // RFC 9112 6.1 forbids both fields on 1xx and 204; what they say there cannot frame anything, so it is not read.
  if (status < 200 || status === 204) return BODY_NONE;
  const framing = requestFraming(contentLength, transferEncoding, minor);
  if (typeof framing !== 'number') return framing;
  if (isHead || isBodiless(status)) return BODY_NONE;
  return framing === BODY_NONE ? BODY_UNTIL_CLOSE : framing;
}
