// Rates and shares from cumulative counters: differences between samples of the last minute, with restarts of the
// counting side recognised. Instants are monotonic ms.

/** Cumulative counts of one edge or endpoint. */
export interface Counts {
  readonly requests: number;
  readonly successes: number;
  readonly retries: number;
}

export const NO_COUNTS: Counts = { requests: 0, successes: 0, retries: 0 };
export const WINDOW_MS = 60_000;
/** Rates are of the last seconds, so that a table moves when traffic does. */
export const RATE_WINDOW_MS = 10_000;
/** Samples kept per counter: reports come 2 s apart, or early at times; beyond one a second older ones are thinned out. */
const SAMPLE_EVERY_MS = 1_000;

interface Sample {
  readonly at: number;
  readonly total: Counts;
}

/** What can be read of a counter. */
export interface CounterReading {
  readonly total: Counts;
  within(windowMs: number, now: number): { readonly counts: Counts; readonly spanMs: number };
}

/** One counter's recent past, as far back as it is asked about. The total only grows: a restart of the agent starts a new run on top of the old one. */
export class Counter implements CounterReading {
  readonly #samples: Sample[] = [];
  readonly #windowMs: number;
  #last: Counts = NO_COUNTS;
  #total: Counts = NO_COUNTS;

  /** @param windowMs  the longest that `within` will be asked for; each sample is memory */
  constructor(windowMs = WINDOW_MS) {
    this.#windowMs = windowMs;
  }

  /** Everything counted since this counter was first seen, its first value included. */
  get total(): Counts {
    return this.#total;
  }

  /**
   * Takes the newest cumulative value.
   *
   * @param isNewLife  the counting side is known to have started again from zero
   * @returns what was added by it; a value that went backwards means a restart too, and then all of it was added
   */
  record(counts: Counts, now: number, isNewLife = false): Counts {
    const isBackwards = counts.requests < this.#last.requests || counts.successes < this.#last.successes;
    const added = isNewLife || isBackwards ? counts : subtract(counts, this.#last);
    this.#last = counts;
    this.#total = add(this.#total, added);
    // The first value covers an unknown stretch of time, so for rates it is only the base line, never a burst.
    this.#samples.push({ at: now, total: this.#total });
    this.#trim(now);
    return added;
  }

  /** Keeps the counts and drops the recent past. */
  rest(): void {
    this.#samples.length = 0;
  }

  /**
   * What was added within the last `windowMs`, measured from sample to sample, and over how many ms.
   * A counter that fell silent keeps its rate until its last samples leave the window, and then shows nothing.
   */
  within(windowMs: number, now: number): { readonly counts: Counts; readonly spanMs: number } {
    const last = this.#samples.at(-1);
    let base = this.#samples[0];
    if (last === undefined || base === undefined) return { counts: NO_COUNTS, spanMs: 0 };
    for (const sample of this.#samples) if (sample.at <= now - windowMs) base = sample;
    return { counts: subtract(last.total, base.total), spanMs: last.at - base.at };
  }

  #trim(now: number): void {
    while (this.#samples.length > 2 && (this.#samples[1]?.at ?? now) <= now - this.#windowMs) this.#samples.shift();
    if (this.#samples.length > this.#windowMs / SAMPLE_EVERY_MS + 4) this.#samples.splice(1, 1);
  }
}

export function add(a: Counts, b: Counts): Counts {
  return { requests: a.requests + b.requests, successes: a.successes + b.successes, retries: a.retries + b.retries };
}

function subtract(a: Counts, b: Counts): Counts {
  return {
    requests: Math.max(0, a.requests - b.requests),
    successes: Math.max(0, a.successes - b.successes),
    retries: Math.max(0, a.retries - b.retries),
  };
}
