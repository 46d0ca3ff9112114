// The traffic between services, added up over the agents that count it. Pure; O(agents × edges) per call, which is paid when
// somebody looks and not per report.

import type { EdgeReport } from '#contract/frames.ts';
import { EMPTY_SKETCH, type LatencySketch, mergeSketches, sketchQuantile } from '#contract/latency-sketch.ts';
import { type Counts, RATE_WINDOW_MS } from './counters.ts';
import { edgeKey, type Member, ownEdges } from './fleet.ts';
import type { EdgeTotal, Traffic } from './views.ts';

/** One edge as one agent counts it. */
export interface EdgeSighting {
  readonly member: Member;
  readonly edge: EdgeReport;
}

/** What counts of a member as of now; of one that is silent only what it had counted does. */
export type IsLive = (agentId: string) => boolean;

/** Traffic in a form that can be added up: sums, and what quantiles and ages are made of. */
export interface TrafficPart {
  readonly requests: number;
  readonly successes: number;
  readonly retries: number;
  readonly inFlight: number;
  /** Ids of the endpoints that a caller has ejected, with their service; each once. */
  readonly ejected: readonly string[];
  readonly rps: number;
  readonly latency: LatencySketch;
  /** Of the oldest report of a live agent; null without one. */
  readonly liveAgeMs: number | null;
  /** Of the newest report of anybody; null without one. */
  readonly newestAgeMs: number | null;
}

/** An edge as one control plane knows it. */
export interface EdgePart extends TrafficPart, Pick<EdgeTotal, 'source' | 'destination' | 'agents' | 'silentAgents'> {}

/** Every pair of services that callers report, by name. */
export function edgeTotals(members: readonly Member[], isLive: IsLive, now: number): EdgeTotal[] {
  return edgeViews(edgeParts(members, isLive, now));
}

/** As edgeTotals, in a form that can be added to what others know. */
export function edgeParts(members: readonly Member[], isLive: IsLive, now: number): EdgePart[] {
  const byEnds = new Map<string, [EdgeSighting, ...EdgeSighting[]]>();
  for (const member of members) {
    for (const edge of outboundOf(member)) {
      const key = edgeKey(edge);
      const group = byEnds.get(key);
      if (group === undefined) byEnds.set(key, [{ member, edge }]);
      else group.push({ member, edge });
    }
  }
  return [...byEnds.values()].map((group): EdgePart => {
    const [{ edge }] = group;
    const live = group.filter(({ member }) => isLive(member.agentId)).length;
    return {
      source: edge.source,
      destination: edge.destination,
      agents: live,
      silentAgents: group.length - live,
      ...trafficPart(group, isLive, now),
    };
  });
}

/** The parts of each edge added up, by name. */
export function edgeViews(parts: readonly EdgePart[]): EdgeTotal[] {
  const byEnds = new Map<string, [EdgePart, ...EdgePart[]]>();
  for (const part of parts) {
    const group = byEnds.get(edgeNameOf(part));
    if (group === undefined) byEnds.set(edgeNameOf(part), [part]);
    else group.push(part);
  }
  return [...byEnds.values()]
    .map((group): EdgeTotal => {
      const [{ source, destination }] = group;
      const sum = (of: (part: EdgePart) => number): number => group.reduce((total, part) => total + of(part), 0);
      return {
        source,
        destination,
        agents: sum(({ agents }) => agents),
        silentAgents: sum(({ silentAgents }) => silentAgents),
        ...trafficView(group),
      };
    })
    .sort((a, b) => (edgeNameOf(a) < edgeNameOf(b) ? -1 : 1));
}

/** Unique, and the order of the list: no name holds a blank. */
export function edgeNameOf({ source, destination }: Pick<EdgeTotal, 'source' | 'destination'>): string {
  return `${source} ${destination}`;
}

/** What an agent's application calls. */
export function outboundOf(member: Member): EdgeReport[] {
  return ownEdges(member.report).filter(({ direction }) => direction === 'outbound');
}

/** The sum over sightings; an endpoint that several callers have ejected counts once. */
export function trafficOf(sightings: readonly EdgeSighting[], isLive: IsLive, now: number): Traffic {
  return trafficView([trafficPart(sightings, isLive, now)]);
}

function trafficPart(sightings: readonly EdgeSighting[], isLive: IsLive, now: number): TrafficPart {
  const total = { requests: 0, successes: 0, retries: 0 };
  const ejected = new Set<string>();
  const sketches: LatencySketch[] = [];
  let inFlight = 0;
  let rps = 0;
  let liveAgeMs: number | null = null;
  let newestAgeMs: number | null = null;
  for (const { member, edge } of sightings) {
    const counter = member.edges.get(edgeKey(edge));
    const counts: Counts = counter?.total ?? edge;
    total.requests += counts.requests;
    total.successes += counts.successes;
    total.retries += counts.retries;
    const ageMs = Math.max(0, now - member.receivedAt);
    newestAgeMs = Math.min(newestAgeMs ?? ageMs, ageMs);
    if (!isLive(member.agentId)) continue;
    liveAgeMs = Math.max(liveAgeMs ?? 0, ageMs);
    inFlight += edge.inFlight;
    const { counts: recent, spanMs } = counter?.within(RATE_WINDOW_MS, now) ?? { counts: total, spanMs: 0 };
    if (spanMs > 0) rps += (recent.requests * 1000) / spanMs;
    sketches.push(member.latencies.get(edgeKey(edge))?.recent() ?? EMPTY_SKETCH);
    const seen = member.report.services.find(({ service }) => service === edge.destination);
    for (const { id, state } of seen?.endpoints ?? [])
      if (state === 'ejected') ejected.add(`${edge.destination} ${id}`);
  }
  return { ...total, inFlight, ejected: [...ejected], rps, latency: mergeSketches(sketches), liveAgeMs, newestAgeMs };
}

function trafficView(parts: readonly TrafficPart[]): Traffic {
  const sum = (of: (part: TrafficPart) => number): number => parts.reduce((total, part) => total + of(part), 0);
  const [requests, successes] = [sum((part) => part.requests), sum((part) => part.successes)];
  const known = <T>(values: readonly (T | null)[]): T[] => values.filter((value) => value !== null);
  const live = known(parts.map(({ liveAgeMs }) => liveAgeMs));
  const newest = known(parts.map(({ newestAgeMs }) => newestAgeMs));
  return {
    requests,
    successes,
    failures: requests - successes,
    retries: sum((part) => part.retries),
    inFlight: sum((part) => part.inFlight),
    ejected: new Set(parts.flatMap(({ ejected }) => ejected)).size,
    rps: Math.round(sum((part) => part.rps) * 1000) / 1000,
    ...quantilesOf(parts.map(({ latency }) => latency)),
    dataAgeMs: newest.length === 0 ? null : Math.round(live.length > 0 ? Math.max(...live) : Math.min(...newest)),
  };
}

/** Of all of them together; null without a value. */
export function quantilesOf(sketches: readonly LatencySketch[]): Pick<Traffic, 'p50Ms' | 'p95Ms' | 'p99Ms'> {
  const all = mergeSketches(sketches);
  return { p50Ms: sketchQuantile(all, 0.5), p95Ms: sketchQuantile(all, 0.95), p99Ms: sketchQuantile(all, 0.99) };
}
