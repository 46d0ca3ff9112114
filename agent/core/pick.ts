// Chooses the endpoint of one attempt. Pure but for two counters it owns: the number of picks and the round-robin cursor.

import type { Random } from '../clock.ts';
import { drawByWeight, isTried } from './balance/draw.ts';
import { pickLeastLoaded } from './balance/least-loaded.ts';
import { pickSmoothRoundRobin } from './balance/smooth-round-robin.ts';
import type { EndpointView, ServiceView } from './snapshot.ts';

/**
 * 1. A first attempt (nothing tried) goes to a probing endpoint that has no probe in flight, if there is one. beginAttempt
 *    marks the probe, so it must be called before the next pick. Retries never probe: they are to succeed.
 * 2. Otherwise the service's algorithm chooses from `view.pickable`, which in panic holds every endpoint, leaving out those
 *    tried. When all were tried, only the last one is left out; when there is but one, it is chosen again.
 *
 * Draws: random once; roundRobin never; peakEwma and leastRequest `choiceCount` times. None at all when a probe is sent or
 * when fewer than two endpoints are pickable. Allocates nothing, but for a retry after all were tried.
 *
 * @param now    monotonic ms; averages are projected to it
 * @param tried  endpoints of the earlier attempts of this request, oldest first
 * @returns      null only when the service has no endpoint at all
 */
export function pickEndpoint(
  view: ServiceView,
  now: number,
  random: Random,
  tried: readonly EndpointView[],
): EndpointView | null {
  view.stats.picks++;
  if (view.probing.length > 0 && tried.length === 0) {
    for (const candidate of view.probing) if (isOwedAProbe(candidate)) return candidate;
  }
  const { pickable } = view;
  if (pickable.length < 2) return pickable[0] ?? null;
  const avoided = hasUntried(pickable, tried) ? tried : tried.slice(-1);
  switch (view.policy.loadBalancer.policy) {
    case 'peakEwma':
    case 'leastRequest':
      return pickLeastLoaded(view, avoided, now, random);
    case 'roundRobin':
      return pickSmoothRoundRobin(pickable, avoided);
    case 'random':
      return pickable[drawByWeight(view, avoided, -1, random)] ?? null;
  }
}

/** State and verdict are read live: a snapshot pinned earlier may still list an endpoint whose probe has ended. */
function isOwedAProbe({ stats }: EndpointView): boolean {
  return stats.state === 'probing' && !stats.isProbeInFlight && stats.probeVerdict === 'none';
}

function hasUntried(pickable: readonly EndpointView[], tried: readonly EndpointView[]): boolean {
  if (tried.length < pickable.length) return true;
  for (const view of pickable) if (!isTried(view, tried)) return true;
  return false;
}
