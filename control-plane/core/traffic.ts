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

/** Every pair of services that callers report, by name. */
export function edgeTotals(members: readonly Member[], isLive: IsLive, now: number): EdgeTotal[] {
  const byEnds = new Map<string, [EdgeSighting, ...EdgeSighting[]]>();
  for (const member of members) {
    for (const edge of outboundOf(member)) {
      const key = edgeKey(edge);
      const group = byEnds.get(key);
      if (group === undefined) byEnds.set(key, [{ member, edge }]);
      else group.push({ member, edge });
    }
  }
  return [...byEnds.values()]
    .map((group): EdgeTotal => {
      const [{ edge }] = group;
      const live = group.filter(({ member }) => isLive(member.agentId)).length;
      return {
        source: edge.source,
        destination: edge.destination,
        agents: live,
        silentAgents: group.length - live,
        ...trafficOf(group, isLive, now),
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
  const total = { requests: 0, successes: 0, retries: 0 };
  const ejected = new Set<string>();
  const sketches: LatencySketch[] = [];
  let inFlight = 0;
  let rps = 0;
  let dataAgeMs: number | null = null;
  let youngestMs = Number.POSITIVE_INFINITY;
  for (const { member, edge } of sightings) {
    const counter = member.edges.get(edgeKey(edge));
    const counts: Counts = counter?.total ?? edge;
    total.requests += counts.requests;
    total.successes += counts.successes;
    total.retries += counts.retries;
    const ageMs = Math.max(0, now - member.receivedAt);
    youngestMs = Math.min(youngestMs, ageMs);
    if (!isLive(member.agentId)) continue;
    dataAgeMs = Math.max(dataAgeMs ?? 0, ageMs);
    inFlight += edge.inFlight;
    const { counts: recent, spanMs } = counter?.within(RATE_WINDOW_MS, now) ?? { counts: total, spanMs: 0 };
    if (spanMs > 0) rps += (recent.requests * 1000) / spanMs;
    sketches.push(member.latencies.get(edgeKey(edge))?.recent() ?? EMPTY_SKETCH);
    const seen = member.report.services.find(({ service }) => service === edge.destination);
    for (const { id, state } of seen?.endpoints ?? [])
      if (state === 'ejected') ejected.add(`${edge.destination} ${id}`);
  }
  return {
    ...total,
    failures: total.requests - total.successes,
    inFlight,
    ejected: ejected.size,
    rps: Math.round(rps * 1000) / 1000,
    ...quantilesOf(sketches),
    dataAgeMs: sightings.length === 0 ? null : Math.round(dataAgeMs ?? youngestMs),
  };
}

/** Of all of them together; null without a value. */
export function quantilesOf(sketches: readonly LatencySketch[]): Pick<Traffic, 'p50Ms' | 'p95Ms' | 'p99Ms'> {
  const all = mergeSketches(sketches);
  return { p50Ms: sketchQuantile(all, 0.5), p95Ms: sketchQuantile(all, 0.95), p99Ms: sketchQuantile(all, 0.99) };
}
