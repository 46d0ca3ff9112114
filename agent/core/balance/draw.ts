// Drawing endpoints by weight from those an attempt has not tried. Allocates nothing; each function says how often it draws.

import type { Random } from '../../clock.ts';
import type { EndpointView, ServiceView } from '../snapshot.ts';

/** Compared by statistics, which are the same object in every snapshot. */
export function isTried(view: EndpointView, tried: readonly EndpointView[]): boolean {
  for (const other of tried) if (other.stats === view.stats) return true;
  return false;
}

/**
 * One of `pickable` at random in proportion to the weights; null when every one is excluded. Draws exactly once.
 *
 * Constant time with equal weights and nothing tried, the normal case; O(endpoints) otherwise.
 *
 * @param tried   endpoints that must not come
 * @param except  one more that must not come, or null
 */
export function drawByWeight(
  { pickable, hasEqualWeights }: ServiceView,
  tried: readonly EndpointView[],
  except: EndpointView | null,
  random: Random,
): EndpointView | null {
  if (hasEqualWeights && tried.length === 0) return drawEvenly(pickable, except, random);
  let total = 0;
  for (const view of pickable) if (view !== except && !isTried(view, tried)) total += view.endpoint.weight;
  let left = random() * total;
  let chosen: EndpointView | null = null;
  for (const view of pickable) {
    if (view === except || isTried(view, tried)) continue;
    chosen = view;
    left -= view.endpoint.weight;
    if (left < 0) break;
  }
  return chosen;
}

/** The excluded endpoint gives its place to the last one, so every other endpoint keeps the same chance. */
function drawEvenly(
  pickable: readonly EndpointView[],
  except: EndpointView | null,
  random: Random,
): EndpointView | null {
  const last = pickable.length - 1;
  if (except === null) return pickable[Math.floor(random() * (last + 1))] ?? null;
  const drawn = pickable[Math.floor(random() * last)] ?? null;
  if (drawn !== except) return drawn;
  return last > 0 ? (pickable[last] ?? null) : null;
}
