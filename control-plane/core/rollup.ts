// What agents' reports say of each service, added up. Pure; O(agents × (edges + endpoints)) per call, which is paid when somebody looks
// and not per report.

import type { EndpointReport } from '#contract/frames.ts';
import { EMPTY_SKETCH, type LatencySketch } from '#contract/latency-sketch.ts';
import { type CounterReading, NO_COUNTS, RATE_WINDOW_MS, WINDOW_MS } from './counters.ts';
import { edgeKey, endpointKey, type Fleet, type Member, ownEdges } from './fleet.ts';
import {
  availabilityOf,
  type EndpointPart,
  mergeEndpointParts,
  mergeSides,
  type ServicePart,
  type SidePart,
  serviceViews,
} from './service-part.ts';
import { type IsLive, quantilesOf } from './traffic.ts';
import type { EdgeView, ServiceView } from './views.ts';

type EdgeReport = Member['report']['edges'][number];

/**
 * Every service that any agent calls, watches or stands beside, by name.
 *
 * @param isLive  agents for which it is false add nothing to what is shown as of now, only to life-long counts
 */
export function rollUp(fleet: Fleet, isLive: IsLive, now: number): ServiceView[] {
  return serviceViews(serviceParts(fleet, fleet.members(), isLive, now));
}

/** As rollUp, in a form that can be added to what others know. @param members  those that are counted here */
export function serviceParts(fleet: Fleet, members: readonly Member[], isLive: IsLive, now: number): ServicePart[] {
  const live = members.filter(({ agentId }) => isLive(agentId));
  const names = new Set<string>();
  for (const { report } of members) {
    names.add(report.service);
    for (const { service } of report.services) names.add(service);
    for (const { destination } of ownEdges(report)) names.add(destination);
  }
  const index = indexByService(live);
  return [...names].sort().map((service) => partOf(service, index.get(service) ?? EMPTY, fleet, now));
}

interface Sightings {
  readonly edges: { readonly member: Member; readonly edge: EdgeReport }[];
  readonly services: { readonly member: Member; readonly seen: Member['report']['services'][number] }[];
}

const EMPTY: Sightings = { edges: [], services: [] };

function indexByService(members: readonly Member[]): Map<string, Sightings> {
  const index = new Map<string, Sightings>();
  const sightingsOf = (service: string): Sightings => {
    const sightings = index.get(service) ?? { edges: [], services: [] };
    index.set(service, sightings);
    return sightings;
  };
  for (const member of members) {
    for (const edge of ownEdges(member.report)) sightingsOf(edge.destination).edges.push({ member, edge });
    for (const seen of member.report.services) sightingsOf(seen.service).services.push({ member, seen });
  }
  return index;
}

function partOf(service: string, { edges, services }: Sightings, fleet: Fleet, now: number): ServicePart {
  const life = fleet.totals(service);
  const side = (direction: 'outbound' | 'inbound'): SidePart => {
    const counted = edges.filter(({ edge }) => edge.direction === direction);
    const sum = mergeSides(counted.map(({ member, edge }) => sideOf(member, edge, now)));
    return { ...sum, life: life[direction] };
  };
  return {
    service,
    outbound: side('outbound'),
    inbound: side('inbound'),
    isPanicking: services.some(({ seen }) => seen.isPanicking),
    holding: services.flatMap(({ member, seen }) =>
      seen.holding === null ? [] : [{ agentId: member.agentId, reason: seen.holding }],
    ),
    edges: edges.map(({ member, edge }) => edgeView(member, edge, now)),
    endpoints: mergeEndpointParts(
      services.flatMap(({ member, seen }) =>
        seen.endpoints.map((endpoint) => endpointPart(service, member, endpoint, now)),
      ),
    ),
  };
}

function sideOf(member: Member, edge: EdgeReport, now: number): SidePart {
  const counter = member.edges.get(edgeKey(edge));
  const rates = ratesOf(counter, now);
  return {
    life: NO_COUNTS,
    minute: counter?.within(WINDOW_MS, now).counts ?? NO_COUNTS,
    requestsPerSecond: rates.requests,
    retriesPerSecond: rates.retries,
    inFlight: edge.inFlight,
    latency: latencyOf(member, edgeKey(edge)),
    dataAgeMs: Math.round(Math.max(0, now - member.receivedAt)),
  };
}

function edgeView(member: Member, edge: EdgeReport, now: number): EdgeView {
  const { minute, requestsPerSecond, retriesPerSecond, latency } = sideOf(member, edge, now);
  return {
    agentId: member.agentId,
    direction: edge.direction,
    source: edge.source,
    destination: edge.destination,
    requestsPerSecond,
    successShare: availabilityOf(minute).ratio,
    retriesPerSecond,
    inFlight: edge.inFlight,
    ...quantilesOf([latency]),
  };
}

function endpointPart(service: string, member: Member, endpoint: EndpointReport, now: number): EndpointPart {
  const { id, address, state, weight, inFlight, connections, ewmaMs, attempts, failures, reason } = endpoint;
  const key = endpointKey(service, id);
  return {
    id,
    address,
    state,
    weight,
    inFlight,
    connections,
    ewmaMs,
    attempts,
    failures,
    attemptsPerSecond: ratesOf(member.endpoints.get(key), now).requests,
    latency: latencyOf(member, key),
    reason,
    ejectedUntilEpochMs: endpoint.ejectedUntilEpochMs,
    observers: [{ agentId: member.agentId, state, reason }],
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
