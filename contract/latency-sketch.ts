// Latencies as counts by bucket that can be added up: what agents report and the control plane merges. Owns the layout of the
// buckets and the form they travel in. Pure.

/** Steps per doubling: a bucket is at most a 32nd of its values wide, and its middle is known to a 64th of them. */
const STEPS_LOG2 = 5;
const STEPS = 1 << STEPS_LOG2;
/** Longest value that is told apart, µs (35.8 min); longer ones count as this. */
export const MAX_MICROS = 2 ** 31 - 1;
export const BUCKETS = bucketOfMicros(MAX_MICROS) + 1;
/** A quantile is off by at most this share of itself, or by half a microsecond when that is more. */
export const RELATIVE_ERROR = 1 / (2 * STEPS);

/**
 * Counts of the buckets that hold any, as pairs: how many buckets after the former one (the first: after none), then the count.
 * `[3, 2, 1, 5]`: two values in bucket 3, five in bucket 4. The empty one is `[]`. At most 2 × BUCKETS numbers.
 */
export type LatencySketch = readonly number[];

export const EMPTY_SKETCH: LatencySketch = [];

/** 0–63 µs have one bucket a microsecond, then 32 buckets a doubling: the top six bits choose. @param micros an integer in [0, 2^31) */
export function bucketOfMicros(micros: number): number {
  const shift = Math.max(0, 31 - STEPS_LOG2 - Math.clz32(micros));
  return (shift << STEPS_LOG2) + (micros >>> shift);
}

/** The bucket of a duration; what is not a positive number counts as 0. */
export function bucketOfMs(durationMs: number): number {
  if (!(durationMs > 0)) return 0;
  return bucketOfMicros(durationMs * 1000 < MAX_MICROS ? (durationMs * 1000) | 0 : MAX_MICROS);
}

export function bucketLowerMicros(bucket: number): number {
  if (bucket < 2 * STEPS) return bucket;
  const shift = (bucket >>> STEPS_LOG2) - 1;
  return (bucket - (shift << STEPS_LOG2)) * 2 ** shift;
}

export function bucketWidthMicros(bucket: number): number {
  return bucket < 2 * STEPS ? 1 : 2 ** ((bucket >>> STEPS_LOG2) - 1);
}

/** Counts as they happen, in 3.5 KB; recording allocates nothing. */
export class SketchRecorder {
  readonly #counts = new Uint32Array(BUCKETS);

  record(durationMs: number): void {
    const bucket = bucketOfMs(durationMs);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  sketch(): LatencySketch {
    return sketchOf(this.#counts);
  }
}

/** @param counts  by bucket, BUCKETS of them */
export function sketchOf(counts: ArrayLike<number>): LatencySketch {
  const sketch: number[] = [];
  let former = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const count = counts[bucket] ?? 0;
    if (count === 0) continue;
    sketch.push(bucket - former, count);
    former = bucket;
  }
  return sketch;
}

/** What is wrong with something that ought to be a sketch, or null. To be asked before any other function here gets it. */
export function sketchFault(value: unknown): string | null {
  if (!Array.isArray(value)) return 'must be a list of numbers';
  if (value.length > 2 * BUCKETS) return `must have at most ${2 * BUCKETS} numbers`;
  if (value.length % 2 !== 0) return 'must be pairs: buckets since the former one, count';
  let bucket = 0;
  let total = 0;
  for (let at = 0; at < value.length; at += 2) {
    const gap: unknown = value[at];
    const count: unknown = value[at + 1];
    if (!isWhole(gap) || (gap === 0 && at > 0)) return `must have buckets in rising order, number ${at} is not`;
    bucket += gap;
    if (bucket >= BUCKETS) return `must have buckets below ${BUCKETS}, number ${at} leads beyond`;
    if (!isWhole(count) || count === 0) return `must have whole counts above 0, number ${at + 1} is not`;
    total += count;
    if (!Number.isSafeInteger(total)) return 'must not count more than 2^53 − 1 values';
  }
  return null;
}

/** All values of all sketches. O(BUCKETS + numbers). */
export function mergeSketches(sketches: Iterable<LatencySketch>): LatencySketch {
  const sum = new Float64Array(BUCKETS);
  let merged: LatencySketch | null = null;
  let count = 0;
  for (const sketch of sketches) {
    if (sketch.length === 0) continue;
    merged = sketch;
    count++;
    addTo(sum, sketch, 1);
  }
  return count <= 1 ? (merged ?? EMPTY_SKETCH) : sketchOf(sum);
}

/** What `newer` has beyond `older`, an earlier value of the same counters; a bucket that has less counts as unchanged. */
export function subtractSketch(newer: LatencySketch, older: LatencySketch): LatencySketch {
  if (older.length === 0) return newer;
  const rest = new Float64Array(BUCKETS);
  addTo(rest, newer, 1);
  addTo(rest, older, -1);
  return sketchOf(rest.map((count) => Math.max(0, count)));
}

export function sketchCount(sketch: LatencySketch): number {
  let count = 0;
  for (let at = 1; at < sketch.length; at += 2) count += sketch[at] ?? 0;
  return count;
}

/** Values above `ms`; those in its own bucket count as above when the middle of the bucket is. */
export function sketchCountAbove(sketch: LatencySketch, ms: number): number {
  let bucket = 0;
  let count = 0;
  for (let at = 0; at < sketch.length; at += 2) {
    bucket += sketch[at] ?? 0;
    if ((bucketLowerMicros(bucket) + bucketWidthMicros(bucket) / 2) / 1000 > ms) count += sketch[at + 1] ?? 0;
  }
  return count;
}

/** Nearest-rank quantile in ms: the middle of its bucket; null without values. @param quantile in (0, 1] */
export function sketchQuantile(sketch: LatencySketch, quantile: number): number | null {
  const rank = Math.max(1, Math.ceil(quantile * sketchCount(sketch)));
  let bucket = 0;
  let seen = 0;
  for (let at = 0; at < sketch.length; at += 2) {
    bucket += sketch[at] ?? 0;
    seen += sketch[at + 1] ?? 0;
    if (seen >= rank) return (bucketLowerMicros(bucket) + bucketWidthMicros(bucket) / 2) / 1000;
  }
  return null;
}

function addTo(sum: Float64Array, sketch: LatencySketch, sign: number): void {
  let bucket = 0;
  for (let at = 0; at < sketch.length; at += 2) {
    bucket += sketch[at] ?? 0;
    sum[bucket] = (sum[bucket] ?? 0) + sign * (sketch[at + 1] ?? 0);
  }
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
