// What one control plane knows of a service, in a form that can be added to what others know of it. Pure; merging is the same in any
// order and grouping, but for who is named first where two say the same.

import type { EndpointState } from '#contract/frames.ts';
import { type LatencySketch, mergeSketches } from '#contract/latency-sketch.ts';
import { add, type Counts, NO_COUNTS } from './counters.ts';
import { quantilesOf } from './traffic.ts';
import type { Availability, EdgeView, EndpointView, ServiceView } from './views.ts';

/** Worse first: an endpoint shows the first of these that any live agent has it in. */
const WORST_FIRST: readonly EndpointState[] = ['draining', 'ejected', 'probing', 'serving'];

/** The callers of a service (`outbound`), or the agents beside it (`inbound`). */
export interface SidePart {
  /** Since the service was first heard of. */
  readonly life: Counts;
  readonly minute: Counts;
  readonly requestsPerSecond: number;
  readonly retriesPerSecond: number;
  readonly inFlight: number;
  readonly latency: LatencySketch;
  /** Age of the oldest report in it; null without any. */
  readonly dataAgeMs: number | null;
}

export interface EndpointPart extends Omit<EndpointView, 'p50Ms' | 'p95Ms' | 'p99Ms'> {
  readonly latency: LatencySketch;
}

export interface ServicePart {
  readonly service: string;
  readonly outbound: SidePart;
  readonly inbound: SidePart;
  readonly isPanicking: boolean;
  readonly holding: ServiceView['holding'];
  readonly edges: readonly EdgeView[];
  readonly endpoints: readonly EndpointPart[];
}

/** The parts of many services, by name, each with those of its name. */
export function serviceViews(parts: readonly ServicePart[]): ServiceView[] {
  const byName = new Map<string, [ServicePart, ...ServicePart[]]>();
  for (const part of parts) {
    const group = byName.get(part.service);
    if (group === undefined) byName.set(part.service, [part]);
    else group.push(part);
  }
  return [...byName.values()].sort(([a], [b]) => (a.service < b.service ? -1 : 1)).map(serviceView);
}

/** @param parts  of one service */
function serviceView(parts: readonly [ServicePart, ...ServicePart[]]): ServiceView {
  const outbound = mergeSides(parts.map((part) => part.outbound));
  const inbound = mergeSides(parts.map((part) => part.inbound));
  const measuredBy =
    outbound.life.requests > 0 ? 'outbound' : inbound.life.requests > 0 ? 'inbound' : ('none' as const);
  const side = measuredBy === 'outbound' ? outbound : measuredBy === 'inbound' ? inbound : mergeSides([]);
  const endpoints = mergeEndpoints(parts.flatMap((part) => part.endpoints));
  return {
    service: parts[0].service,
    measuredBy,
    requestsPerSecond: side.requestsPerSecond,
    retriesPerSecond: side.retriesPerSecond,
    inFlight: side.inFlight,
    availability: { life: availabilityOf(side.life), lastMinute: availabilityOf(side.minute) },
    retries: side.life.retries,
    ...quantilesOf([side.latency]),
    dataAgeMs: side.dataAgeMs,
    endpointCounts: countStates(endpoints),
    isPanicking: parts.some((part) => part.isPanicking),
    holding: parts.flatMap((part) => part.holding),
    edges: parts.flatMap((part) => part.edges),
    endpoints,
  };
}

/** good / valid; 1 only when nothing at all failed, so that rounding never hides a failure. */
export function availabilityOf({ successes, requests }: Counts): Availability {
  return { good: successes, valid: requests, ratio: requests === 0 ? null : Math.min(1, successes / requests) };
}

export function mergeSides(sides: readonly SidePart[]): SidePart {
  const sum = (of: (side: SidePart) => number): number => sides.reduce((total, side) => total + of(side), 0);
  const counts = (of: (side: SidePart) => Counts): Counts => sides.map(of).reduce(add, NO_COUNTS);
  return {
    life: counts(({ life }) => life),
    minute: counts(({ minute }) => minute),
    requestsPerSecond: sum((side) => side.requestsPerSecond),
    retriesPerSecond: sum((side) => side.retriesPerSecond),
    inFlight: sum((side) => side.inFlight),
    latency: mergeSketches(sides.map(({ latency }) => latency)),
    dataAgeMs: highest(sides.map(({ dataAgeMs }) => dataAgeMs)),
  };
}

/** @returns each endpoint once, by id */
export function mergeEndpointParts(parts: readonly EndpointPart[]): EndpointPart[] {
  const byId = new Map<string, [EndpointPart, ...EndpointPart[]]>();
  for (const part of parts) {
    const group = byId.get(part.id);
    if (group === undefined) byId.set(part.id, [part]);
    else group.push(part);
  }
  return [...byId.values()].map(mergeEndpoint).sort((a, b) => (a.id < b.id ? -1 : 1));
}

function mergeEndpoints(parts: readonly EndpointPart[]): EndpointView[] {
  return mergeEndpointParts(parts).map(({ latency, ...rest }) => ({ ...rest, ...quantilesOf([latency]) }));
}

/** @param parts  of one endpoint */
function mergeEndpoint(parts: readonly [EndpointPart, ...EndpointPart[]]): EndpointPart {
  if (parts.length === 1) return parts[0];
  const worst = parts.reduce((a, b) => (WORST_FIRST.indexOf(b.state) < WORST_FIRST.indexOf(a.state) ? b : a));
  const sum = (of: (part: EndpointPart) => number): number => parts.reduce((total, part) => total + of(part), 0);
  return {
    ...worst,
    inFlight: sum((part) => part.inFlight),
    connections: sum((part) => part.connections),
    ewmaMs: highest(parts.map((part) => part.ewmaMs)),
    attempts: sum((part) => part.attempts),
    failures: sum((part) => part.failures),
    attemptsPerSecond: sum((part) => part.attemptsPerSecond),
    latency: mergeSketches(parts.map((part) => part.latency)),
    ejectedUntilEpochMs: highest(parts.map((part) => part.ejectedUntilEpochMs)),
    observers: parts.flatMap((part) => part.observers),
  };
}

function countStates(endpoints: readonly EndpointView[]): Record<EndpointState, number> {
  const counts = { serving: 0, ejected: 0, probing: 0, draining: 0 };
  for (const { state } of endpoints) counts[state]++;
  return counts;
}

export function highest(values: readonly (number | null)[]): number | null {
  return values.reduce((max, value) => (value === null ? max : Math.max(max ?? value, value)), null);
}
