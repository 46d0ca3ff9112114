// What one pick looked at, as it was at that moment: enough to make the same pick again and to tell a person why. Written by
// pick.ts and the balancers, read by replay.ts and explain.ts.

import type { EndpointView, ServiceView } from '../snapshot.ts';

/** An endpoint that was compared, with the measurement that the comparison read. */
export interface Sample {
  readonly endpoint: EndpointView;
  /** Cost in ms for peakEwma, requests in flight per share of the weight for leastRequest, requests in flight for hashing. */
  readonly load: number;
  readonly inFlight: number;
  readonly ewmaMs: number;
  readonly ewmaAt: number;
  readonly penaltyMs: number;
  readonly penaltyAt: number;
}

/** How the endpoint was found. `again`: not picked, but used once more for a reason of its connection. */
export type PickWay = 'balancer' | 'probe' | 'only' | 'again';

/** A view that a record refers to; forgotten (null) when too many are kept. */
export interface HeldView {
  view: ServiceView | null;
}

const NOBODY: readonly EndpointView[] = Object.freeze([]);

export class PickTrace {
  readonly held: HeldView;
  readonly seed: number;
  /** Monotonic ms of the pick. */
  readonly now: number;
  readonly hash: number;
  /** Endpoints that had their turn, oldest first. */
  readonly tried: readonly EndpointView[];
  /** ServiceStats before the pick. */
  readonly picks: number;
  readonly roundRobinAt: number;
  readonly serviceInFlight: number;
  way: PickWay = 'balancer';
  readonly samples: Sample[] = [];

  constructor(
    held: HeldView,
    view: ServiceView,
    seed: number,
    now: number,
    hash: number,
    tried: readonly EndpointView[],
  ) {
    this.held = held;
    this.seed = seed;
    this.now = now;
    this.hash = hash;
    // The request's list grows with its attempts.
    this.tried = tried.length === 0 ? NOBODY : [...tried];
    this.picks = view.stats.picks;
    this.roundRobinAt = view.stats.roundRobinAt;
    this.serviceInFlight = view.stats.inFlight;
  }

  note(endpoint: EndpointView, load: number): void {
    const { inFlight, ewmaMs, ewmaAt, penaltyMs, penaltyAt } = endpoint.stats;
    this.samples.push({ endpoint, load, inFlight, ewmaMs, ewmaAt, penaltyMs, penaltyAt });
  }

  /** For a walk that meets the same endpoint again and again. O(endpoints met). */
  noteOnce(endpoint: EndpointView, load: number): void {
    for (const sample of this.samples) if (sample.endpoint === endpoint) return;
    this.note(endpoint, load);
  }
}
