// Who calls whom: one edge for each pair of services, summed over the agents that report it. Pure.

import type { EdgeView, ServiceView } from '../../../core/views.ts';

export interface MeshEdge {
  readonly source: string;
  readonly destination: string;
  readonly requestsPerSecond: number;
  /** Weighted by rate; null while nothing was counted in the last minute. */
  readonly successShare: number | null;
  readonly retriesPerSecond: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
}

/** What an agent calls a client that does not say its name. */
export function isOutside(source: string): boolean {
  return source === 'unknown';
}

/** Where callers report, what the callee's agent saw of them is left out: it would count each request twice. */
export function meshEdges(services: Iterable<ServiceView>): MeshEdge[] {
  const groups = new Map<string, EdgeView[]>();
  for (const { edges } of services) {
    const outbound = edges.filter(({ direction }) => direction === 'outbound');
    for (const edge of outbound.length > 0 ? outbound : edges) {
      const key = JSON.stringify([edge.source, edge.destination]);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [edge]);
      else group.push(edge);
    }
  }
  return [...groups.values()].map(sumOf).sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function keyOf({ source, destination }: MeshEdge): string {
  return `${source}\n${destination}`;
}

function sumOf(edges: readonly EdgeView[]): MeshEdge {
  const [first] = edges;
  const counted = edges.filter(({ successShare }) => successShare !== null);
  // A caller without traffic at this moment still weighs a little: its last minute is known.
  const weights = counted.map(({ requestsPerSecond }) => Math.max(requestsPerSecond, 0.001));
  const weight = weights.reduce((sum, one) => sum + one, 0);
  const good = counted.reduce((sum, { successShare }, index) => sum + (successShare ?? 0) * (weights[index] ?? 0), 0);
  return {
    source: first?.source ?? '',
    destination: first?.destination ?? '',
    requestsPerSecond: edges.reduce((sum, edge) => sum + edge.requestsPerSecond, 0),
    successShare: weight === 0 ? null : counted.every(({ successShare }) => successShare === 1) ? 1 : good / weight,
    retriesPerSecond: edges.reduce((sum, edge) => sum + edge.retriesPerSecond, 0),
    p50Ms: weightedMean(edges),
    p95Ms: highest(edges.map((edge) => edge.p95Ms)),
    p99Ms: highest(edges.map((edge) => edge.p99Ms)),
  };
}

function weightedMean(edges: readonly EdgeView[]): number | null {
  let [weight, sum] = [0, 0];
  for (const { p50Ms, requestsPerSecond } of edges) {
    if (p50Ms === null) continue;
    const one = Math.max(requestsPerSecond, 0.001);
    weight += one;
    sum += p50Ms * one;
  }
  return weight === 0 ? null : sum / weight;
}

function highest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}
