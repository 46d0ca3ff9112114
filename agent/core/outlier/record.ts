// Books the beginning and the end of every attempt at its endpoint: load, latency, and the runs of failures that detectors
// watch. Ejects nobody; it only says when a sweep is worth its while.

import { SketchRecorder } from '#contract/latency-sketch.ts';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import { recordAtLeast, recordFailure, recordLatency } from '../ewma.ts';
import type { Outcome } from '../outcome.ts';
import { isStaleConnection } from '../retry/decide.ts';
import { isOwnFailure } from '../self/stalls.ts';
import type { EndpointStats } from '../stats.ts';

/** To be called as soon as the endpoint is picked; the caller keeps `stats.epoch` for endAttempt. */
export function beginAttempt(stats: EndpointStats, _now: number): void {
  stats.inFlight++;
  if (stats.state === 'probing') stats.isProbeInFlight = true;
}

/**
 * To be called exactly once for each beginAttempt. Constant time, allocates nothing but an endpoint's first recorder.
 *
 * What an outcome says about the endpoint:
 * - `response` below 500: success; every run of failures ends. 429 is a success here (the endpoint lives) but costs the
 *   penalty of ewma.ts, and so does its Retry-After.
 * - `response` from 500: a failure of the answer detectors; it ends the run of failures to answer, and unless it is 502, 503
 *   or 504 the gateway run.
 * - no proper answer (connect, reset, timeout, protocol error, a body that broke off): a failure to answer. Says nothing about
 *   the answer detectors.
 * - `overflow`, `canceled`, a stale connection, time that ran out while this process stood still: nothing, except that a canceled attempt was at least that slow.
 *
 * @param epochAtBegin  `stats.epoch` at beginAttempt; an outcome from an older epoch is counted, never judged
 * @returns             true when a detector crossed its threshold (and again at each multiple of it) or a probe ended: sweep
 *                      this service now
 */
export function endAttempt(
  stats: EndpointStats,
  outcome: Outcome,
  epochAtBegin: number,
  policy: EffectivePolicy,
  now: number,
): boolean {
  if (stats.inFlight > 0) stats.inFlight--;
  const isCurrent = epochAtBegin === stats.epoch;
  if (isCurrent && stats.state === 'probing') stats.isProbeInFlight = false;
  if (outcome.kind === 'overflow') return false;
  stats.attempts++;
  const latencyMs = Math.max(0, outcome.latencyMs - outcome.stalledMs);
  if (outcome.kind === 'canceled' || isStaleConnection(outcome) || isOwnFailure(outcome)) {
    if (isCurrent && outcome.kind === 'canceled' && outcome.status === 0) recordAtLeast(stats, latencyMs, now);
    return false;
  }
  const isFailure = outcome.kind !== 'response' || outcome.status >= 500;
  if (isFailure) stats.failures++;
  if (!isCurrent) return false;
  stats.isRefusing = outcome.kind === 'connect_failure';
  // A timeout took at least that long; other failures and a 429 may be quick for a bad reason and say nothing about latency.
  const isTimed = outcome.kind === 'timeout' || (!isFailure && outcome.status !== 429);
  if (isTimed) {
    stats.latency ??= new SketchRecorder();
    stats.latency.record(latencyMs);
  }
  measure(stats, outcome, latencyMs, isFailure, now);
  if (stats.state === 'serving') recordWindow(stats, outcome, isTimed ? latencyMs : null, isFailure);
  return judge(stats, outcome, isFailure, policy);
}

function measure(stats: EndpointStats, outcome: Outcome, latencyMs: number, isFailure: boolean, now: number): void {
  if (isFailure || outcome.status === 429) recordFailure(stats, latencyMs, outcome.retryAfterMs, now);
  else recordLatency(stats, latencyMs, now);
  if (!isFailure) return;
  stats.lastFailureKind = outcome.kind;
  stats.lastFailureStatus = outcome.kind === 'response' ? outcome.status : 0;
}

/** @param latencyMs  null when it says nothing */
function recordWindow(stats: EndpointStats, outcome: Outcome, latencyMs: number | null, isFailure: boolean): void {
  const { rates, latencies } = stats;
  if (outcome.kind !== 'response') rates.failures++;
  else {
    rates.answers++;
    if (isFailure) rates.errors++;
  }
  if (latencyMs !== null) latencies.record(latencyMs);
}

function judge(stats: EndpointStats, outcome: Outcome, isFailure: boolean, policy: EffectivePolicy): boolean {
  // In panic one that is out is used too; it comes back when its time is over, not before.
  if (stats.state === 'ejected' || stats.state === 'draining') return false;
  if (stats.state === 'probing') {
    if (stats.probeVerdict === 'none') stats.probeVerdict = isFailure ? 'failed' : 'passed';
    return true;
  }
  const { consecutive5xxErrors, consecutiveGatewayErrors, consecutiveLocalOriginFailures } = policy.outlierDetection;
  if (!isFailure) {
    stats.failuresInARow = 0;
    stats.consecutive5xx = 0;
    stats.consecutiveGateway = 0;
    stats.consecutiveLocalOrigin = 0;
    if (stats.suspicions.length === 0 && stats.health !== 'failing') stats.isOverflowing = false;
    return false;
  }
  stats.failuresInARow++;
  if (outcome.kind !== 'response') return isCrossing(++stats.consecutiveLocalOrigin, consecutiveLocalOriginFailures);
  stats.consecutiveLocalOrigin = 0;
  stats.consecutive5xx++;
  const isGateway = outcome.status >= 502 && outcome.status <= 504;
  stats.consecutiveGateway = isGateway ? stats.consecutiveGateway + 1 : 0;
  return (
    isCrossing(stats.consecutive5xx, consecutive5xxErrors) ||
    (isGateway && isCrossing(stats.consecutiveGateway, consecutiveGatewayErrors))
  );
}

/** At multiples, not only once: an endpoint that the ceiling saved must be looked at again, but not at every request. */
function isCrossing(count: number, threshold: number): boolean {
  return threshold > 0 && count % threshold === 0;
}
