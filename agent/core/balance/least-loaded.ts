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

/**
 * Every eighth pick gives a penalised endpoint that was drawn its chance: with two choices a quarter of its even share. Not
 * with a request that may not be repeated, for which the caller would pay; a service that gets no others waits for the
 * penalty to decay.
 */
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
 * @param isRepeatable  whether the request may be sent again should this attempt fail
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
  isRepeatable = true,
): EndpointView | null {
  const { policy, choiceCount } = view.policy.loadBalancer;
  const isByLatency = policy === 'peakEwma';
  const margin = isByLatency ? CLEARLY_CHEAPER : 1;
  // A retry is to succeed: it tries nothing out.
  const isTryingOut = isByLatency && isRepeatable && tried.length === 0 && view.stats.picks % TRY_EVERY === 0;
  const { scratch } = view.stats;
  let bestAt = -1;
  let best: EndpointView | null = null;
  let bestLoad = 0;
  let toTry: EndpointView | null = null;
  for (let draw = 0; draw < choiceCount; draw++) {
    const at = drawByWeight(group, tried, bestAt, random);
    const other = group.views[at];
    if (other === undefined) continue;
    weigh(group, at, isByLatency, now, scratch);
    const load = scratch[0] ?? 0;
    trace?.note(other, scratch);
    if (isTryingOut && isWorthATry(other.stats, now)) toTry = other;
    if (best !== null) {
      if (isHeldBack(group, at) && best.stats.penaltyMs === 0) continue;
      if (load >= bestLoad * margin) continue;
    }
    bestAt = at;
    best = other;
    bestLoad = load;
  }
  return toTry ?? best;
}

function isHeldBack({ views, weights }: EndpointGroup, at: number): boolean {
  return (weights[at] ?? 0) < (views[at]?.endpoint.weight ?? 0);
}

/** Leaves the load in `out[0]`: a number that is returned from a function too large to be inlined is allocated. */
function weigh(
  { views, weights, meanWeight }: EndpointGroup,
  at: number,
  isByLatency: boolean,
  now: number,
  out: Float64Array,
): void {
  const stats = views[at]?.stats;
  if (stats === undefined) return;
  const share = (weights[at] ?? 1) / meanWeight;
  out[0] = isByLatency ? cost(stats, now, share) : 1 + stats.inFlight / share;
}
