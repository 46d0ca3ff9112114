// Bytes → response head, as strict as the request side: what is doubtful here would desynchronise every client that shares
// the connection behind it.

import { FieldNames, LOOK_ALIKE, ORDINARY } from './field-names.ts';
import { type Fault, fault, type HeadLimits, INCOMPLETE, SCAN_FAULTS, scanFields, splitList } from './fields.ts';
import { type Framing, responseFraming } from './framing.ts';
import { readConnection } from './request-head.ts';

export interface ResponseHead {
  readonly kind: 'head';
  readonly status: number;
  /** Reason phrase as sent when it is plain ASCII, else `''`. */
  readonly phrase: string;
  readonly minor: 0 | 1;
  /** End-to-end fields, flat, names in lower case. */
  readonly fields: readonly string[];
  readonly framing: Framing;
  /** Declared Content-Length; kept for HEAD and 304, whose body is empty; -1 when absent. */
  readonly contentLength: number;
  /** The upstream will take another request on this connection. */
  readonly isKeepAlive: boolean;
  /** `Keep-Alive: timeout`, ms; 0 when not said. */
  readonly keepAliveMs: number;
  readonly retryAfter: string | null;
  /** Protocol of a 101, lower case, else null. */
  readonly upgrade: string | null;
  readonly next: number;
}

const SLOTS: ReadonlyMap<string, number> = new Map([
  ['content-length', 0],
  ['transfer-encoding', 1],
  ['connection', 2],
  ['keep-alive', 3],
  ['upgrade', 4],
  ['trailer', 5],
  ['te', 5],
  ['proxy-connection', 5],
  ['proxy-authenticate', 5],
  ['proxy-authentication-info', 5],
  ['retry-after', 6],
]);
const DROPPED = 5;

/** For whoever reads many responses. */
export function responseNames(): FieldNames {
  return new FieldNames(SLOTS);
}

/**
 * Parses the head that starts at `start`; null while bytes are missing.
 *
 * @param isHead  the request was HEAD: fields describe a body that does not come
 * @param names   from responseNames, kept by the caller from head to head
 */
export function parseResponseHead(
  bytes: Buffer,
  start: number,
  end: number,
  isHead: boolean,
  limits: HeadLimits,
  names: FieldNames = responseNames(),
): ResponseHead | Fault | null {
  const lineEnd = scanStatusLine(bytes, start, end);
  if (lineEnd === INCOMPLETE) return null;
  if (lineEnd < 0) return fault('the status line is malformed', 'upstream_protocol_error');
  const marks: number[] = [];
  const next = scanFields(bytes, lineEnd, end, start, limits, marks);
  if (next === INCOMPLETE) return null;
  if (next < 0) return fault((SCAN_FAULTS[-next] as Fault).message, 'upstream_protocol_error');
  return assemble(bytes.toString('latin1', start, next), start, marks, lineEnd - start, isHead, next, names);
}

const PREFIX = [0x48, 0x54, 0x54, 0x50, 0x2f, 0x31, 0x2e];
const MAX_PHRASE_BYTES = 512;

/** `HTTP/1.x SP ddd [SP phrase] CRLF`; offset behind it, INCOMPLETE, or -2. */
function scanStatusLine(bytes: Uint8Array, start: number, end: number): number {
  for (let index = 0; index < 13; index += 1) {
    if (start + index >= end) return INCOMPLETE;
    if (!fitsStatusLine(bytes[start + index] as number, index)) return -2;
  }
  let at = start + 12;
  if (bytes[at] === 0x20) {
    at += 1;
    while (at < end && isPhraseByte(bytes[at] as number)) at += 1;
    if (at - start > MAX_PHRASE_BYTES) return -2;
    if (at >= end) return INCOMPLETE;
  }
  if (bytes[at] !== 0x0d) return -2;
  if (at + 1 >= end) return INCOMPLETE;
  return bytes[at + 1] === 0x0a ? at + 2 : -2;
}

function fitsStatusLine(byte: number, index: number): boolean {
  if (index < PREFIX.length) return byte === PREFIX[index];
  if (index === 7) return byte === 0x30 || byte === 0x31;
  if (index === 8) return byte === 0x20;
  if (index === 9) return byte >= 0x31 && byte <= 0x39;
  if (index < 12) return byte >= 0x30 && byte <= 0x39;
  return byte === 0x20 || byte === 0x0d;
}

function isPhraseByte(byte: number): boolean {
  return byte === 0x09 || (byte >= 0x20 && byte !== 0x7f);
}

function assemble(
  text: string,
  base: number,
  marks: readonly number[],
  lineLength: number,
  isHead: boolean,
  next: number,
  names: FieldNames,
): ResponseHead | Fault {
  const slots: (string | null)[] = [null, null, null, null, null, null, null];
  const fields: string[] = [];
  for (let index = 0; index < marks.length; index += 4) {
    names.read(text, (marks[index] as number) - base, (marks[index + 1] as number) - base, index >> 2);
    const { name, slot } = names;
    const value = text.slice((marks[index + 2] as number) - base, (marks[index + 3] as number) - base);
    if (slot === LOOK_ALIKE) {
      return fault(`${name} is too much like a field that steers`, 'upstream_protocol_error');
    }
    if (slot === ORDINARY || slot === 6) fields.push(name, value);
    if (slot === ORDINARY || slot === DROPPED) continue;
    const before: string | null = slots[slot] ?? null;
    if (before !== null && slot < 2) return fault(`${name} appears twice`, 'upstream_protocol_error');
    slots[slot] = before === null ? value : `${before},${value}`;
  }
  // The status line was checked: these are three digits.
  const status = 100 * text.charCodeAt(9) + 10 * text.charCodeAt(10) + text.charCodeAt(11) - 111 * 0x30;
  const minor = text.charCodeAt(7) === 0x30 ? 0 : 1;
  const framing = responseFraming(status, isHead, slots[0] ?? null, slots[1] ?? null, minor);
  if (typeof framing !== 'number') return fault(framing.message, 'upstream_protocol_error');
  // A protected name in a response's Connection is the upstream's own mistake: nothing is removed and the socket is not reused.
  const connection = readConnection(slots[2] ?? null);
  const options = connection.kind === 'fault' ? null : connection;
  return {
    kind: 'head',
    status,
    phrase: readPhrase(text, lineLength),
    minor,
    fields: options === null || options.named === null ? fields : withoutNamed(fields, options.named),
    framing,
    contentLength: slots[0] == null || status < 200 || status === 204 ? -1 : Number(slots[0]),
    isKeepAlive: options !== null && !options.hasClose && (minor === 1 || options.hasKeepAlive),
    keepAliveMs: slots[3] == null ? 0 : readKeepAlive(slots[3]),
    retryAfter: slots[6] ?? null,
    upgrade: status === 101 && options?.hasUpgrade === true ? (slots[4]?.toLowerCase() ?? null) : null,
    next,
  };
}

/** `HTTP/1.1 200 OK` and its end of line: nearly every answer has this phrase, and looking at it costs less than a pattern. */
const OK_LINE_LENGTH = 17;

function readPhrase(text: string, lineLength: number): string {
  if (lineLength === OK_LINE_LENGTH && text.startsWith('OK', 13)) return 'OK';
  const phrase = text.slice(13, lineLength - 2);
  return /^[\x20-\x7e]*$/.test(phrase) ? phrase : '';
}

function withoutNamed(fields: readonly string[], named: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] as string;
    if (!named.includes(name)) kept.push(name, fields[index + 1] as string);
  }
  return kept;
}

function readKeepAlive(value: string): number {
  for (const part of splitList(value)) {
    const match = /^timeout=([0-9]{1,6})$/i.exec(part);
    // A timeout of 0 means: not even one more request. 1 ms says the same to the pool, 0 would mean "not said".
    if (match !== null) return Math.max(1, Number(match[1]) * 1000);
  }
  return 0;
}
