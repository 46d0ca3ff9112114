// Picks for one request: chance from a seed of its own for each, and a record of what was looked at.

import { drawSeed } from '../core/decision/draws.ts';
import { PickTrace } from '../core/decision/pick-trace.ts';
import { pickEndpoint } from '../core/pick.ts';
import type { EndpointView } from '../core/snapshot.ts';
import type { Destination } from './destination.ts';
import type { ProxyScope } from './scope.ts';

/** @param tried  endpoints that had their turn, oldest first */
export function beginTrace(
  { decisions, random }: ProxyScope,
  { view, hash }: Destination,
  tried: readonly EndpointView[],
  now: number,
): PickTrace {
  return new PickTrace(decisions.hold(view), view, drawSeed(random), now, hash, tried);
}

/** One endpoint for an attempt; null only when the service has none. */
export function pickBy({ draws }: ProxyScope, { view, hash }: Destination, trace: PickTrace): EndpointView | null {
  draws.reseed(trace.seed);
  return pickEndpoint(view, trace.now, draws.next, trace.tried, hash, trace);
}
