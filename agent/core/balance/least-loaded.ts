// The power of two choices: of a few endpoints drawn at random, the least loaded. Serves peakEwma and leastRequest.

import type { Random } from '../../clock.ts';
import type { PickTrace } from '../decision/pick-trace.ts';
import { cost, isWorthATry } from '../ewma.ts';
import type { EndpointGroup, EndpointView, ServiceView } from '../snapshot.ts';
import { drawByWeight } from './draw.ts';

/**
 * A later draw must be this much cheaper to win under peakEwma. Averages of equal endpoints differ by noise; without a margin
 * the noise, not the weights, would decide between two of them.
 */
const CLEARLY_CHEAPER = 0.8;

/** Every eighth pick gives a penalised endpoint that was drawn its chance: with two choices a quarter of its even share. */
const TRY_EVERY = 8;

/**
 * The first draw is by weight and stands unless a later one is less loaded: so shares follow the weights when loads are
 * alike, and load decides when they are not. Every draw after the first leaves out the best so far; with two choices that is
 * drawing without replacement.
 *
 * An endpoint held below its weight (warming up) wins as a later draw only against a penalised one: it is idle and would
 * otherwise win every comparison, which is the rush that warm-up is to prevent. So its share never exceeds its weight's.
 *
 * Load is cost() of ewma.ts for peakEwma and 1 + inFlight / share for leastRequest, share = weight / mean weight.
 *
 * @param now     monotonic ms
 * @param random  drawn exactly `choiceCount` times
 * @returns       null only when every pickable endpoint was tried
 * @see Mitzenmacher, The Power of Two Choices (IEEE TPDS 12(10), 2001); Finagle P2C and PeakEwma
 */
export function pickLeastLoaded(
  view: ServiceView,
  group: EndpointGroup,
  tried: readonly EndpointView[],
  now: number,
  random: Random,
  trace: PickTrace | null = null,
): EndpointView | null {
  const { policy, choiceCount } = view.policy.loadBalancer;
  const isByLatency = policy === 'peakEwma';
  const margin = isByLatency ? CLEARLY_CHEAPER : 1;
  // A retry is to succeed: it tries nothing out.
  const isTryingOut = isByLatency && tried.length === 0 && view.stats.picks % TRY_EVERY === 0;
  let bestAt = drawByWeight(group, tried, -1, random);
  let best = group.views[bestAt];
  if (best === undefined) return null;
  let bestLoad = loadAt(group, bestAt, isByLatency, now);
  trace?.note(best, bestLoad);
  let toTry: EndpointView | null = isTryingOut && isWorthATry(best.stats, now) ? best : null;
  for (let draw = 1; draw < choiceCount; draw++) {
    const at = drawByWeight(group, tried, bestAt, random);
    const other = group.views[at];
    if (other === undefined) continue;
    const load = loadAt(group, at, isByLatency, now);
    trace?.note(other, load);
    if (isTryingOut && isWorthATry(other.stats, now)) toTry = other;
    if (isHeldBack(group, at) && best.stats.penaltyMs === 0) continue;
    if (load < bestLoad * margin) {
      bestAt = at;
      best = other;
      bestLoad = load;
    }
  }
  return toTry ?? best;
}

function isHeldBack({ views, weights }: EndpointGroup, at: number): boolean {
  return (weights[at] ?? 0) < (views[at]?.endpoint.weight ?? 0);
}

function loadAt({ views, weights, meanWeight }: EndpointGroup, at: number, isByLatency: boolean, now: number): number {
  const stats = views[at]?.stats;
  if (stats === undefined) return Number.POSITIVE_INFINITY;
  const share = (weights[at] ?? 1) / meanWeight;
  return isByLatency ? cost(stats, now, share) : 1 + stats.inFlight / share;
}
