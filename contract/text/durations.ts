// Durations and rates as people write them, and the milliseconds and per-second numbers that the code works with.

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const PER_SECOND = { s: 1, m: 1 / 60, h: 1 / 3_600 } as const;

/** Form of one duration, for JSON Schema; `parseDuration` accepts exactly this. */
export const DURATION_PATTERN = '^(0|[0-9]{1,9}(\\.[0-9]{1,3})?(ms|s|m|h|d))$';
/** Form of one rate, for JSON Schema; `parseRate` accepts exactly this. */
export const RATE_PATTERN = '^[0-9]{1,9}(\\.[0-9]{1,3})?/(s|m|h)$';

const DURATION = new RegExp(DURATION_PATTERN);
const RATE = new RegExp(RATE_PATTERN);

/**
 * Milliseconds of `250ms`, `15s`, `1.5m`, `1h`, `1d` or `0`; null for anything else (a sign, a space, a missing unit).
 * Fractions of a millisecond are rounded.
 */
export function parseDuration(text: string): number | null {
  if (!DURATION.test(text)) return null;
  if (text === '0') return 0;
  const unit = /[a-z]+$/.exec(text)?.[0] as keyof typeof UNIT_MS; // the pattern allows no other unit
  return Math.round(Number(text.slice(0, -unit.length)) * UNIT_MS[unit]);
}

/** The shortest exact spelling of a whole number of milliseconds: 15000 → `15s`, 1500 → `1500ms`, 0 → `0s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`;
  }
  return `${ms}ms`;
}

/** Events per second of `3/s`, `30/m` or `100/h`; null for anything else. */
export function parseRate(text: string): number | null {
  if (!RATE.test(text)) return null;
  const [count, unit] = text.split('/');
  return Number(count) * PER_SECOND[unit as keyof typeof PER_SECOND]; // the pattern allows no other unit
}
