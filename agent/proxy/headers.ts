// What the agent changes in fields: trust boundary, hop-by-hop rules, its own additions. Heads are written anew from parsed
// fields, never copied: client copies go first, the agent's own values come after.

import type { HeaderChanges } from '#contract/policy/route-rule.ts';
import type { TrafficClass } from '../core/limits/traffic-class.ts';
import { isFieldValue, isToken } from './http1/char-tables.ts';
import { BODY_CHUNKED, type Framing } from './http1/framing.ts';
import { isLookAlike } from './http1/look-alikes.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';

/** Forwarding stops after this many agents: the request goes in circles. */
export const MAX_HOPS = 8;

/** Names that a route may not set: they would contradict the framing or the routing that was decided. */
const UNTOUCHABLE: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'te',
]);

function isSettable(name: string): boolean {
  return isToken(name) && !UNTOUCHABLE.has(name) && !(name.includes('_') && isLookAlike(name));
}

/** True for fields that only this hop's agent may say: a client's copy is a forgery. */
function isAgentField(name: string): boolean {
  if (name === 'forwarded') return true;
  if (!name.startsWith('x-')) return false;
  return name === 'x-real-ip' || name.startsWith('x-forwarded-') || name.startsWith('x-outrigger-');
}

/** Value of the first field with this name, or null. Names are at even places: a value may spell a name. */
export function firstValue(fields: readonly string[], name: string): string | null {
  for (let index = 0; index < fields.length; index += 2) if (fields[index] === name) return fields[index + 1] as string;
  return null;
}

/**
 * What `x-outrigger-retry` says on an answer: `done`, whatever could be repeated was; `overloaded`, a repetition would add to
 * the load that this is about. Only the agents next to a failure repeat; those further out obey.
 */
export type RetryAdvice = 'done' | 'overloaded';

export interface RequestFacts {
  /** Path and query towards the upstream. */
  readonly target: string;
  /** Value of Host towards the upstream. */
  readonly host: string;
  readonly requestId: string;
  /** From forwardedLines: who asked, how, and for which host. */
  readonly forwarded: string;
  readonly changes: HeaderChanges | null;
  /** Framing towards the upstream, which may differ from the one that came. */
  readonly framing: Framing;
  /** ms that the sender of this head still waits; Infinity to say nothing. */
  readonly deadlineMs: number;
  readonly trafficClass: TrafficClass;
}

/** What the agent knows of the previous hop. The same for every request of a connection to one host, so it is made once. */
export function forwardedLines(clientAddress: string, host: string): string {
  return `x-forwarded-for: ${clientAddress}\r\nx-forwarded-proto: http\r\nx-forwarded-host: ${host}\r\n`;
}

/** The whole head of the request for the upstream. */
export function composeRequestHead(head: RequestHead, facts: RequestFacts): string {
  const fields = facts.changes === null ? head.fields : applyChanges(head.fields, facts.changes);
  let text = `${head.method} ${facts.target} HTTP/1.1\r\nhost: ${facts.host}\r\n`;
  let via = '';
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] as string;
    if (name === 'x-request-id' || isAgentField(name)) continue;
    if (head.connectionNamed?.includes(name) === true) continue;
    if (name === 'via') via += `${fields[index + 1]}, `;
    else text += `${name}: ${fields[index + 1]}\r\n`;
  }
  text += `x-request-id: ${facts.requestId}\r\n${facts.forwarded}via: ${via}1.${head.minor} outrigger\r\n`;
  if (facts.deadlineMs !== Number.POSITIVE_INFINITY)
    text += `x-outrigger-deadline: ${Math.floor(facts.deadlineMs)}\r\n`;
  if (facts.trafficClass !== 'normal') text += `x-outrigger-class: ${facts.trafficClass}\r\n`;
  if (head.maxForwards > 0) text += `max-forwards: ${head.maxForwards - 1}\r\n`;
  if (head.wantsTrailers) text += 'te: trailers\r\n';
  // A body that was given a length is here already: the agent has asked for it itself.
  if (head.expectsContinue && facts.framing === head.framing) text += 'expect: 100-continue\r\n';
  if (head.upgrade !== null) text += `connection: upgrade\r\nupgrade: ${head.upgrade}\r\n`;
  if (facts.framing === BODY_CHUNKED) return `${text}transfer-encoding: chunked\r\n\r\n`;
  return facts.framing >= 0 ? `${text}content-length: ${facts.framing}\r\n\r\n` : `${text}\r\n`;
}

export interface ResponseFacts {
  /** `Content-Length` to declare; -1 for none. */
  readonly contentLength: number;
  readonly isChunked: boolean;
  /** Value of Connection; `''` says nothing, which in HTTP/1.1 means that it stays open. */
  readonly connection: string;
  /** Reasons of the agent beside the upstream are passed on; those of an application are not believed. */
  readonly isAgentTrusted: boolean;
  readonly changes: HeaderChanges | null;
  /** `address:port` to tell, with the number of attempts; null to keep it to ourselves. */
  readonly endpoint: string | null;
  readonly attempts: number;
  /** Id of the decision record; `''` to keep it to ourselves. */
  readonly why: string;
  /** What the caller's agent shall know about retrying; `''` for nothing. */
  readonly retry: RetryAdvice | '';
  /** Utilisation of the application, 0 to 1 and above; -1 to say nothing. */
  readonly load: number;
  /** What was spoiled on purpose about this request; `''` for nothing. */
  readonly fault: FaultName | '';
}

/** What `x-outrigger-fault` says: an injected delay or answer, so that nobody hunts a fault that was ordered. */
export type FaultName = 'delay' | 'abort';

/** The whole head of a final response for the downstream. */
export function composeResponseHead(head: ResponseHead, facts: ResponseFacts): string {
  const fields = facts.changes === null ? head.fields : applyChanges(head.fields, facts.changes);
  let text = `HTTP/1.1 ${head.status} ${head.phrase}\r\n`;
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] as string;
    if (name.startsWith('x-outrigger-') && !(facts.isAgentTrusted && name === 'x-outrigger-reason')) continue;
    text += `${name}: ${fields[index + 1]}\r\n`;
  }
  if (facts.endpoint !== null) {
    text += `x-outrigger-endpoint: ${facts.endpoint}\r\nx-outrigger-attempts: ${facts.attempts}\r\n`;
  }
  if (facts.why !== '') text += `x-outrigger-why: ${facts.why}\r\n`;
  if (facts.retry !== '') text += `x-outrigger-retry: ${facts.retry}\r\n`;
  if (facts.load >= 0) text += `x-outrigger-load: ${facts.load.toFixed(2)}\r\n`;
  if (facts.fault !== '') text += `x-outrigger-fault: ${facts.fault}\r\n`;
  if (facts.isChunked) text += 'transfer-encoding: chunked\r\n';
  else if (facts.contentLength >= 0) text += `content-length: ${facts.contentLength}\r\n`;
  return facts.connection === '' ? `${text}\r\n` : `${text}connection: ${facts.connection}\r\n\r\n`;
}

/** Head of a 1xx; only 101 has hop-by-hop fields. */
export function composeInformationalHead(head: ResponseHead): string {
  let text = `HTTP/1.1 ${head.status} ${head.phrase}\r\n`;
  for (let index = 0; index < head.fields.length; index += 2) {
    text += `${head.fields[index]}: ${head.fields[index + 1]}\r\n`;
  }
  return head.upgrade === null ? `${text}\r\n` : `${text}connection: upgrade\r\nupgrade: ${head.upgrade}\r\n\r\n`;
}

/** Gateway API order: set, add, remove. */
export function applyChanges(fields: readonly string[], changes: HeaderChanges): string[] {
  const { set, add, remove } = changes;
  const result: string[] = [];
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] as string;
    if (!isListed(set, name) && !remove.includes(name)) result.push(name, fields[index + 1] as string);
  }
  append(result, set, remove);
  append(result, add, remove);
  return result;
}

/** Lists of a policy are short: looking through them costs less than a table made for each request. */
function isListed(additions: HeaderChanges['set'], wanted: string): boolean {
  for (const { name } of additions) if (name === wanted) return true;
  return false;
}

function append(result: string[], additions: HeaderChanges['set'], remove: readonly string[]): void {
  if (additions.length === 0) return;
  for (const { name, value } of harmlessOf(additions)) if (!remove.includes(name)) result.push(name, value);
}

/** By the list of a policy, which never changes: so each character is looked at once and not for every request. */
const HARMLESS = new WeakMap<HeaderChanges['set'], HeaderChanges['set']>();

/** Checked when the policy was read, and again where it would do harm (undici CVE-2022-31150). */
function harmlessOf(additions: HeaderChanges['set']): HeaderChanges['set'] {
  const known = HARMLESS.get(additions);
  if (known !== undefined) return known;
  const harmless = additions.filter(({ name, value }) => isSettable(name) && isFieldValue(value));
  HARMLESS.set(additions, harmless);
  return harmless;
}
