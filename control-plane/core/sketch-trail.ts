// The recent part of latencies that are reported as everything since the start. Instants are monotonic ms.

import { EMPTY_SKETCH, type LatencySketch, sketchCount, subtractSketch } from '#contract/latency-sketch.ts';

/** How often the base of what is recent moves on. */
const MARK_EVERY_MS = 30_000;

/**
 * Keeps two earlier values and no more: a fleet has many of these. What is recent is what came since the older one, so it covers the last
 * 30 to 60 s; in the first minute it is everything, what was counted before it was heard of included.
 */
export class SketchTrail {
  #older = EMPTY_SKETCH;
  #newer = EMPTY_SKETCH;
  #markedAt = Number.NEGATIVE_INFINITY;
  #last = EMPTY_SKETCH;

  /** @param isNewLife  the counting side is known to have started again from nothing */
  record(sketch: LatencySketch, now: number, isNewLife: boolean): void {
    if (isNewLife || sketchCount(sketch) < sketchCount(this.#last)) {
      this.#older = EMPTY_SKETCH;
      this.#newer = EMPTY_SKETCH;
      this.#markedAt = Number.NEGATIVE_INFINITY;
    }
    if (this.#markedAt === Number.NEGATIVE_INFINITY) this.#markedAt = now;
    else if (now - this.#markedAt >= MARK_EVERY_MS) {
      // After a silence of a minute the last value is itself older than that.
      this.#older = now - this.#markedAt >= 2 * MARK_EVERY_MS ? this.#last : this.#newer;
      this.#newer = sketch;
      this.#markedAt = now;
    }
    this.#last = sketch;
  }

  /** Everything since the start of the counting side. */
  get total(): LatencySketch {
    return this.#last;
  }

  recent(): LatencySketch {
    return subtractSketch(this.#last, this.#older);
  }
}
