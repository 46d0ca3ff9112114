// Picks for one request: chance from a seed of its own for each, and a record of what was looked at.

import { drawSeed } from '../core/decision/draws.ts';
import type { PickTrace } from '../core/decision/pick-trace.ts';
import { pickEndpoint } from '../core/pick.ts';
import type { EndpointView } from '../core/snapshot.ts';
import type { Destination } from './destination.ts';
import type { Retries } from './retries.ts';
import type { ProxyScope } from './scope.ts';

/**
 * One endpoint for an attempt; null only when the service has none.
 *
 * @param tried  endpoints that had their turn, oldest first
 * @param again  the endpoint to use once more, which is then not a pick; null to pick
 */
export function pickFor(
  { decisions, random, draws }: ProxyScope,
  { view, hash, policy }: Destination,
  retries: Retries,
  trace: PickTrace,
  tried: readonly EndpointView[],
  again: EndpointView | null,
  now: number,
): EndpointView | null {
  const seed = drawSeed(random);
  const isRepeatable = retries.mayRepeat(policy);
  trace.begin(decisions.hold(view), view, seed, now, hash, tried, isRepeatable);
  if (again !== null) {
    trace.way = 'again';
    return again;
  }
  draws.reseed(seed);
  return pickEndpoint(view, now, draws.next, tried, hash, trace, isRepeatable);
}
