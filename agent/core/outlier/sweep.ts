// Decides, for the endpoints of one service at one instant, who is ejected, probed, reinstated. Pure: reads statistics and
// returns decisions; apply.ts writes them. O(endpoints).

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Random } from '../../clock.ts';
import type { EndpointView } from '../snapshot.ts';
import type { EndpointStats } from '../stats.ts';
import { describeEjection, describeOverflow, describeReinstatement } from './sentence.ts';

/** Label-safe words; `outrigger_ejections_total{reason}`. */
export type EjectionReason = 'consecutive_5xx' | 'consecutive_gateway' | 'consecutive_local_origin' | 'probe_failed';

export type Decision =
  /** Out until now + durationMs. */
  | {
      readonly kind: 'eject';
      readonly view: EndpointView;
      readonly reason: EjectionReason;
      readonly multiplier: number;
      readonly durationMs: number;
      readonly text: string;
    }
  /** A detector fired but the ceiling is reached. Decided once per run of failures. */
  | { readonly kind: 'overflow'; readonly view: EndpointView; readonly reason: EjectionReason; readonly text: string }
  /** The ejection time is over: the next pick sends one live request. */
  | { readonly kind: 'probe'; readonly view: EndpointView }
  | { readonly kind: 'reinstate'; readonly view: EndpointView; readonly text: string }
  /** Quiet intervals taken off the multiplier. */
  | { readonly kind: 'calm'; readonly view: EndpointView; readonly multiplier: number; readonly quietSince: number };

/** How many of how many are out, and how many may be; what a sentence says last. */
export interface Ceiling {
  out: number;
  readonly total: number;
  readonly limit: number;
}

type OutlierPolicy = EffectivePolicy['outlierDetection'];

/**
 * 1. A finished probe reinstates, or ejects again for longer; both regardless of the ceiling, the endpoint was out already.
 * 2. An ejection whose time is over becomes a probe.
 * 3. A quiet interval since the last reinstatement takes one off the multiplier.
 * 4. Detectors: a serving endpoint with a full run of failures is ejected while fewer than the ceiling are out and another
 *    one serves; otherwise it stays and overflows.
 *
 * Ejection time = min(base × multiplier, max), fixed when it begins; the multiplier grows only while base × multiplier < max,
 * as in Envoy. Probing endpoints count as out.
 *
 * @param endpoints  all endpoints of the service, states included
 * @param random     drawn once when more endpoints are to be ejected than the ceiling has room for: then the first in the
 *                   list must not always be the one
 */
export function decideSweep(
  endpoints: readonly EndpointView[],
  policy: EffectivePolicy,
  now: number,
  random: Random,
): Decision[] {
  const outlier = policy.outlierDetection;
  const decisions: Decision[] = [];
  const ceiling = countOut(endpoints, outlier.maxEjectionPercent);
  const suspects: EndpointView[] = [];
  for (const view of endpoints) {
    const decision = reconsider(view, outlier, ceiling, now);
    if (decision !== null) decisions.push(decision);
    if (view.stats.state === 'serving' && fullRun(view.stats, outlier) !== null) suspects.push(view);
  }
  const hasRoomForAll = suspects.length <= Math.max(0, ceiling.limit - ceiling.out);
  const first = hasRoomForAll ? 0 : Math.floor(random() * suspects.length);
  for (let nth = 0; nth < suspects.length; nth++) {
    const view = suspects[(first + nth) % suspects.length];
    if (view === undefined) continue;
    const decision = accuse(view, outlier, ceiling, now);
    if (decision !== null) decisions.push(decision);
  }
  return decisions;
}

/**
 * Endpoints that may be out at once: max(1, floor(percent × N / 100)), at most N − 1; 0 percent turns ejection off.
 * 34 % of 3, 5, 9 endpoints: 1, 1, 3.
 */
export function ejectionLimit(endpointCount: number, maxEjectionPercent: number): number {
  if (maxEjectionPercent === 0) return 0;
  const share = Math.max(1, Math.floor((maxEjectionPercent * endpointCount) / 100));
  return Math.max(0, Math.min(endpointCount - 1, share));
}

/** Multiplier at `now`: one less for each whole interval without an ejection since `quietSince`. */
function calmedMultiplier(stats: EndpointStats, intervalMs: number, now: number): number {
  const quietIntervals = Math.floor((now - stats.quietSince) / intervalMs);
  return Math.max(0, stats.ejectionMultiplier - Math.max(0, quietIntervals));
}

function countOut(endpoints: readonly EndpointView[], maxEjectionPercent: number): Ceiling {
  let out = 0;
  let total = 0;
  for (const { stats } of endpoints) {
    if (stats.state !== 'draining') total++;
    if (stats.state === 'ejected' || stats.state === 'probing') out++;
  }
  return { out, total, limit: ejectionLimit(total, maxEjectionPercent) };
}

/** Rules 1 to 3. */
function reconsider(view: EndpointView, outlier: OutlierPolicy, ceiling: Ceiling, now: number): Decision | null {
  const { stats } = view;
  if (stats.state === 'probing' && stats.probeVerdict === 'failed')
    return eject(view, 'probe_failed', outlier, ceiling, now);
  if (stats.state === 'probing' && stats.probeVerdict === 'passed') {
    ceiling.out--;
    return { kind: 'reinstate', view, text: describeReinstatement(view, ceiling, now) };
  }
  if (stats.state === 'ejected' && now >= stats.ejectedUntil) return { kind: 'probe', view };
  if (stats.state !== 'serving' || stats.ejectionMultiplier === 0) return null;
  const multiplier = calmedMultiplier(stats, outlier.intervalMs, now);
  if (multiplier === stats.ejectionMultiplier) return null;
  const quietSince = now - ((now - stats.quietSince) % outlier.intervalMs);
  return { kind: 'calm', view, multiplier, quietSince };
}

/** Rule 4. Every endpoint that is neither out nor draining serves, so total − out is the number that serve. */
function accuse(view: EndpointView, outlier: OutlierPolicy, ceiling: Ceiling, now: number): Decision | null {
  const reason = fullRun(view.stats, outlier);
  if (reason === null) return null;
  if (ceiling.out < ceiling.limit) {
    ceiling.out++;
    return eject(view, reason, outlier, ceiling, now);
  }
  if (view.stats.isOverflowing) return null;
  return { kind: 'overflow', view, reason, text: describeOverflow(view, reason, ceiling) };
}

function fullRun(stats: EndpointStats, outlier: OutlierPolicy): EjectionReason | null {
  if (isFull(stats.consecutive5xx, outlier.consecutive5xxErrors)) return 'consecutive_5xx';
  if (isFull(stats.consecutiveGateway, outlier.consecutiveGatewayErrors)) return 'consecutive_gateway';
  if (isFull(stats.consecutiveLocalOrigin, outlier.consecutiveLocalOriginFailures)) return 'consecutive_local_origin';
  return null;
}

function isFull(count: number, threshold: number): boolean {
  return threshold > 0 && count >= threshold;
}

function eject(
  view: EndpointView,
  reason: EjectionReason,
  { baseEjectionTimeMs, maxEjectionTimeMs, intervalMs }: OutlierPolicy,
  ceiling: Ceiling,
  now: number,
): Decision {
  const { stats } = view;
  const former = reason === 'probe_failed' ? stats.ejectionMultiplier : calmedMultiplier(stats, intervalMs, now);
  const multiplier = former === 0 || former * baseEjectionTimeMs < maxEjectionTimeMs ? former + 1 : former;
  const durationMs = Math.min(baseEjectionTimeMs * multiplier, maxEjectionTimeMs);
  const text = describeEjection(view, reason, { multiplier, durationMs }, ceiling);
  return { kind: 'eject', view, reason, multiplier, durationMs, text };
}
