// Deterministic subsetting: in a large service each agent talks to a few endpoints only, always the same ones, and different
// agents to different ones. Bounds connections at callers × size instead of callers × endpoints.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import { hash32, mix32 } from './hash.ts';
import { priorityOf } from './priority.ts';
import type { EndpointView } from './snapshot.ts';

/**
 * The `size` endpoints of each priority level that rank highest for this agent by rendezvous hashing, in their former order;
 * all of them when there are no more, or when the policy has no size. Frozen.
 *
 * When one endpoint comes or goes, at most one of the subset changes. O(n log n).
 *
 * @param agentId  what tells this agent from others; the same after a restart
 * @see Thaler and Ravishankar, rendezvous hashing; gRPC A68
 */
export function chooseSubset(
  endpoints: readonly EndpointView[],
  { subsetSize, failover }: EffectivePolicy['loadBalancer'],
  agentId: string,
): readonly EndpointView[] {
  if (subsetSize === 0 || endpoints.length <= subsetSize) return endpoints;
  const seed = hash32(agentId);
  const ranked = endpoints.map((view) => ({
    view,
    level: priorityOf(view.endpoint, failover),
    rank: mix32(hash32(view.endpoint.id, seed)),
  }));
  ranked.sort((a, b) => b.rank - a.rank || (a.view.endpoint.id < b.view.endpoint.id ? -1 : 1));
  const taken = new Map<number, number>();
  const chosen = new Set<EndpointView>();
  for (const { view, level } of ranked) {
    const count = taken.get(level) ?? 0;
    if (count === subsetSize) continue;
    taken.set(level, count + 1);
    chosen.add(view);
  }
  return chosen.size === endpoints.length ? endpoints : Object.freeze(endpoints.filter((view) => chosen.has(view)));
}
