// Time as the registry is told it, and Go's spelling of durations, which is what Consul's clients send.

export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Wall-clock milliseconds since 1970. */
  epochMs(): number;
}

/** Runs `run` once after `delayMs` and returns a function that takes it back; `run` must not throw. */
export type After = (delayMs: number, run: () => void) => () => void;

/** Uniform in [0, 1). */
export type Random = () => number;

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** `1m30s`, `250ms`, `1.5h`, `0` in milliseconds; null for anything Go's time.ParseDuration refuses or that is longer than 1 KiB. */
export function parseGoDuration(text: string): number | null {
  if (text === '0') return 0;
  if (text.length > 1024 || !/^[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(amount) * (UNIT_MS[unit ?? ''] ?? 0);
  }
  return text.startsWith('-') ? -total : total;
}
