// Drawing endpoints by weight from those an attempt has not tried. Allocates nothing; each function says how often it draws.

import type { Random } from '../../clock.ts';
import type { EndpointGroup, EndpointView } from '../snapshot.ts';

/** Compared by statistics, which are the same object in every snapshot. */
export function isTried(view: EndpointView, tried: readonly EndpointView[]): boolean {
  for (const other of tried) if (other.stats === view.stats) return true;
  return false;
}

/**
 * Position in the group of one endpoint at random in proportion to the weights; -1 when every one is excluded. Draws exactly
 * once.
 *
 * Nothing tried, the normal case: constant time with equal weights, else O(log endpoints). O(endpoints) for a retry.
 *
 * @param tried   endpoints that must not come
 * @param except  position of one more that must not come, or -1
 */
export function drawByWeight(
  group: EndpointGroup,
  tried: readonly EndpointView[],
  except: number,
  random: Random,
): number {
  if (tried.length > 0) return drawUntried(group, tried, except, random);
  if (group.hasEqualWeights) return drawEvenly(group.views.length, except, random);
  return drawCumulative(group.cumulativeWeights, except, random);
}

/** Positions from the excluded one on move up by one, so every other endpoint keeps the same chance. */
function drawEvenly(count: number, except: number, random: Random): number {
  const choices = except < 0 ? count : count - 1;
  const drawn = Math.floor(random() * choices);
  if (choices < 1) return -1;
  return except >= 0 && drawn >= except ? drawn + 1 : drawn;
}

/** The stretch of the excluded endpoint is cut out of [0, total), then a binary search finds the one that was hit. */
function drawCumulative(cumulative: ArrayLike<number>, except: number, random: Random): number {
  const total = cumulative[cumulative.length - 1] ?? 0;
  const from = except > 0 ? (cumulative[except - 1] ?? 0) : 0;
  const cut = except < 0 ? 0 : (cumulative[except] ?? 0) - from;
  let hit = random() * (total - cut);
  if (cut === total) return -1;
  if (except >= 0 && hit >= from) hit += cut;
  let low = 0;
  let high = cumulative.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cumulative[middle] ?? 0) > hit) high = middle;
    else low = middle + 1;
  }
  return low;
}

function drawUntried(
  { views, weights }: EndpointGroup,
  tried: readonly EndpointView[],
  except: number,
  random: Random,
): number {
  let total = 0;
  for (const [at, view] of views.entries()) {
    if (at !== except && !isTried(view, tried)) total += weights[at] ?? 0;
  }
  let left = random() * total;
  let chosen = -1;
  for (const [at, view] of views.entries()) {
    if (at === except || isTried(view, tried)) continue;
    chosen = at;
    left -= weights[at] ?? 0;
    if (left < 0) break;
  }
  return chosen;
}
