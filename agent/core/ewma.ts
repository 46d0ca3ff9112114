// Peak-sensitive latency average of one endpoint, and what one more request would cost there. Owns the ewma and penalty
// fields of EndpointStats; knows nothing of choosing or ejecting.

import type { EndpointStats } from './stats.ts';

/** Time constant of both decays: after τ an old value weighs 37 %. 10 s in Finagle, Linkerd and Envoy alike. */
export const TAU_MS = 10_000;

/**
 * What a failure adds to the cost, Linkerd's 5 s. Without it an endpoint that fails fast looks quick and idle, and draws
 * traffic. Linkerd records it as a latency sample; then nothing but time gives the endpoint back: against peers at 5 ms it
 * takes τ · ln(5000 / 5) = 69 s, so one stray 503 in a fleet of two costs half of the capacity for a minute, and a dead
 * endpoint needs five times as long to show five consecutive failures. So here it is kept beside the average: it decays with
 * the same τ, each success halves it, and pick.ts lets a penalised endpoint try now and then. Ten successes (5000 / 2¹⁰)
 * bring it below 5 ms.
 */
export const FAILURE_PENALTY_MS = 5000;

/** Longest Retry-After that is obeyed; Envoy and Linkerd use the same bound. */
export const MAX_RETRY_AFTER_MS = 300_000;

/** Below this a penalty is no longer worth telling endpoints apart for. */
const NEGLIGIBLE_PENALTY_MS = 1;

/** Dearer than any latency or penalty: an endpoint without a sample that is already trying one request. */
const COLD_COST_MS = 1_000_000;

/**
 * Takes in the latency of an attempt that succeeded.
 *
 * latency > average: the average jumps to it. Otherwise average · w + latency · (1 − w), w = exp(−Δt / τ). From 1000 ms with
 * samples of 10 ms the average is 906, 610, 374, 144, 59 ms after 1, 5, 10, 20, 30 s.
 *
 * @see Finagle PeakEwma (Twitter); uneven spacing after Eckner, Algorithms for Unevenly Spaced Time Series
 */
export function recordLatency(stats: EndpointStats, latencyMs: number, now: number): void {
  average(stats, latencyMs, now);
  if (stats.penaltyMs === 0) return;
  const left = penalty(stats, now) / 2;
  stats.penaltyMs = left < NEGLIGIBLE_PENALTY_MS ? 0 : left;
  if (stats.penaltyAt < now) stats.penaltyAt = now;
}

/**
 * Takes in an attempt that failed. Its latency counts only where it raises the average, so that failing fast earns nothing;
 * the penalty is set anew and stays whole until `retryAfterMs` (bounded) is over.
 */
export function recordFailure(stats: EndpointStats, latencyMs: number, retryAfterMs: number, now: number): void {
  recordAtLeast(stats, latencyMs, now);
  stats.penaltyMs = FAILURE_PENALTY_MS;
  stats.penaltyAt = Math.max(stats.penaltyAt, now + Math.min(retryAfterMs, MAX_RETRY_AFTER_MS));
}

/**
 * Takes in an attempt that was given up after `latencyMs` without an answer: the answer would have taken longer. An endpoint
 * without a sample stays without one.
 */
export function recordAtLeast(stats: EndpointStats, latencyMs: number, now: number): void {
  if (stats.ewmaAt >= 0 && latencyMs > stats.ewmaMs) average(stats, latencyMs, now);
}

/**
 * Cost of one more request: (ewma + penalty) × (1 + inFlight / share), both projected to `now` with exp(−Δt / τ); reads write
 * nothing. An endpoint that nobody tries decays towards 0 and so is tried again.
 *
 * Without a sample: nothing but the penalty while no attempt is in flight (it is tried), dearer than anything else while one
 * is (it is not flooded).
 *
 * @param share  weight of the endpoint / mean weight of those picked from
 */
export function cost(stats: EndpointStats, now: number, share = 1): number {
  if (stats.ewmaAt < 0) {
    return stats.inFlight === 0 ? penalty(stats, now) : COLD_COST_MS * (1 + stats.inFlight / share);
  }
  const ewma = stats.ewmaMs * decay(now - stats.ewmaAt);
  return (ewma + penalty(stats, now)) * (1 + stats.inFlight / share);
}

/** True when a failure still weighs on the endpoint and no Retry-After forbids to try it: pick.ts may look whether it is back. */
export function isWorthATry(stats: EndpointStats, now: number): boolean {
  return stats.penaltyMs > 0 && now >= stats.penaltyAt && penalty(stats, now) >= NEGLIGIBLE_PENALTY_MS;
}

function penalty(stats: EndpointStats, now: number): number {
  return stats.penaltyMs === 0 ? 0 : stats.penaltyMs * decay(now - stats.penaltyAt);
}

function average(stats: EndpointStats, latencyMs: number, now: number): void {
  if (stats.ewmaAt < 0 || latencyMs > stats.ewmaMs) stats.ewmaMs = latencyMs;
  else {
    const w = decay(now - stats.ewmaAt);
    stats.ewmaMs = stats.ewmaMs * w + latencyMs * (1 - w);
  }
  stats.ewmaAt = now;
}

function decay(ageMs: number): number {
  return ageMs <= 0 ? 1 : Math.exp(-ageMs / TAU_MS);
}
