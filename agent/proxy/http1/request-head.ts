// Bytes → request head. Strict, in one pass, stateless: called again with more bytes after INCOMPLETE, so a message split at
// every byte is judged exactly like a whole one. Sets aside the fields that steer this hop; the rest travels on.

import { normalizeAuthority } from './authority.ts';
import { TARGET, TOKEN } from './char-tables.ts';
import { FieldNames, LOOK_ALIKE, ORDINARY } from './field-names.ts';
import {
  type Fault,
  fault,
  type HeadLimits,
  hasHighByte,
  INCOMPLETE,
  SCAN_FAULTS,
  scanFields,
  splitList,
} from './fields.ts';
import { type Framing, requestFraming } from './framing.ts';
import { parseTarget, type RequestTarget } from './request-target.ts';

export interface RequestHead {
  readonly kind: 'head';
  /** Case kept: methods are case-sensitive. */
  readonly method: string;
  readonly target: string;
  readonly path: string;
  readonly minor: 0 | 1;
  /** Normal form; `''` when an HTTP/1.0 request has none. */
  readonly host: string;
  /** End-to-end fields, flat: name in lower case, value, name, value. Never a hop-by-hop or framing field. */
  readonly fields: readonly string[];
  readonly framing: Framing;
  /** What the client wants; the agent may still close. */
  readonly isKeepAlive: boolean;
  readonly expectsContinue: boolean;
  /** Protocol of a well-formed upgrade request (one protocol, never h2c), lower case, else null. */
  readonly upgrade: string | null;
  /** `TE` asked for trailers and nothing else was understood. */
  readonly wantsTrailers: boolean;
  /** Field names that Connection declared to be for this hop, or null. */
  readonly connectionNamed: readonly string[] | null;
  /** `Max-Forwards` of OPTIONS, else -1. */
  readonly maxForwards: number;
  /** Agents of this project that have forwarded the request already, by `Via`. */
  readonly hops: number;
  /** Offset behind the head. */
  readonly next: number;
}

const MAX_METHOD_BYTES = 32;
const MAX_CONNECTION_OPTIONS = 32;

/** Steering fields of a request and the slot that keeps their value. */
const SLOTS: ReadonlyMap<string, number> = new Map([
  ['host', 0],
  ['content-length', 1],
  ['transfer-encoding', 2],
  ['connection', 3],
  ['expect', 4],
  ['upgrade', 5],
  ['te', 6],
  ['max-forwards', 7],
  ['keep-alive', 8],
  ['proxy-connection', 8],
  ['proxy-authorization', 8],
  ['trailer', 8],
  ['http2-settings', 8],
  // A CGI program would take `Proxy: x` for its HTTP_PROXY setting (CVE-2016-5385).
  ['proxy', 8],
  // End-to-end, but only once: two values would let two readers choose differently.
  ['content-type', 9],
  ['authorization', 10],
  ['idempotency-key', 11],
]);
const DROPPED = 8;

/** A sender that could declare these to be hop-by-hop could take them away from the next reader. */
const PROTECTED: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'content-type',
  'content-encoding',
  'authorization',
  'cookie',
  'set-cookie',
  'traceparent',
  'tracestate',
  'idempotency-key',
  'via',
]);

/** For whoever reads many requests. */
export function requestNames(): FieldNames {
  return new FieldNames(SLOTS);
}

/**
 * Parses the head that starts at `start`; null while bytes are missing.
 *
 * @param names  from requestNames, kept by the caller from head to head
 */
export function parseRequestHead(
  bytes: Buffer,
  start: number,
  end: number,
  limits: HeadLimits,
  names: FieldNames = requestNames(),
): RequestHead | Fault | null {
  const from = skipLeadingLine(bytes, start, end);
  if (from < 0) return null;
  const methodEnd = scanMethod(bytes, from, end);
  if (methodEnd < 0)
    return methodEnd === INCOMPLETE ? null : fault('the method is not a token of at most 32 characters');
  const targetEnd = scanTarget(bytes, methodEnd + 1, end, limits);
  if (targetEnd === INCOMPLETE) return null;
  if (targetEnd === -2) return fault('the request target is longer than the limit', 'uri_too_long');
  if (targetEnd < 0) return fault('the request target holds a byte that is not allowed');
  const method = bytes.toString('latin1', from, methodEnd);
  const target = parseTarget(method, bytes.toString('latin1', methodEnd + 1, targetEnd));
  if (target.kind === 'fault') return target;
  const minor = scanVersion(bytes, targetEnd + 1, end);
  if (minor === INCOMPLETE) return null;
  if (minor === -2) return fault('the request line does not end in HTTP/1.1 and CRLF');
  if (minor === -3) return fault('only HTTP/1.0 and HTTP/1.1 are spoken here', 'version_not_supported');
  const marks: number[] = [];
  const next = scanFields(bytes, targetEnd + 11, end, from, limits, marks);
  if (next === INCOMPLETE) return null;
  if (next < 0) return SCAN_FAULTS[-next] ?? fault('the head cannot be read');
  return assemble(bytes.toString('latin1', from, next), from, marks, method, target, minor === 0 ? 0 : 1, next, names);
}

/** One empty line before a request is ignored (RFC 9112 2.2); a second one is not a method and fails there. */
function skipLeadingLine(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end) return INCOMPLETE;
  if (bytes[start] !== 0x0d) return start;
  if (start + 1 >= end) return INCOMPLETE;
  if (bytes[start + 1] !== 0x0a) return start;
  return start + 2 >= end ? INCOMPLETE : start + 2;
}

function scanMethod(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && TOKEN[bytes[at] as number] === 1) at += 1;
  if (at - from > MAX_METHOD_BYTES) return -2;
  if (at >= end) return INCOMPLETE;
  return at === from || bytes[at] !== 0x20 ? -2 : at;
}

function scanTarget(bytes: Uint8Array, from: number, end: number, limits: HeadLimits): number {
  let at = from;
  while (at < end && TARGET[bytes[at] as number] === 1) at += 1;
  if (at - from > limits.targetBytes) return -2;
  if (at >= end) return INCOMPLETE;
  return at === from || bytes[at] !== 0x20 ? -3 : at;
}

const VERSION = [0x48, 0x54, 0x54, 0x50, 0x2f, 0, 0x2e, 0, 0x0d, 0x0a];

/** `HTTP/d.d CRLF`: the minor version for 1.0 and 1.1, -2 for another shape, -3 for another version. */
function scanVersion(bytes: Uint8Array, from: number, end: number): number {
  for (let index = 0; index < VERSION.length; index += 1) {
    if (from + index >= end) return INCOMPLETE;
    const byte = bytes[from + index] as number;
    const wanted = VERSION[index] as number;
    if (wanted === 0 ? byte < 0x30 || byte > 0x39 : byte !== wanted) return -2;
  }
  const minor = (bytes[from + 7] as number) - 0x30;
  return bytes[from + 5] === 0x31 && minor <= 1 ? minor : -3;
}

/** Sorts the fields into those that steer this hop and those that travel on, then decides what the steering ones mean. */
function assemble(
  text: string,
  base: number,
  marks: readonly number[],
  method: string,
  target: RequestTarget,
  minor: 0 | 1,
  next: number,
  names: FieldNames,
): RequestHead | Fault {
  const slots: (string | null)[] = [null, null, null, null, null, null, null, null, null, null, null, null];
  const fields: string[] = [];
  let hops = 0;
  for (let index = 0; index < marks.length; index += 4) {
    names.read(text, (marks[index] as number) - base, (marks[index + 1] as number) - base, index >> 2);
    const { name, slot } = names;
    const value = text.slice((marks[index + 2] as number) - base, (marks[index + 3] as number) - base);
    if (slot === LOOK_ALIKE) return fault(`${name} is too much like a field that steers`);
    if (slot === ORDINARY) {
      if (name === 'via') hops += countHops(value);
      fields.push(name, value);
    } else if (slot === 3 || slot === 4 || slot === 5 || slot === 6) {
      if (hasHighByte(value)) return fault(`${name} holds a byte outside ASCII`);
      const before: string | null = slots[slot] ?? null;
      slots[slot] = before === null ? value : `${before},${value}`;
    } else if (slot !== DROPPED) {
      if (slots[slot] !== null) return fault(`${name} appears twice`);
      slots[slot] = value;
      if (slot > DROPPED) fields.push(name, value);
    }
  }
  return decide(slots, fields, method, target, minor, next, hops, names);
}

function decide(
  slots: readonly (string | null)[],
  fields: string[],
  method: string,
  target: RequestTarget,
  minor: 0 | 1,
  next: number,
  hops: number,
  names: FieldNames,
): RequestHead | Fault {
  const framing = requestFraming(slots[1] ?? null, slots[2] ?? null, minor);
  if (typeof framing !== 'number') return framing;
  const host = decideHost(slots[0] ?? null, target.authority, minor, names);
  if (typeof host !== 'string') return host;
  const connection = readConnection(slots[3] ?? null);
  if (connection.kind === 'fault') return connection;
  const maxForwards = method === 'OPTIONS' ? readMaxForwards(slots[7] ?? null) : -1;
  if (maxForwards === -2) return fault('Max-Forwards is not a whole number');
  if (method !== 'OPTIONS' && slots[7] != null) fields.push('max-forwards', slots[7]);
  const expect = minor === 1 ? (slots[4] ?? null) : null;
  if (expect !== null && expect.toLowerCase() !== '100-continue') {
    return fault('the only expectation that can be met is 100-continue', 'expectation_failed');
  }
  return {
    kind: 'head',
    method,
    target: target.target,
    path: target.path,
    minor,
    host,
    fields,
    framing,
    isKeepAlive: connection.hasClose ? false : minor === 1 || connection.hasKeepAlive,
    expectsContinue: expect !== null && framing !== -2 && framing !== 0,
    upgrade: connection.hasUpgrade && minor === 1 ? readUpgrade(slots[5] ?? null) : null,
    wantsTrailers: slots[6] != null && splitList(slots[6]).includes('trailers'),
    connectionNamed: connection.named,
    maxForwards,
    hops,
    next,
  };
}

function decideHost(value: string | null, authority: string | null, minor: number, names: FieldNames): string | Fault {
  if (value === null && minor === 1) return fault('an HTTP/1.1 request needs a Host field');
  const host = value === null ? '' : names.authorityOf(value);
  if (host === null) return fault('Host is not a host name with an optional port');
  if (authority === null) return host;
  const wanted = normalizeAuthority(authority);
  if (wanted === null) return fault('the target does not name a host with an optional port');
  return value !== null && wanted !== host ? fault('Host and the target URL name different hosts') : wanted;
}

interface ConnectionOptions {
  readonly kind: 'options';
  readonly hasClose: boolean;
  readonly hasKeepAlive: boolean;
  readonly hasUpgrade: boolean;
  readonly named: readonly string[] | null;
}

const PLAIN: ConnectionOptions = {
  kind: 'options',
  hasClose: false,
  hasKeepAlive: false,
  hasUpgrade: false,
  named: null,
};
const KEEP_ALIVE: ConnectionOptions = { ...PLAIN, hasKeepAlive: true };
const CLOSE: ConnectionOptions = { ...PLAIN, hasClose: true };

/** Reads Connection. Shared with responses, which only differ in that a protected name is ignored rather than refused. */
export function readConnection(value: string | null): ConnectionOptions | Fault {
  if (value === null) return PLAIN;
  if (value === 'keep-alive') return KEEP_ALIVE;
  if (value === 'close') return CLOSE;
  const options = splitList(value.toLowerCase()).filter((option) => option !== '');
  if (options.length > MAX_CONNECTION_OPTIONS) return fault('Connection lists more than 32 options');
  const named: string[] = [];
  for (const option of options) {
    if (PROTECTED.has(option)) return fault(`Connection may not name ${option}`);
    if (option !== 'close' && option !== 'keep-alive' && option !== 'upgrade') named.push(option);
  }
  return {
    kind: 'options',
    hasClose: options.includes('close'),
    hasKeepAlive: options.includes('keep-alive'),
    hasUpgrade: options.includes('upgrade'),
    named: named.length === 0 ? null : named,
  };
}

function readUpgrade(value: string | null): string | null {
  const protocol = value?.toLowerCase() ?? '';
  return /^[a-z0-9.+-]+(\/[a-z0-9.]+)?$/.test(protocol) && protocol !== 'h2c' ? protocol : null;
}

function readMaxForwards(value: string | null): number {
  if (value === null) return -1;
  return /^[0-9]{1,9}$/.test(value) ? Number(value) : -2;
}

/** Entries of this project's agents in one Via value: `1.1 outrigger`. */
function countHops(value: string): number {
  let count = 0;
  for (const entry of splitList(value)) if (entry.endsWith(' outrigger')) count += 1;
  return count;
}
