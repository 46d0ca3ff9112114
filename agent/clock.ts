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

export const systemRandom: Random = Math.random;
