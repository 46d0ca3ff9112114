// How long to wait before something that failed is tried again. Pure.

import type { Random } from '../clock.ts';

export interface BackOff {
  /** Longest first wait, ms; it doubles with every further failure. */
  readonly baseMs: number;
  readonly capMs: number;
}

/**
 * Half fixed, half chance: hundreds of agents that lost one server must not come back in the same instant.
 *
 * @param failures failures in a row, from 1
 * @returns ms, between half of min(capMs, baseMs × 2^(failures − 1)) and all of it
 */
export function backOffMs(failures: number, random: Random, { baseMs, capMs }: BackOff): number {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(30, Math.max(0, failures - 1)));
  return full / 2 + (full / 2) * random();
}

/**
 * Full jitter before retry `retry` of one request: anything between 0 and min(maxMs, (2^retry − 1) × baseMs). With 25 and 250 ms
 * that is up to 25, 75, 175, 250 ms.
 *
 * @param retry  from 1
 * @see Envoy, retry_back_off; Brooker, Exponential Backoff and Jitter
 */
export function retryDelayMs(
  retry: number,
  random: Random,
  { baseMs, maxMs }: { readonly baseMs: number; readonly maxMs: number },
): number {
  return random() * Math.min(maxMs, (2 ** Math.min(30, Math.max(1, retry)) - 1) * baseMs);
}
