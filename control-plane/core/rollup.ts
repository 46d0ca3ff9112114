// Views made of the fleet's reports: services, endpoints, edges. Pure; O(agents × (edges + endpoints)) per call, which is
// paid when somebody looks and not per report.

import type { EndpointReport, EndpointState } from '#contract/frames.ts';
import { EMPTY_SKETCH, type LatencySketch } from '#contract/latency-sketch.ts';
import { add, type CounterReading, type Counts, NO_COUNTS, RATE_WINDOW_MS, WINDOW_MS } from './counters.ts';
import { edgeKey, endpointKey, type Fleet, type Member, ownEdges } from './fleet.ts';
import { quantilesOf } from './traffic.ts';
import type { Availability, EdgeView, EndpointView, ServiceView } from './views.ts';

/** Worse first: an endpoint shows the first of these that any live agent has it in. */
const WORST_FIRST: readonly EndpointState[] = ['draining', 'ejected', 'probing', 'serving'];

/**
 * Every service that any agent calls, watches or stands beside, by name.
 *
 * @param isLive  agents for which it is false add nothing to what is shown as of now, only to life-long counts
 */
export function rollUp(fleet: Fleet, isLive: (agentId: string) => boolean, now: number): ServiceView[] {
  const live = fleet.members().filter(({ agentId }) => isLive(agentId));
  const names = new Set<string>();
  for (const { report } of fleet.members()) {
    names.add(report.service);
    for (const { service } of report.services) names.add(service);
    for (const { destination } of ownEdges(report)) names.add(destination);
  }
  const index = indexByService(live);
  return [...names].sort().map((service) => viewOf(service, index.get(service) ?? EMPTY, fleet, now));
}

interface Parts {
  readonly edges: { readonly member: Member; readonly edge: Member['report']['edges'][number] }[];
  readonly services: { readonly member: Member; readonly seen: Member['report']['services'][number] }[];
}

const EMPTY: Parts = { edges: [], services: [] };

function indexByService(members: readonly Member[]): Map<string, Parts> {
  const index = new Map<string, Parts>();
  const partsOf = (service: string): Parts => {
    const parts = index.get(service) ?? { edges: [], services: [] };
    index.set(service, parts);
    return parts;
  };
  for (const member of members) {
    for (const edge of ownEdges(member.report)) partsOf(edge.destination).edges.push({ member, edge });
    for (const seen of member.report.services) partsOf(seen.service).services.push({ member, seen });
  }
  return index;
}

function viewOf(service: string, parts: Parts, fleet: Fleet, now: number): ServiceView {
  const totals = fleet.totals(service);
  const measuredBy =
    totals.outbound.requests > 0 ? 'outbound' : totals.inbound.requests > 0 ? 'inbound' : ('none' as const);
  const counted = parts.edges.filter(({ edge }) => edge.direction === measuredBy);
  let minute = NO_COUNTS;
  for (const { member, edge } of counted) {
    const counter = member.edges.get(edgeKey(edge));
    if (counter !== undefined) minute = add(minute, counter.within(WINDOW_MS, now).counts);
  }
  const edges = parts.edges.map(({ member, edge }) => edgeView(member, edge, now));
  const shown = edges.filter(({ direction }) => direction === measuredBy);
  const endpoints = endpointViews(service, parts, now);
  const sum = (of: (edge: EdgeView) => number): number => shown.reduce((total, edge) => total + of(edge), 0);
  return {
    service,
    measuredBy,
    requestsPerSecond: sum((edge) => edge.requestsPerSecond),
    retriesPerSecond: sum((edge) => edge.retriesPerSecond),
    inFlight: sum((edge) => edge.inFlight),
    availability: {
      life: availabilityOf(measuredBy === 'none' ? NO_COUNTS : totals[measuredBy]),
      lastMinute: availabilityOf(minute),
    },
    retries: measuredBy === 'none' ? 0 : totals[measuredBy].retries,
    ...quantilesOf(counted.map(({ member, edge }) => latencyOf(member, edgeKey(edge)))),
    dataAgeMs: highest(counted.map(({ member }) => Math.round(Math.max(0, now - member.receivedAt)))),
    endpointCounts: countStates(endpoints),
    isPanicking: parts.services.some(({ seen }) => seen.isPanicking),
    holding: parts.services.flatMap(({ member, seen }) =>
      seen.holding === null ? [] : [{ agentId: member.agentId, reason: seen.holding }],
    ),
    edges,
    endpoints,
  };
}

/** good / valid; 1 only when nothing at all failed, so that rounding never hides a failure. */
export function availabilityOf({ successes, requests }: Counts): Availability {
  return { good: successes, valid: requests, ratio: requests === 0 ? null : Math.min(1, successes / requests) };
}

function edgeView(member: Member, edge: Member['report']['edges'][number], now: number): EdgeView {
  const counter = member.edges.get(edgeKey(edge));
  const rates = ratesOf(counter, now);
  const minute = counter?.within(WINDOW_MS, now).counts ?? NO_COUNTS;
  return {
    agentId: member.agentId,
    direction: edge.direction,
    source: edge.source,
    destination: edge.destination,
    requestsPerSecond: rates.requests,
    successShare: availabilityOf(minute).ratio,
    retriesPerSecond: rates.retries,
    inFlight: edge.inFlight,
    ...quantilesOf([latencyOf(member, edgeKey(edge))]),
  };
}

function endpointViews(service: string, parts: Parts, now: number): EndpointView[] {
  const byId = new Map<string, { member: Member; endpoint: EndpointReport }[]>();
  for (const { member, seen } of parts.services) {
    for (const endpoint of seen.endpoints) {
      const sightings = byId.get(endpoint.id) ?? [];
      sightings.push({ member, endpoint });
      byId.set(endpoint.id, sightings);
    }
  }
  return [...byId.values()]
    .map((sightings) => endpointView(service, sightings, now))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function endpointView(
  service: string,
  sightings: readonly { readonly member: Member; readonly endpoint: EndpointReport }[],
  now: number,
): EndpointView {
  const reports = sightings.map(({ endpoint }) => endpoint);
  const worst = reports.reduce((a, b) => (WORST_FIRST.indexOf(b.state) < WORST_FIRST.indexOf(a.state) ? b : a));
  const sum = (of: (endpoint: EndpointReport) => number): number => reports.reduce((all, one) => all + of(one), 0);
  return {
    id: worst.id,
    address: worst.address,
    state: worst.state,
    weight: worst.weight,
    inFlight: sum((endpoint) => endpoint.inFlight),
    connections: sum((endpoint) => endpoint.connections),
    ewmaMs: highest(reports.map((endpoint) => endpoint.ewmaMs)),
    attempts: sum((endpoint) => endpoint.attempts),
    failures: sum((endpoint) => endpoint.failures),
    attemptsPerSecond: sightings.reduce(
      (all, { member, endpoint }) =>
        all + ratesOf(member.endpoints.get(endpointKey(service, endpoint.id)), now).requests,
      0,
    ),
    ...quantilesOf(sightings.map(({ member, endpoint }) => latencyOf(member, endpointKey(service, endpoint.id)))),
    reason: worst.reason,
    ejectedUntilEpochMs: highest(reports.map((endpoint) => endpoint.ejectedUntilEpochMs)),
    observers: sightings.map(({ member, endpoint }) => ({
      agentId: member.agentId,
      state: endpoint.state,
      reason: endpoint.reason,
    })),
  };
}

function latencyOf(member: Member, key: string): LatencySketch {
  return member.latencies.get(key)?.recent() ?? EMPTY_SKETCH;
}

function ratesOf(counter: CounterReading | undefined, now: number): { requests: number; retries: number } {
  if (counter === undefined) return { requests: 0, retries: 0 };
  const { counts, spanMs } = counter.within(RATE_WINDOW_MS, now);
  if (spanMs <= 0) return { requests: 0, retries: 0 };
  return { requests: (counts.requests * 1000) / spanMs, retries: (counts.retries * 1000) / spanMs };
}

function countStates(endpoints: readonly EndpointView[]): Record<EndpointState, number> {
  const counts = { serving: 0, ejected: 0, probing: 0, draining: 0 };
  for (const { state } of endpoints) counts[state]++;
  return counts;
}

function highest(values: readonly (number | null)[]): number | null {
  return values.reduce((max, value) => (value === null ? max : Math.max(max ?? value, value)), null);
}
