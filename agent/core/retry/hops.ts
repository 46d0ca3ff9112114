// What an agent remembers of the requests that its own application is working on, so that the calls which the application makes
// meanwhile keep their caller's deadline and class, and so that one failure is retried by one layer only. The application has to
// pass on nothing but `traceparent` or `x-request-id`.

import { lesserClass, type TrafficClass } from '../limits/traffic-class.ts';

/** A request that came in and is not answered yet. */
export interface Hop {
  /** Monotonic ms after which nobody waits for its answer; Infinity when nobody said. */
  deadlineAt: number;
  trafficClass: TrafficClass;
  /** A call made for it failed for good, after whatever retries were worth making. */
  isRetryDone: boolean;
  /** Requests that share it. */
  uses: number;
}

/** Keys at once; a request beyond that is served without being remembered. */
const MAX_KEYS = 20_000;

/**
 * Requests by trace id and by request id. Constant time.
 *
 * Requests of one trace (a caller that asks twice within it) share one entry: the latest deadline counts, because cutting a call
 * short that somebody waits for is worse than one that runs on; the class is the lesser one.
 */
export class Hops {
  readonly #byTrace = new Map<string, Hop>();
  readonly #byRequest = new Map<string, Hop>();

  /**
   * @param traceId  `''` for none
   * @returns        null when too many are remembered already
   */
  enter(traceId: string, requestId: string, deadlineAt: number, trafficClass: TrafficClass): Hop | null {
    const known = this.#byTrace.get(traceId) ?? this.#byRequest.get(requestId);
    if (known === undefined && this.#byRequest.size >= MAX_KEYS) return null;
    const hop = known ?? { deadlineAt, trafficClass, isRetryDone: false, uses: 0 };
    hop.uses += 1;
    hop.deadlineAt = Math.max(hop.deadlineAt, deadlineAt);
    hop.trafficClass = lesserClass(hop.trafficClass, trafficClass);
    if (traceId !== '') this.#byTrace.set(traceId, hop);
    this.#byRequest.set(requestId, hop);
    return hop;
  }

  /** The answer to the request went out. */
  leave(hop: Hop, traceId: string, requestId: string): void {
    hop.uses -= 1;
    // Of several requests within one trace each has its own request id, and the last one takes the trace away.
    if (this.#byRequest.get(requestId) === hop) this.#byRequest.delete(requestId);
    if (hop.uses === 0 && this.#byTrace.get(traceId) === hop) this.#byTrace.delete(traceId);
  }

  /** The request on whose behalf a call is made, or null. */
  find(traceId: string, requestId: string): Hop | null {
    return this.#byTrace.get(traceId) ?? this.#byRequest.get(requestId) ?? null;
  }

  get size(): number {
    return this.#byTrace.size + this.#byRequest.size;
  }
}
