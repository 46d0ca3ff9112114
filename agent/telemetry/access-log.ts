// One line for each request that ended, as JSON. Owns which requests are written and what is kept out of a line; must not
// decide anything about the request.

import type { RequestResult } from '../core/reason.ts';
import type { Logger } from './log.ts';

/** One request, ended. Times in ms, sizes in bytes of body. */
export interface AccessRecord {
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  readonly method: string;
  /** Request target as it came; the query string is removed before writing. */
  readonly path: string;
  /** Status sent downstream; 0 when nothing was sent. */
  readonly status: number;
  readonly result: RequestResult;
  readonly durationMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Address of the endpoint that answered, or null. */
  readonly endpoint: string | null;
  readonly attempts: number;
  readonly requestId: string;
  readonly retryReason: string | null;
}

export type AccessLogMode = 'off' | 'failures' | 'all';

export interface AccessLog {
  /** Whether such a request is written at all: whoever makes records asks first. */
  wants(result: RequestResult, status: number): boolean;
  write(record: AccessRecord): void;
}

export interface AccessLogOptions {
  readonly mode: AccessLogMode;
  /** Query strings carry tokens and names: left out by default. When kept, values of telling names are masked. */
  readonly isQueryKept?: boolean;
}

/** Longest text value in a line, bytes of UTF-8, the mark of a cut included. */
export const MAX_VALUE_BYTES = 256;

const PLAIN = /^[\x20-\x7e]*$/;
/** Control and format characters (bidi marks among them) and the two separators that some readers take for line ends. */
const UNSAFE = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;
const SECRET_NAME = /token|secret|passw|pwd|key|auth|sig|session|code|credential|jwt/i;
const CUT = '…';

/** `failures` writes requests that did not end `ok` and answers of 500 and above. */
export function createAccessLog(log: Logger, mode: AccessLogMode | AccessLogOptions): AccessLog {
  const { mode: which, isQueryKept = false } = typeof mode === 'string' ? { mode } : mode;
  const child = log.child({ log: 'access' });
  const wants = (result: RequestResult, status: number): boolean =>
    which === 'all' || (which === 'failures' && (result !== 'ok' || status >= 500));
  return {
    wants,
    write(record) {
      if (!wants(record.result, record.status)) return;
      child.info(readableRecord(record, isQueryKept));
    },
  };
}

/** A record as it may be read: texts of outsiders made safe, secrets of the target left out. */
export type ShownRecord = AccessRecord;

export function readableRecord(record: AccessRecord, isQueryKept: boolean): ShownRecord {
  return {
    direction: record.direction,
    source: safeText(record.source),
    destination: safeText(record.destination),
    method: safeText(record.method),
    path: safeText(withoutSecrets(record.path, isQueryKept)),
    status: record.status,
    result: record.result,
    durationMs: Math.round(record.durationMs * 1000) / 1000,
    bytesIn: record.bytesIn,
    bytesOut: record.bytesOut,
    endpoint: record.endpoint === null ? null : safeText(record.endpoint),
    attempts: record.attempts,
    requestId: safeText(record.requestId),
    retryReason: record.retryReason === null ? null : safeText(record.retryReason),
  };
}

/** At most MAX_VALUE_BYTES, cut between characters; nothing that moves a cursor, ends a line or turns text around. */
export function safeText(text: string): string {
  if (text.length <= MAX_VALUE_BYTES && PLAIN.test(text)) return text;
  // Cut first, so that a long hostile value costs no more than a short one; escaping can only make it longer again.
  const shown = text
    .slice(0, MAX_VALUE_BYTES + 1)
    .toWellFormed()
    .replace(UNSAFE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
  return cut(shown);
}

function cut(text: string): string {
  if (Buffer.byteLength(text) <= MAX_VALUE_BYTES) return text;
  const bytes = Buffer.from(text);
  let end = MAX_VALUE_BYTES - Buffer.byteLength(CUT);
  // A continuation byte is 10xxxxxx: step back to the first byte of the character that would be split.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end) + CUT;
}

/** Without user information of an absolute target, fragment, and query (or with the query's secrets masked). */
function withoutSecrets(target: string, isQueryKept: boolean): string {
  const bare = target.startsWith('/') ? target : target.replace(/^([a-z][a-z0-9+.-]{0,20}:\/\/)[^/?#]*@/i, '$1');
  const end = bare.search(/[?#]/);
  if (end === -1) return bare;
  const path = bare.slice(0, end);
  if (!isQueryKept || bare[end] !== '?') return path;
  const query = bare.slice(end + 1, end + 1 + MAX_VALUE_BYTES).split('#', 1)[0] ?? '';
  const pairs = query.split('&').map((pair) => {
    const equals = pair.indexOf('=');
    return equals !== -1 && SECRET_NAME.test(decoded(pair.slice(0, equals)))
      ? `${pair.slice(0, equals)}=[redacted]`
      : pair;
  });
  return `${path}?${pairs.join('&')}`;
}

/** Names may be percent-encoded to slip past the list; what cannot be decoded is judged as it is. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
