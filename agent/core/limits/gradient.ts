// How many requests an application answers at once without making them wait, found from nothing but its latencies. Owns the
// limit; who is held back is the gate's affair.

import type { LimitSettings } from '#contract/policy/limits.ts';
import type { EffectivePolicy } from '#contract/policy/policy.ts';

type AdaptiveSettings = LimitSettings['adaptiveConcurrency'];

/** Latencies of one window that are compared; further ones take the place of a random-like earlier one. */
const MAX_SAMPLES = 256;
/** A window with fewer answers says nothing. */
const MIN_SAMPLES = 10;
/** So often the best latency is measured anew … */
const MEASURE_EVERY = 30;
/** … in the second of two windows with half of the limit: the first lets what was begun before come to its end. */
const MEASURING_WINDOWS = 2;
/** A sample that never came (timeout) shrinks the limit by this, once a window. */
const DROP_FACTOR = 0.9;

/**
 * The limit for the next window:
 *
 *   gradient = best × (1 + buffer) / sample, within 0.5 … 2
 *   limit    = gradient × limit + √limit
 *
 * From a limit of 100 with a best of 10 ms and a buffer of 25 %, samples of 10, 12.5 and 25 ms give 135, 110 and 60.
 *
 * @see Envoy, adaptive concurrency filter (gradient controller)
 */
export function nextLimit(limit: number, bestMs: number, sampleMs: number, bufferPercent: number): number {
  const gradient = Math.min(2, Math.max(0.5, (bestMs * (1 + bufferPercent / 100)) / sampleMs));
  return gradient * limit + Math.sqrt(limit);
}

/**
 * The best latency is the least median that a window had since it was last measured anew. Envoy measures it by holding concurrency
 * down to 3, which costs requests; here half of the limit is enough, because the limit settles at less than one and a half times
 * what the application can do at once, so that half of it meets no queue. Were it far above, each measurement would still bring it
 * down, step by step. An application that uses less than half feels nothing.
 *
 * The limit grows only while at least half of it was used (Netflix): an idle application proves nothing.
 *
 * Constant time but for one sort of at most 256 numbers a window.
 */
export class GradientLimit {
  #settings: AdaptiveSettings = {
    isEnabled: false,
    initialLimit: 20,
    minLimit: 4,
    maxLimit: 1000,
    bufferPercent: 25,
    windowMs: 1000,
  };
  #limit = 20;
  #hasMeasured = false;
  #bestMs = 0;
  /** Windows since the best latency was last measured anew; the first MEASURING_WINDOWS of each round measure. */
  #windows = MEASURING_WINDOWS;
  readonly #samples = new Float64Array(MAX_SAMPLES);
  #sampleCount = 0;
  #mostInFlight = 0;
  #hasDropped = false;
  /** Monotonic ms; -1 before the first sample. */
  #windowEndsAt = -1;

  configure({ limits }: EffectivePolicy): void {
    this.#settings = limits.adaptiveConcurrency;
    if (!this.#hasMeasured) this.#limit = this.#settings.initialLimit;
    this.#limit = this.#bounded(this.#limit);
  }

  /** Requests in flight that are allowed now. */
  get limit(): number {
    return this.#isMeasuring ? Math.max(this.#settings.minLimit, Math.floor(this.#limit / 2)) : Math.floor(this.#limit);
  }

  get #isMeasuring(): boolean {
    return this.#windows < MEASURING_WINDOWS;
  }

  /** Least median that a window had since the last measurement; 0 before the first. */
  get bestMs(): number {
    return this.#bestMs;
  }

  /**
   * An answer came, or did not within its time.
   *
   * @param inFlight  requests in flight, this one included
   */
  record(latencyMs: number, isDropped: boolean, inFlight: number, now: number): void {
    if (this.#windowEndsAt < 0) this.#windowEndsAt = now + this.#settings.windowMs;
    if (isDropped) this.#hasDropped = true;
    else if (latencyMs >= 0) {
      this.#samples[this.#sampleCount % MAX_SAMPLES] = latencyMs;
      this.#sampleCount += 1;
    }
    if (inFlight > this.#mostInFlight) this.#mostInFlight = inFlight;
    if (now >= this.#windowEndsAt) this.#endWindow(now);
  }

  #endWindow(now: number): void {
    const isEnough = this.#sampleCount >= MIN_SAMPLES;
    if (this.#isMeasuring) {
      if (isEnough && this.#windows === MEASURING_WINDOWS - 1) this.#bestMs = this.#median();
    } else if (isEnough) this.#follow(this.#median());
    if (this.#hasDropped) this.#limit = this.#bounded(this.#limit * DROP_FACTOR);
    this.#sampleCount = 0;
    this.#mostInFlight = 0;
    this.#hasDropped = false;
    this.#windows = (this.#windows + 1) % MEASURE_EVERY;
    this.#windowEndsAt = now + this.#settings.windowMs;
  }

  #follow(sampleMs: number): void {
    if (!this.#hasMeasured || sampleMs < this.#bestMs) this.#bestMs = sampleMs;
    this.#hasMeasured = true;
    // A median of 0 (a clock that is too coarse) is as good as the best.
    const next = sampleMs <= 0 ? this.#limit + Math.sqrt(this.#limit) : this.#next(sampleMs);
    if (next > this.#limit && this.#mostInFlight * 2 < this.#limit) return;
    this.#limit = this.#bounded(next);
  }

  #next(sampleMs: number): number {
    return nextLimit(this.#limit, this.#bestMs, sampleMs, this.#settings.bufferPercent);
  }

  #median(): number {
    const kept = this.#samples.subarray(0, Math.min(this.#sampleCount, MAX_SAMPLES)).slice().sort();
    return kept[kept.length >> 1] ?? 0;
  }

  #bounded(limit: number): number {
    return Math.min(this.#settings.maxLimit, Math.max(this.#settings.minLimit, limit));
  }
}
