// What a control plane tells the others about its part of the fleet, and what they make of it. Pure. A note is a summary, not reports: it
// has one row an agent and one a service, whatever the number of endpoints times callers, and grows old as a whole.

import { sketchFault } from '#contract/latency-sketch.ts';
import type { AgentView } from './agent-view.ts';
import { STALE_AFTER_MS } from './ledger.ts';
import type { ServicePart, SidePart } from './service-part.ts';
import type { EdgePart } from './traffic.ts';
import type { FleetEvent } from './views.ts';

/** Notes of another form are not read: replicas of two releases show each their own part until all are of one. */
export const NOTE_FORM = 1;

/** An agent of a note, and where its report came from. */
export interface NotedAgent {
  readonly view: AgentView;
  /** Address of the peer that sent its last report; null before the first. */
  readonly reportedFrom: string | null;
}

export interface FleetNote {
  readonly form: typeof NOTE_FORM;
  readonly atEpochMs: number;
  /** Of the machine, which is what addresses of loopback belong to. */
  readonly host: string;
  readonly agents: readonly NotedAgent[];
  readonly services: readonly ServicePart[];
  readonly edges: readonly EdgePart[];
  /** The newest ones that its own agents told, oldest first. */
  readonly events: readonly FleetEvent[];
  /** How much had to be left out for its size: see `cutNote`. */
  readonly cut: number;
}

/** What goes first when a note is too large: who sees what of an endpoint, then endpoints that serve, then the agents beyond a thousand. */
export const DEEPEST_CUT = 3;
const AGENTS_LEFT = 1_000;
/** Observers of an endpoint and callers of a service that travel in a note; in the largest ones they say little. */
const ROWS_LEFT = 50;

/** The same note with less in it. @param depth  0 to DEEPEST_CUT */
export function cutNote(note: FleetNote, depth: number): FleetNote {
  const rows = depth >= 1 ? 0 : ROWS_LEFT;
  return {
    ...note,
    cut: depth,
    agents: depth >= 3 ? note.agents.slice(0, AGENTS_LEFT) : note.agents,
    services: note.services.map((service) => ({
      ...service,
      edges: service.edges.slice(0, rows),
      endpoints: service.endpoints
        .filter(({ state }) => depth < 2 || state !== 'serving')
        .map((endpoint) => ({
          ...endpoint,
          // Whoever has it out is told first.
          observers: [...endpoint.observers]
            .sort((a, b) => Number(a.state === 'serving') - Number(b.state === 'serving'))
            .slice(0, rows),
        })),
    })),
  };
}

/** What is wrong with a note, as one looks at what another process wrote; null when it can be used. */
export function noteFault(value: unknown): string | null {
  if (!isRecord(value)) return 'is not an object';
  if (value.form !== NOTE_FORM)
    return `is of form ${JSON.stringify(value.form)?.slice(0, 20)}, and this one reads form ${NOTE_FORM}`;
  if (!isNumber(value.atEpochMs) || typeof value.host !== 'string') return 'lacks its time or host';
  for (const list of ['agents', 'services', 'edges', 'events'] as const)
    if (!Array.isArray(value[list])) return `has no list ${list}`;
  const { agents, services, edges, events } = value as unknown as FleetNote; // lists, and each member is looked at next
  return (
    faultIn('agents', agents, agentFault) ??
    faultIn('services', services, serviceFault) ??
    faultIn('edges', edges, edgeFault) ??
    faultIn('events', events, (one) => (isEvent(one) ? null : 'is no event'))
  );
}

function faultIn(
  list: string,
  members: readonly unknown[],
  faultOf: (member: unknown) => string | null,
): string | null {
  for (const [at, member] of members.entries()) {
    const fault = faultOf(member);
    if (fault !== null) return `has ${list}[${at}], which ${fault}`;
  }
  return null;
}

function agentFault(member: unknown): string | null {
  if (!isRecord(member) || !isRecord(member.view)) return 'is no agent';
  const { view, reportedFrom } = member;
  if (typeof view.id !== 'string' || !isNumber(view.silentForMs)) return 'lacks an id or an age';
  if (!isRecord(view.traffic) || !isRecord(view.policy) || !Array.isArray(view.discovery)) return 'lacks a part';
  const discovered = view.discovery.every((one: unknown) => isRecord(one) && isAge(one.ageMs));
  if (!discovered || !isAge(view.connectedForMs) || !isAge(view.traffic.dataAgeMs)) return 'has an age that is none';
  return reportedFrom === null || typeof reportedFrom === 'string' ? null : 'has no address';
}

function serviceFault(member: unknown): string | null {
  if (!isRecord(member) || typeof member.service !== 'string') return 'has no name';
  if (!Array.isArray(member.endpoints) || !Array.isArray(member.edges) || !Array.isArray(member.holding))
    return 'lacks a list';
  if (!member.endpoints.every(isEndpointPart)) return 'has an endpoint that is none';
  return sideFault(member.outbound) ?? sideFault(member.inbound);
}

const ENDPOINT_STATES: readonly unknown[] = ['serving', 'ejected', 'probing', 'draining'];

function isEndpointPart(one: unknown): boolean {
  if (!isRecord(one) || typeof one.id !== 'string' || !Array.isArray(one.observers)) return false;
  if (!ENDPOINT_STATES.includes(one.state)) return false;
  const numbers = [one.inFlight, one.connections, one.attempts, one.failures, one.attemptsPerSecond];
  return (
    numbers.every(isNumber) && isAge(one.ewmaMs) && isAge(one.ejectedUntilEpochMs) && sketchFault(one.latency) === null
  );
}

function sideFault(side: unknown): string | null {
  if (!isRecord(side) || !isCounts(side.life) || !isCounts(side.minute)) return 'lacks counts';
  const numbers = [side.requestsPerSecond, side.retriesPerSecond, side.inFlight];
  if (!numbers.every(isNumber) || !isAge(side.dataAgeMs)) return 'lacks rates or an age';
  return sketchFault(side.latency) === null ? null : 'has latencies that are none';
}

function edgeFault(member: unknown): string | null {
  if (!isRecord(member) || typeof member.source !== 'string' || typeof member.destination !== 'string')
    return 'has no ends';
  const numbers = [member.agents, member.silentAgents, member.inFlight, member.rps];
  if (!isCounts(member) || !numbers.every(isNumber) || !Array.isArray(member.ejected)) return 'lacks counts';
  if (!isAge(member.liveAgeMs) || !isAge(member.newestAgeMs)) return 'has an age that is none';
  return sketchFault(member.latency) === null ? null : 'has latencies that are none';
}

function isEvent(one: unknown): boolean {
  if (!isRecord(one) || !isNumber(one.sequence) || !isNumber(one.atEpochMs)) return false;
  const isText = (value: unknown): boolean => typeof value === 'string';
  return (
    [one.kind, one.reason, one.text].every(isText) &&
    [one.service, one.endpoint, one.agentId].every((value) => value === null || isText(value))
  );
}

function isCounts(value: unknown): boolean {
  return isRecord(value) && [value.requests, value.successes, value.retries].every(isNumber);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Or a time, or an average: where there may be none. */
function isAge(value: unknown): boolean {
  return value === null || isNumber(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/** What others said. */
export interface Elsewhere {
  /** By id; of an agent that is in several notes the one that heard of it last. */
  readonly agents: ReadonlyMap<string, NotedAgent>;
  readonly services: readonly ServicePart[];
  readonly edges: readonly EdgePart[];
}

export const NOBODY_ELSEWHERE: Elsewhere = { agents: new Map(), services: [], edges: [] };

/** All notes together, with ages as of `epochMs`. */
export function elsewhereOf(notes: readonly FleetNote[], epochMs: number): Elsewhere {
  const agents = new Map<string, NotedAgent>();
  const services: ServicePart[] = [];
  const edges: EdgePart[] = [];
  for (const note of notes) {
    const ageMs = Math.max(0, epochMs - note.atEpochMs);
    for (const noted of note.agents) {
      const aged = { ...noted, view: { ...agedAgent(noted.view, ageMs), controlPlane: note.host } };
      const known = agents.get(aged.view.id);
      if (known === undefined || isFresher(aged.view, known.view)) agents.set(aged.view.id, aged);
    }
    services.push(...note.services.map((part) => agedService(part, ageMs)));
    edges.push(...note.edges.map((part) => agedEdge(part, ageMs)));
  }
  return { agents, services, edges };
}

/** Whose word about an agent counts: where its stream is open, else who heard of it last. */
export function isFresher(
  one: Pick<AgentView, 'isConnected' | 'silentForMs'>,
  other: Pick<AgentView, 'isConnected' | 'silentForMs'>,
): boolean {
  if (one.isConnected !== other.isConnected) return one.isConnected;
  return one.silentForMs < other.silentForMs;
}

export function agedAgent(view: AgentView, byMs: number): AgentView {
  const silentForMs = view.silentForMs + byMs;
  return {
    ...view,
    state: view.state === 'live' && silentForMs >= STALE_AFTER_MS ? 'stale' : view.state,
    silentForMs,
    connectedForMs: grown(view.connectedForMs, byMs),
    discovery: view.discovery.map((one) => ({ ...one, ageMs: grown(one.ageMs, byMs) })),
    traffic: { ...view.traffic, dataAgeMs: grown(view.traffic.dataAgeMs, byMs) },
  };
}

export function agedService(part: ServicePart, byMs: number): ServicePart {
  const side = (one: SidePart): SidePart => ({ ...one, dataAgeMs: grown(one.dataAgeMs, byMs) });
  return { ...part, outbound: side(part.outbound), inbound: side(part.inbound) };
}

export function agedEdge(part: EdgePart, byMs: number): EdgePart {
  return { ...part, liveAgeMs: grown(part.liveAgeMs, byMs), newestAgeMs: grown(part.newestAgeMs, byMs) };
}

function grown(ageMs: number | null, byMs: number): number | null {
  return ageMs === null ? null : Math.round(ageMs + byMs);
}
