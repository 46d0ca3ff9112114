// Latencies of one edge. Owns the arithmetic of buckets; recording is two array increments and allocates nothing.

/** Bounds of the published buckets, seconds; inclusive, as Prometheus has it. One more bucket takes what is longer. */
export const BUCKET_BOUNDS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;

/** Steps per doubling: a value is known to 1/32 of itself, or to 1 µs when that is more. */
const STEPS_LOG2 = 5;
const STEPS = 1 << STEPS_LOG2;
/** Longest value that is told apart, µs (35.8 min); longer ones count as this. */
const MAX_MICROS = 2 ** 31 - 1;
const FINE_BUCKETS = fineIndex(MAX_MICROS) + 1;
const BOUNDS_MS = BUCKET_BOUNDS_SECONDS.map((seconds) => seconds * 1000);
/** For each fine bucket the first published bucket that a value in it can belong to. */
const FIRST_PUBLISHED = Uint8Array.from(
  { length: FINE_BUCKETS },
  (_, index) => BOUNDS_MS.filter((bound) => bound < fineLowerMicros(index) / 1000).length,
);

/**
 * Log-linear histogram: 0–63 µs one bucket a microsecond, then 32 buckets a doubling. Quantiles come from the fine buckets
 * and are off by at most one bucket's width; published buckets are counted exactly, not derived from the fine ones.
 */
export class LatencyHistogram {
  readonly #fine = new Float64Array(FINE_BUCKETS);
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
    const micros = ms * 1000 < MAX_MICROS ? (ms * 1000) | 0 : MAX_MICROS;
    const index = fineIndex(micros);
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

  /**
   * Nearest-rank quantile in ms, the middle of its fine bucket; null without samples. O(buckets).
   *
   * @param quantile in (0, 1]
   */
  quantile(quantile: number): number | null {
    if (this.#count === 0) return null;
    const rank = Math.max(1, Math.ceil(quantile * this.#count));
    let seen = 0;
    for (let index = 0; index < FINE_BUCKETS; index++) {
      seen += this.#fine[index] ?? 0;
      if (seen >= rank) return (fineLowerMicros(index) + fineWidthMicros(index) / 2) / 1000;
    }
    return MAX_MICROS / 1000;
  }
}

/** Width of the bucket that a value falls into, ms: the error bound of a quantile there. */
export function bucketWidthMs(durationMs: number): number {
  return fineWidthMicros(fineIndex(Math.min(MAX_MICROS, Math.max(0, Math.floor(durationMs * 1000))))) / 1000;
}

/** `micros` is an integer in [0, 2^31). The top six bits of a value choose the bucket. */
function fineIndex(micros: number): number {
  const shift = Math.max(0, 31 - STEPS_LOG2 - Math.clz32(micros));
  return (shift << STEPS_LOG2) + (micros >>> shift);
}

function fineLowerMicros(index: number): number {
  if (index < 2 * STEPS) return index;
  const shift = (index >>> STEPS_LOG2) - 1;
  return (index - (shift << STEPS_LOG2)) * 2 ** shift;
}

function fineWidthMicros(index: number): number {
  return index < 2 * STEPS ? 1 : 2 ** ((index >>> STEPS_LOG2) - 1);
}
