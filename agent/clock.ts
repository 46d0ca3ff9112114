// The only two files of the agent that may know real time and chance are this one and config.ts. Everything else is told.

/** Time and chance, passed in so that a test can own both. */
export interface Clock {
  /** Monotonic milliseconds, fractions included; the origin is arbitrary. */
  now(): number;
  /** Wall-clock milliseconds since 1970; only for logs, reports and files. */
  epochMs(): number;
}

/** Uniform in [0, 1). */
export type Random = () => number;

export const systemClock: Clock = {
  now: () => performance.now(),
  epochMs: () => Date.now(),
};

/** What a clock that was set makes of the offset; less is the whole milliseconds of the one against the fractions of the other. */
const CLOCK_WAS_SET_MS = 10;

/**
 * What has to be added to monotonic ms to make them ms since 1970. The same at every call until the wall clock is set, so that
 * one moment has one date however often it is asked for.
 */
export function createEpochOffset(clock: Clock): () => number {
  let offsetMs = Number.NEGATIVE_INFINITY;
  return () => {
    const seenMs = clock.epochMs() - clock.now();
    if (Math.abs(seenMs - offsetMs) > CLOCK_WAS_SET_MS) offsetMs = seenMs;
    return offsetMs;
  };
}

export const systemRandom: Random = Math.random;
