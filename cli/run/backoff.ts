// How long to wait before a crashed process is started again. Pure.

import type { Random } from '../../agent/clock.ts';

const BASE_MS = 500;
const CAP_MS = 10_000;
/** A process that ran this long has proved itself: its next crash counts as the first. */
export const PROVEN_AFTER_MS = 30_000;

/**
 * Exponential back-off with full jitter: uniform in [0, min(cap, base × 2^(crashes − 1))).
 *
 * Jitter spreads the restarts of many instances that died of the same cause.
 *
 * @param crashes  crashes in a row, at least 1
 * @see Brooker, Exponential Backoff and Jitter (AWS Architecture Blog, 2015)
 */
export function restartDelayMs(crashes: number, random: Random): number {
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** (Math.max(1, crashes) - 1));
}
