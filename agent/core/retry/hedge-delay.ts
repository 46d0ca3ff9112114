// How long a service usually takes to answer, so that a second copy is sent only to requests that are slower than most. Owns two
// histograms that take turns.

/** Buckets grow by a tenth: a percentile is at most 10 % too high. 120 of them reach from 0.1 ms to 9.3 s. */
const GROWTH = 1.1;
const FIRST_MS = 0.1;
const BUCKETS = 120;
const LOG_GROWTH = Math.log(GROWTH);
/** A histogram is filled for this long, then read while the next one is filled. */
const TURN_MS = 3000;
/** Fewer answers say nothing about a percentile. */
const MIN_SAMPLES = 20;

/**
 * Of one service. Constant time to record; O(buckets) to ask.
 *
 * @see Finagle BackupRequestFilter, which refreshes its percentile every 3 s as well
 */
export class HedgeDelay {
  #filling = new Uint32Array(BUCKETS);
  #filled = new Uint32Array(BUCKETS);
  #filledCount = 0;
  #fillingCount = 0;
  /** Monotonic ms; -1 before the first answer. */
  #turnAt = -1;

  record(latencyMs: number, now: number): void {
    this.#turn(now);
    const bucket = latencyMs <= FIRST_MS ? 0 : Math.ceil(Math.log(latencyMs / FIRST_MS) / LOG_GROWTH);
    const at = Math.min(BUCKETS - 1, Number.isNaN(bucket) ? BUCKETS - 1 : bucket);
    this.#filling[at] = (this.#filling[at] ?? 0) + 1;
    this.#fillingCount += 1;
  }

  /**
   * The time within which `percentile` percent of the answers of the last turn came, at least `minDelayMs`; null while too few are
   * known, and when the last turn is long past.
   */
  delayMs(percentile: number, minDelayMs: number, now: number): number | null {
    this.#turn(now);
    if (this.#filledCount < MIN_SAMPLES) return null;
    const wanted = (percentile / 100) * this.#filledCount;
    let seen = 0;
    let at = 0;
    while (at < BUCKETS - 1) {
      seen += this.#filled[at] ?? 0;
      if (seen >= wanted) break;
      at += 1;
    }
    return Math.max(minDelayMs, FIRST_MS * GROWTH ** at);
  }

  #turn(now: number): void {
    if (this.#turnAt < 0) this.#turnAt = now + TURN_MS;
    if (now < this.#turnAt) return;
    const isStale = now >= this.#turnAt + TURN_MS;
    const done = this.#filling;
    this.#filling = this.#filled;
    this.#filling.fill(0);
    this.#filled = isStale ? done.fill(0) : done;
    this.#filledCount = isStale ? 0 : this.#fillingCount;
    this.#fillingCount = 0;
    this.#turnAt = now + TURN_MS;
  }
}
