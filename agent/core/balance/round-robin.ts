// Round robin: exact shares, evenly spread. The cursor outlives the view, so a discovery update does not restart
// it, and a pick is a function of the cursor and the view: it can be made again.

import type { EndpointGroup, EndpointView, ServiceView } from '../snapshot.ts';
import { isTried } from './draw.ts';

/** 2³² / golden ratio: steps of this visit every stretch of [0, 2³²) as evenly as steps of one length can. */
const GOLDEN_STEP = 0x9e3779b9;
/** Longest smooth sequence that is worked out, as length × endpoints: 20,000 steps of 14 ns, once for each view. */
const MAX_WORK = 20_000;

/**
 * Endpoints in turn, each as often as its weight says. Draws nothing, allocates nothing.
 *
 * - Equal weights: one after the other; constant time.
 * - Unequal ones whose smooth sequence is short: smooth weighted round robin, {a 5, b 1, c 1} gives a a b a c a a; constant time.
 * - All others (long sequences, fractions while warming up): the cursor steps through the running sums of the weights by the
 *   golden ratio. Shares come out as exactly, and an endpoint with share s waits at most 3 / s picks; O(log endpoints).
 *
 * With several groups each pick moves the one cursor, so a group sees every so-manieth of its steps: shares hold in the mean.
 *
 * @returns null only when every endpoint was tried
 * @see nginx ngx_http_upstream_round_robin.c; Knuth, TAOCP 6.4 (the three-distance theorem)
 */
export function pickRoundRobin(
  view: ServiceView,
  group: EndpointGroup,
  tried: readonly EndpointView[],
): EndpointView | null {
  const steps = tried.length === 0 ? 1 : group.views.length * 2;
  for (let step = 0; step < steps; step++) {
    const cursor = view.cursor.at;
    view.cursor.at = (cursor + 1) >>> 0;
    const candidate = group.views[positionAt(group, cursor)];
    if (candidate !== undefined && !isTried(candidate, tried)) return candidate;
  }
  for (const candidate of group.views) if (!isTried(candidate, tried)) return candidate;
  return null;
}

function positionAt({ views, hasEqualWeights, turns, cumulativeWeights }: EndpointGroup, cursor: number): number {
  if (hasEqualWeights || turns === null) return cursor % views.length;
  const smooth = turns.sequence();
  if (smooth !== null) return smooth[cursor % smooth.length] ?? 0;
  const total = cumulativeWeights[cumulativeWeights.length - 1] ?? 0;
  const hit = ((Math.imul(cursor, GOLDEN_STEP) >>> 0) / 2 ** 32) * total;
  let low = 0;
  let high = views.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cumulativeWeights[middle] ?? 0) > hit) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The smooth sequence of a group, worked out when it is first asked for. */
export class Turns {
  readonly #weights: ArrayLike<number>;
  #sequence: Uint16Array | null | undefined;

  constructor(weights: ArrayLike<number>) {
    this.#weights = weights;
  }

  /** Positions in turn; null when the sequence would be too long or the weights are no whole numbers. */
  sequence(): Uint16Array | null {
    if (this.#sequence === undefined) this.#sequence = smoothSequence(this.#weights);
    return this.#sequence;
  }
}

/**
 * Each endpoint gains its weight; the highest wins (the first of equals) and pays the total. After the sum of the weights over
 * their greatest common divisor the sequence begins anew.
 */
export function smoothSequence(weights: ArrayLike<number>): Uint16Array | null {
  let divisor = 0;
  let total = 0;
  for (let at = 0; at < weights.length; at++) {
    const weight = weights[at] ?? 0;
    if (!Number.isInteger(weight)) return null;
    divisor = greatestCommonDivisor(divisor, weight);
    total += weight;
  }
  if (divisor === 0) return null;
  const length = total / divisor;
  if (length * weights.length > MAX_WORK) return null;
  const current = new Float64Array(weights.length);
  const sequence = new Uint16Array(length);
  for (let turn = 0; turn < length; turn++) {
    let best = 0;
    for (let at = 0; at < current.length; at++) {
      current[at] = (current[at] ?? 0) + (weights[at] ?? 0);
      if ((current[at] ?? 0) > (current[best] ?? 0)) best = at;
    }
    current[best] = (current[best] ?? 0) - total;
    sequence[turn] = best;
  }
  return sequence;
}

function greatestCommonDivisor(a: number, b: number): number {
  let [larger, smaller] = [a, b];
  while (smaller !== 0) [larger, smaller] = [smaller, larger % smaller];
  return larger;
}
