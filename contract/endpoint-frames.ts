// What the control plane tells agents about who serves a service, when it watches Consul for them: event `endpoints` on the
// policy stream. Written by the one side and read by the other, both here. Pure.

import { type DecodedHealth, DROP_REASONS, type DropReason, type LeftOut, MAX_LEFT_OUT } from './consul/health.ts';
import type { Endpoint } from './endpoint.ts';
import { isServiceName } from './names.ts';
import type { Problem, ProblemCode } from './problem.ts';

/** One answer of Consul about one service, as its reader understood it. */
export interface HealthFacts {
  readonly health: DecodedHealth;
  /** X-Consul-Results-Filtered-By-ACLs. */
  readonly isFiltered: boolean;
  /** The server that answered knows no leader, or heard of it long ago. */
  readonly isUncertain: boolean;
}

/** `POST /v1/agents/:id/watches`: all the services whose endpoints this process of the agent wants on its stream. */
export interface WatchList {
  /** Names the agent's process, as on the stream. */
  readonly life: string;
  readonly services: readonly string[];
}

/** Services that one agent may want: declared ones and those that it came upon. */
export const MAX_WATCHED = 1_100;

/** State of one service: what is not said any more is not so any more. Needs no answer. */
export interface EndpointsPush {
  readonly service: string;
  readonly told: /** ServiceIntentions deny the service to this agent: it is not told who serves it. */
    | { readonly kind: 'denied' }
    /** The control plane cannot vouch for what it said before; why, in a sentence without its full stop. */
    | { readonly kind: 'stale'; readonly why: string }
    | {
        readonly kind: 'current';
        /** X-Consul-Index, decimal. */
        readonly index: string;
        /** Time since Consul said so, at the moment of sending, ms. */
        readonly ageMs: number;
        /** Time since that Consul came back or lost its state, ms; null: not within RECOVERY_TOLD_MS. */
        readonly recoveredMs: number | null;
        /** Null: the same as this stream said last. */
        readonly facts: HealthFacts | null;
      };
}

/** Longer than anything that an agent does for having heard of it. */
export const RECOVERY_TOLD_MS = 600_000;
/** More than any service has; a set beyond it is refused whole. */
export const MAX_ENDPOINTS = 10_000;
const MAX_TEXT = 512;
/** Tags of an endpoint, checks of one that is left out. */
const MAX_TEXTS = 512;
const MAX_META = 64;
const MAX_WEIGHT = 65_535;
const MAX_MS = 1e12;

/** What an endpoint is on the wire; what has its usual value is left out. The id follows from the others. */
interface WireEntry {
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly weight?: number;
  readonly tags?: readonly string[];
  readonly meta?: Readonly<Record<string, string>>;
}

/** The facts as JSON, to be made once for all who get them. */
export function factsJson(service: string, { health, isFiltered, isUncertain }: HealthFacts): string {
  const { endpoints, criticalCount, maintenanceCount, leftOut, isPanicSet, dropped } = health;
  return JSON.stringify({
    entries: endpoints.map((endpoint) => wireEntry(service, endpoint)),
    ...(criticalCount === 0 ? {} : { critical: criticalCount }),
    ...(maintenanceCount === 0 ? {} : { maintenance: maintenanceCount }),
    ...(leftOut.length === 0 ? {} : { leftOut }),
    ...(isPanicSet ? { isPanicSet } : {}),
    ...(isFiltered ? { isFiltered } : {}),
    ...(isUncertain ? { isUncertain } : {}),
    ...(Object.keys(dropped).length === 0 ? {} : { dropped }),
  });
}

/** One event's data. @param facts  what factsJson made, or null for "the same as last" */
export function endpointsJson(
  service: string,
  {
    index,
    ageMs,
    recoveredMs,
  }: { readonly index: string; readonly ageMs: number; readonly recoveredMs: number | null },
  facts: string | null,
): string {
  const head = { service, index, ageMs: Math.round(ageMs), ...(recoveredMs === null ? {} : { recoveredMs }) };
  return facts === null ? JSON.stringify(head) : `${JSON.stringify(head).slice(0, -1)},"facts":${facts}}`;
}

export function staleJson(service: string, why: string): string {
  return JSON.stringify({ service, stale: why.slice(0, MAX_TEXT) });
}

export function deniedJson(service: string): string {
  return JSON.stringify({ service, denied: true });
}

function wireEntry(service: string, { id, address, port, weight, tags, meta }: Endpoint): WireEntry {
  return {
    id: id.slice(service.length + 1, id.length - `@${address}:${port}`.length),
    address,
    port,
    ...(weight === 1 ? {} : { weight }),
    ...(tags.length === 0 ? {} : { tags }),
    ...(Object.keys(meta).length === 0 ? {} : { meta }),
  };
}

export type DecodedEndpoints =
  | { readonly ok: true; readonly push: EndpointsPush }
  /** `service` null: not even that can be read. */
  | { readonly ok: false; readonly service: string | null; readonly problem: Problem };

class Refusal extends Error {
  readonly problem: Problem;

  constructor(code: ProblemCode, path: string, message: string) {
    super(message);
    this.problem = { code, path, message };
  }
}

/** Reads one event. What is wrong anywhere refuses all of it: half a set would take endpoints away that are there. */
export function decodeEndpoints(data: string): DecodedEndpoints {
  let service: string | null = null;
  try {
    const frame = mapping(parse(data), '');
    const name = frame.service;
    if (typeof name !== 'string') throw new Refusal('OTR_TYPE', 'service', `must be a text, found ${typeof name}`);
    if (!isServiceName(name)) throw new Refusal('OTR_FORMAT', 'service', 'must be a service name');
    service = name;
    return { ok: true, push: { service, told: toldOf(service, frame) } };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, service, problem: error.problem };
    throw error;
  }
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw new Refusal('OTR_SYNTAX', '', 'must be JSON');
  }
}

function toldOf(service: string, frame: Readonly<Record<string, unknown>>): EndpointsPush['told'] {
  if (frame.denied === true) return { kind: 'denied' };
  if (frame.stale !== undefined) return { kind: 'stale', why: text(frame.stale, 'stale') };
  const index = text(frame.index, 'index');
  if (!/^\d{1,20}$/.test(index)) throw new Refusal('OTR_FORMAT', 'index', 'must be a decimal number of Consul');
  const recoveredMs = frame.recoveredMs === undefined ? null : number(frame.recoveredMs, 'recoveredMs', 0, MAX_MS);
  const facts = frame.facts === undefined ? null : factsOf(service, mapping(frame.facts, 'facts'));
  return { kind: 'current', index, ageMs: number(frame.ageMs, 'ageMs', 0, MAX_MS), recoveredMs, facts };
}

function factsOf(service: string, facts: Readonly<Record<string, unknown>>): HealthFacts {
  const { critical = 0, maintenance = 0 } = facts;
  const entries = list(facts.entries, 'facts.entries', MAX_ENDPOINTS);
  const endpoints = entries.map((entry, i) => endpointOf(service, mapping(entry, `facts.entries[${i}]`), i));
  const ids = new Set(endpoints.map(({ id }) => id));
  if (ids.size < endpoints.length) throw new Refusal('OTR_DUPLICATE', 'facts.entries', 'must not name one twice');
  return {
    health: {
      endpoints,
      criticalCount: whole(critical, 'facts.critical', 0, 1e6),
      maintenanceCount: whole(maintenance, 'facts.maintenance', 0, 1e6),
      leftOut: leftOutOf(facts.leftOut ?? [], 'facts.leftOut'),
      isPanicSet: flag(facts.isPanicSet, 'facts.isPanicSet'),
      dropped: droppedOf(facts.dropped),
    },
    isFiltered: flag(facts.isFiltered, 'facts.isFiltered'),
    isUncertain: flag(facts.isUncertain, 'facts.isUncertain'),
  };
}

function endpointOf(service: string, entry: Readonly<Record<string, unknown>>, i: number): Endpoint {
  const at = (key: string): string => `facts.entries[${i}].${key}`;
  const id = text(entry.id, at('id'));
  const address = text(entry.address, at('address'));
  if (/[\s/]/.test(address)) throw new Refusal('OTR_FORMAT', at('address'), 'must be an address');
  const port = whole(entry.port, at('port'), 1, 65_535);
  const weight = entry.weight === undefined ? 1 : whole(entry.weight, at('weight'), 1, MAX_WEIGHT);
  const tags = texts(entry.tags ?? [], at('tags'));
  const meta = metaOf(entry.meta ?? {}, at('meta'));
  const zone = meta.zone === undefined || meta.zone === '' ? null : meta.zone;
  return { id: `${service}@${id}@${address}:${port}`, address, port, weight, zone, tags, meta };
}

function leftOutOf(value: unknown, path: string): LeftOut[] {
  return list(value, path, MAX_LEFT_OUT).map((item, i) => {
    const at = `${path}[${i}]`;
    const { address, port, reason, checks } = mapping(item, at);
    if (reason !== 'critical' && reason !== 'maintenance') {
      throw new Refusal('OTR_ENUM', `${at}.reason`, 'must be critical or maintenance');
    }
    return {
      address: text(address, `${at}.address`),
      port: whole(port, `${at}.port`, 1, 65_535),
      reason,
      checks: texts(checks, `${at}.checks`),
    };
  });
}

function texts(value: unknown, path: string): string[] {
  return list(value, path, MAX_TEXTS).map((item, i) => text(item, `${path}[${i}]`, 0));
}

function list(value: unknown, path: string, most: number): readonly unknown[] {
  if (!Array.isArray(value)) throw new Refusal('OTR_TYPE', path, 'must be a list');
  if (value.length <= most) return value;
  throw new Refusal('OTR_TOO_LARGE', path, `must have at most ${most} entries, found ${value.length}`);
}

function metaOf(value: unknown, path: string): Record<string, string> {
  const pairs = Object.entries(mapping(value, path));
  if (pairs.length > MAX_META) throw new Refusal('OTR_TOO_LARGE', path, `must have at most ${MAX_META} keys`);
  // Without a prototype: the keys are whatever anybody registered.
  const meta: Record<string, string> = Object.create(null);
  for (const [key, item] of pairs) meta[key] = text(item, `${path}.${key.slice(0, 64)}`, 0);
  return meta;
}

function droppedOf(value: unknown = {}): Partial<Record<DropReason, number>> {
  const found = mapping(value, 'facts.dropped');
  const dropped: Partial<Record<DropReason, number>> = {};
  for (const reason of DROP_REASONS) {
    if (Object.hasOwn(found, reason)) dropped[reason] = whole(found[reason], `facts.dropped.${reason}`, 0, 1e6);
  }
  return dropped;
}

function mapping(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Refusal('OTR_TYPE', path, `must be a mapping, found ${Array.isArray(value) ? 'a list' : typeof value}`);
}

function text(value: unknown, path: string, least = 1): string {
  if (typeof value !== 'string') throw new Refusal('OTR_TYPE', path, `must be a text, found ${typeof value}`);
  if (value.length >= least && value.length <= MAX_TEXT) return value;
  throw new Refusal('OTR_RANGE', path, `must have ${least} to ${MAX_TEXT} characters, found ${value.length}`);
}

function number(value: unknown, path: string, low: number, high: number): number {
  if (typeof value !== 'number') throw new Refusal('OTR_TYPE', path, `must be a number, found ${typeof value}`);
  if (value >= low && value <= high) return value;
  throw new Refusal('OTR_RANGE', path, `must be ${low} to ${high}, found ${value}`);
}

function whole(value: unknown, path: string, low: number, high: number): number {
  const found = number(value, path, low, high);
  if (Number.isInteger(found)) return found;
  throw new Refusal('OTR_TYPE', path, `must be a whole number, found ${found}`);
}

function flag(value: unknown, path: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value === true;
  throw new Refusal('OTR_TYPE', path, `must be true or false, found ${typeof value}`);
}
