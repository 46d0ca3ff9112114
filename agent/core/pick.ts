// Chooses the endpoint of one attempt. Pure but for two counters it owns: the number of picks and the round-robin cursors.

import type { Random } from '../clock.ts';
import { drawByWeight, isTried } from './balance/draw.ts';
import { pickByHash } from './balance/hash-table.ts';
import { pickLeastLoaded } from './balance/least-loaded.ts';
import { pickRoundRobin } from './balance/round-robin.ts';
import type { PickTrace } from './decision/pick-trace.ts';
import type { EndpointGroup, EndpointView, ServiceView } from './snapshot.ts';

/** In place of a hash: the request has no key, or the policy asks for none. */
export const NO_HASH = -1;

/**
 * 1. A first attempt (nothing tried) goes to a probing endpoint that has no probe in flight, if there is one. beginAttempt
 *    marks the probe, so it must be called before the next pick. Retries never probe: they are to succeed.
 * 2. Of several groups (priority levels, zones) one is drawn by its share; with a hash, the key decides. When everything in it
 *    was tried, the next group that has something untried takes over.
 * 3. The service's algorithm chooses from the group, leaving out what was tried. When all was tried, only the last one is left
 *    out; when there is but one, it is chosen again.
 *
 * Draws: one for the group when there are several and no hash; then random once; roundRobin never; ringHash and maglev once
 * without a hash, else never; peakEwma and leastRequest `choiceCount` times. None at all when a probe is sent or when the
 * group has fewer than two endpoints. Allocates nothing, but for a retry after all were tried.
 *
 * @param now    monotonic ms; averages are projected to it
 * @param tried  endpoints of the earlier attempts of this request, oldest first
 * @param hash   32-bit hash of the request's key, or NO_HASH
 * @param trace  made just before; what the pick looks at is noted there
 * @param isRepeatable  whether the request may be sent again should this attempt fail: one that may not tries nothing out
 * @returns      null only when the service has no endpoint at all
 */
export function pickEndpoint(
  view: ServiceView,
  now: number,
  random: Random,
  tried: readonly EndpointView[],
  hash = NO_HASH,
  trace: PickTrace | null = null,
  isRepeatable = true,
): EndpointView | null {
  view.stats.picks++;
  if (view.probing.length > 0 && tried.length === 0) {
    for (const candidate of view.probing) {
      if (!isOwedAProbe(candidate)) continue;
      if (trace !== null) trace.way = 'probe';
      return candidate;
    }
  }
  const avoided = hasUntried(view.pickable, tried) ? tried : tried.slice(-1);
  const group = view.groups.length < 2 ? view.groups[0] : chooseGroup(view, avoided, random, hash);
  if (group === undefined) return null;
  if (group.views.length < 2) {
    if (trace !== null) trace.way = 'only';
    return group.views[0] ?? null;
  }
  switch (view.policy.loadBalancer.policy) {
    case 'peakEwma':
    case 'leastRequest':
      return pickLeastLoaded(view, group, avoided, now, random, trace, isRepeatable);
    case 'roundRobin':
      return pickRoundRobin(view, group, avoided);
    case 'ringHash':
    case 'maglev':
      if (hash !== NO_HASH) return pickByHash(view, group, hash, avoided, trace);
      return group.views[drawByWeight(group, avoided, -1, random)] ?? null;
    case 'random':
      return group.views[drawByWeight(group, avoided, -1, random)] ?? null;
  }
}

/** State and verdict are read live: a snapshot pinned earlier may still list an endpoint whose probe has ended. */
function isOwedAProbe({ stats }: EndpointView): boolean {
  return stats.state === 'probing' && !stats.isProbeInFlight && stats.probeVerdict === 'none';
}

function chooseGroup(
  { groups, groupShares }: ServiceView,
  avoided: readonly EndpointView[],
  random: Random,
  hash: number,
): EndpointGroup | undefined {
  const hit = hash === NO_HASH ? random() : hash / 2 ** 32;
  let at = 0;
  while (at < groups.length - 1 && hit >= (groupShares[at] ?? 1)) at++;
  for (let step = 0; avoided.length > 0 && step < groups.length; step++) {
    const group = groups[(at + step) % groups.length];
    if (group !== undefined && hasUntried(group.views, avoided)) return group;
  }
  return groups[at];
}

function hasUntried(pickable: readonly EndpointView[], tried: readonly EndpointView[]): boolean {
  if (tried.length < pickable.length) return true;
  for (const view of pickable) if (!isTried(view, tried)) return true;
  return false;
}
