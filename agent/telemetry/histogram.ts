// Latencies of one edge. Owns the published buckets; recording is two array increments and allocates nothing.

import { BUCKETS, bucketLowerMicros, bucketOfMs, type LatencySketch, sketchOf } from '#contract/latency-sketch.ts';

/** Bounds of the published buckets, seconds; inclusive, as Prometheus has it. One more bucket takes what is longer. */
export const BUCKET_BOUNDS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;

const BOUNDS_MS = BUCKET_BOUNDS_SECONDS.map((seconds) => seconds * 1000);
/** For each fine bucket the first published bucket that a value in it can belong to. */
const FIRST_PUBLISHED = Uint8Array.from(
  { length: BUCKETS },
  (_, index) => BOUNDS_MS.filter((bound) => bound < bucketLowerMicros(index) / 1000).length,
);

/**
 * Log-linear histogram. Quantiles come from the fine buckets, those of a sketch; published buckets are counted exactly, not
 * derived from the fine ones.
 */
export class LatencyHistogram {
  readonly #fine = new Float64Array(BUCKETS);
  readonly #published = new Float64Array(BOUNDS_MS.length + 1);
  #count = 0;
  #sumMs = 0;

  get count(): number {
    return this.#count;
  }

  get sumMs(): number {
    return this.#sumMs;
  }

  /** @param durationMs anything that is not a positive number counts as 0 */
  record(durationMs: number): void {
    let ms = 0;
    if (durationMs > 0) ms = durationMs;
    const index = bucketOfMs(ms);
    this.#fine[index] = (this.#fine[index] ?? 0) + 1;
    let bucket = FIRST_PUBLISHED[index] ?? 0;
    // A fine bucket is narrower than any published one, so at most one bound lies inside it.
    if (ms > (BOUNDS_MS[bucket] ?? Number.POSITIVE_INFINITY)) bucket++;
    this.#published[bucket] = (this.#published[bucket] ?? 0) + 1;
    this.#count++;
    this.#sumMs += ms;
  }

  /** Samples at or below each bound, ending with all of them (`le="+Inf"`). */
  cumulative(): number[] {
    let total = 0;
    return Array.from(this.#published, (count) => {
      total += count;
      return total;
    });
  }

  /** Everything recorded, in the form that can be added up. O(buckets). */
  sketch(): LatencySketch {
    return sketchOf(this.#fine);
  }
}
