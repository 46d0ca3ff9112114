// Decides, for the endpoints of one service at one instant, who is ejected, probed, reinstated. Pure: reads statistics and
// returns decisions; apply.ts writes them. O(endpoints).

import type { OutlierPolicy } from '#contract/policy/outlier.ts';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Random } from '../../clock.ts';
import type { EndpointView } from '../snapshot.ts';
import type { EndpointStats } from '../stats.ts';
import { isAdvised, SUSPECT_AFTER } from './advice.ts';
import { describeDetection, describeEjection, describeOverflow, describeReinstatement } from './sentence.ts';
import type { ComparingReason } from './windows.ts';

/** Label-safe words; `outrigger_ejections_total{reason}`. */
export type EjectionReason = DetectorReason | 'probe_failed' | OperatorReason;
/** A person said so (operator.ts): out like any ejected endpoint, or for maintenance. */
export type OperatorReason = 'operator' | 'operator_drain';
export type DetectorReason = ConsecutiveReason | ComparingReason | 'health_check_failed' | 'advised';
export type ConsecutiveReason = 'consecutive_5xx' | 'consecutive_gateway' | 'consecutive_local_origin';

export type ReturnReason = 'probe_passed' | 'health_check_passed' | 'operator';

/** One detector's finding about one endpoint. */
export interface Accusation {
  readonly reason: DetectorReason;
  /** Percent of such findings that are acted on. */
  readonly enforcing: number;
}

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
  /** A detector fired that is not enforced, or not this time: counted and told. */
  | { readonly kind: 'detect'; readonly view: EndpointView; readonly reason: DetectorReason; readonly text: string }
  /** The ejection time is over: the next pick sends one live request. */
  | { readonly kind: 'probe'; readonly view: EndpointView }
  | { readonly kind: 'reinstate'; readonly view: EndpointView; readonly reason: ReturnReason; readonly text: string }
  /** Quiet intervals taken off the multiplier. */
  | { readonly kind: 'calm'; readonly view: EndpointView; readonly multiplier: number; readonly quietSince: number };

/** How many of how many are out, and how many may be; what a sentence says last. */
export interface Ceiling {
  out: number;
  /** Endpoints with a finding against them. */
  suspects: number;
  readonly total: number;
  readonly limit: number;
}

/** Priority level of an endpoint: each level has a ceiling of its own, so that no detector can empty one. */
export type LevelOf = (view: EndpointView) => number;

export interface SweepRules {
  /** Everything is one level unless told otherwise. */
  readonly levelOf?: LevelOf;
  /** True while the agent cannot trust its own measurement: nobody new is ejected, but by the advice of others. */
  readonly isFrozen?: boolean;
}

/**
 * 1. A finished probe reinstates, or ejects again for longer; both regardless of the ceiling, the endpoint was out already.
 *    So does an active health check that passes after the ejection, when failed checks caused it or the policy says so.
 * 2. An ejection (or a drain) whose time is over becomes a probe, unless active health checks still fail.
 * 3. A quiet interval since the last reinstatement takes one off the multiplier.
 * 4. Detectors: a serving endpoint with a finding against it (a full run of failures, or a comparison at the end of a window)
 *    is ejected while fewer than the ceiling of its level are out and another one serves there; otherwise it stays and
 *    overflows. A finding that is not enforced is told instead; between 0 and 100 percent chance decides once a finding.
 *
 * Ejection time = min(base × multiplier, max) + jitter, fixed when it begins; the multiplier grows only while base ×
 * multiplier < max, as in Envoy. Probing endpoints count as out.
 *
 * @param endpoints  all endpoints of the service, states included
 * @param random     drawn once when more endpoints are to be ejected than the ceiling has room for (then the first in the
 *                   list must not always be the one), once for each finding enforced in part, and once for each jitter
 */
export function decideSweep(
  endpoints: readonly EndpointView[],
  policy: EffectivePolicy,
  now: number,
  random: Random,
  { levelOf = onlyLevel, isFrozen = false }: SweepRules = {},
): Decision[] {
  const outlier = policy.outlierDetection;
  const decisions: Decision[] = [];
  const ceilings = countOut(endpoints, levelOf, outlier.maxEjectionPercent);
  const suspects: { readonly view: EndpointView; readonly ceiling: Ceiling }[] = [];
  for (const view of endpoints) {
    const { stats } = view;
    const isSuspect = stats.state === 'serving' && (isAdvised(stats, now) || (!isFrozen && isAccused(stats, outlier)));
    // Nearly all serve, are accused of nothing and were never out: nothing is to be decided about them.
    if (!isSuspect && stats.state === 'serving' && stats.ejectionMultiplier === 0) continue;
    const ceiling = ceilings.get(levelOf(view));
    if (ceiling === undefined) continue;
    const decision = reconsider(view, outlier, ceiling, now, random);
    if (decision !== null) decisions.push(decision);
    if (!isSuspect) continue;
    suspects.push({ view, ceiling });
    ceiling.suspects++;
  }
  const hasRoomForAll = [...ceilings.values()].every((level) => level.suspects <= Math.max(0, level.limit - level.out));
  const first = hasRoomForAll ? 0 : Math.floor(random() * suspects.length);
  for (let nth = 0; nth < suspects.length; nth++) {
    const suspect = suspects[(first + nth) % suspects.length];
    if (suspect !== undefined) accuse(suspect.view, outlier, suspect.ceiling, now, random, isFrozen, decisions);
  }
  return decisions;
}

function onlyLevel(): number {
  return 0;
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

function countOut(
  endpoints: readonly EndpointView[],
  levelOf: LevelOf,
  maxEjectionPercent: number,
): ReadonlyMap<number, Ceiling> {
  const counts = new Map<number, { out: number; total: number }>();
  for (const view of endpoints) {
    const { state } = view.stats;
    const level = levelOf(view);
    let count = counts.get(level);
    if (count === undefined) {
      count = { out: 0, total: 0 };
      counts.set(level, count);
    }
    if (state !== 'draining') count.total++;
    if (state === 'ejected' || state === 'probing') count.out++;
  }
  const ceilings = new Map<number, Ceiling>();
  for (const [level, { out, total }] of counts) {
    ceilings.set(level, { out, suspects: 0, total, limit: ejectionLimit(total, maxEjectionPercent) });
  }
  return ceilings;
}

/** Rules 1 to 3. */
function reconsider(
  view: EndpointView,
  outlier: OutlierPolicy,
  ceiling: Ceiling,
  now: number,
  random: Random,
): Decision | null {
  const { stats } = view;
  if (stats.state === 'probing' && stats.probeVerdict === 'failed')
    return eject(view, 'probe_failed', outlier, ceiling, now, random);
  if (stats.state === 'probing' && stats.probeVerdict === 'passed') {
    return reinstate(view, 'probe_passed', ceiling, now);
  }
  const isOut = stats.state === 'ejected' || stats.state === 'probing';
  if (isOut && isVouchedFor(stats, outlier, now)) return reinstate(view, 'health_check_passed', ceiling, now);
  const isOver = (stats.state === 'ejected' || stats.state === 'draining') && now >= stats.ejectedUntil;
  if (isOver && stats.health !== 'failing') return { kind: 'probe', view };
  if (stats.state !== 'serving' || stats.ejectionMultiplier === 0) return null;
  const multiplier = calmedMultiplier(stats, outlier.intervalMs, now);
  if (multiplier === stats.ejectionMultiplier) return null;
  const quietSince = now - ((now - stats.quietSince) % outlier.intervalMs);
  return { kind: 'calm', view, multiplier, quietSince };
}

/** What a person ordered lasts as long as they said, whatever a check says. */
function isVouchedFor(
  stats: EndpointStats,
  { successfulActiveHealthCheckUnejectHost }: OutlierPolicy,
  now: number,
): boolean {
  if (stats.ejectionReason === 'operator' && now < stats.ejectedUntil) return false;
  if (stats.health !== 'passing' || stats.checkPassedAt <= stats.ejectedAt) return false;
  return successfulActiveHealthCheckUnejectHost || stats.ejectionReason === 'health_check_failed';
}

function reinstate(
  view: EndpointView,
  reason: Exclude<ReturnReason, 'operator'>,
  ceiling: Ceiling,
  now: number,
): Decision {
  ceiling.out--;
  return { kind: 'reinstate', view, reason, text: describeReinstatement(view, reason, ceiling, now) };
}

/** Rule 4. Every endpoint that is neither out nor draining serves, so total − out is the number that serve. */
function accuse(
  view: EndpointView,
  outlier: OutlierPolicy,
  ceiling: Ceiling,
  now: number,
  random: Random,
  isFrozen: boolean,
  decisions: Decision[],
): void {
  const { stats } = view;
  const advised: Accusation[] = isAdvised(stats, now) ? [{ reason: 'advised', enforcing: 100 }] : [];
  for (const { reason, enforcing } of [...(isFrozen ? [] : accusations(stats, outlier)), ...advised]) {
    // One that overflowed was found to be enforced then; asking chance again at each sweep would make 50 % certain.
    const wasEnforced = stats.isOverflowing && enforcing > 0;
    if (!wasEnforced && !isEnforced(enforcing, random)) {
      decisions.push({ kind: 'detect', view, reason, text: describeDetection(view, reason, enforcing) });
      continue;
    }
    if (ceiling.out < ceiling.limit) {
      ceiling.out++;
      decisions.push(eject(view, reason, outlier, ceiling, now, random));
    } else if (!stats.isOverflowing) {
      decisions.push({ kind: 'overflow', view, reason, text: describeOverflow(view, reason, ceiling) });
    }
    return;
  }
}

/** @param random  asked only between 0 and 100 */
function isEnforced(enforcing: number, random: Random): boolean {
  return enforcing >= 100 || (enforcing > 0 && random() * 100 < enforcing);
}

/** Every finding against the endpoint, the surest first. */
function accusations(stats: EndpointStats, outlier: OutlierPolicy): Accusation[] {
  const found: Accusation[] = [];
  const run = (reason: ConsecutiveReason, count: number, threshold: number, enforcing: number): void => {
    if (isFull(count, threshold)) found.push({ reason, enforcing });
  };
  if (stats.health === 'failing') found.push({ reason: 'health_check_failed', enforcing: 100 });
  const { consecutive5xx, consecutiveGateway, consecutiveLocalOrigin } = stats;
  run('consecutive_5xx', consecutive5xx, outlier.consecutive5xxErrors, outlier.enforcingConsecutive5xx);
  run(
    'consecutive_gateway',
    consecutiveGateway,
    outlier.consecutiveGatewayErrors,
    outlier.enforcingConsecutiveGatewayFailure,
  );
  run(
    'consecutive_local_origin',
    consecutiveLocalOrigin,
    outlier.consecutiveLocalOriginFailures,
    outlier.enforcingConsecutiveLocalOriginFailure,
  );
  found.push(...stats.suspicions);
  return found;
}

/** As accusations(), without making a list: most endpoints of most sweeps have none. */
function isAccused(stats: EndpointStats, outlier: OutlierPolicy): boolean {
  return (
    stats.suspicions.length > 0 ||
    stats.health === 'failing' ||
    isFull(stats.consecutive5xx, outlier.consecutive5xxErrors) ||
    isFull(stats.consecutiveGateway, outlier.consecutiveGatewayErrors) ||
    isFull(stats.consecutiveLocalOrigin, outlier.consecutiveLocalOriginFailures)
  );
}

function isFull(count: number, threshold: number): boolean {
  return threshold > 0 && count >= threshold;
}

function eject(
  view: EndpointView,
  reason: EjectionReason,
  { baseEjectionTimeMs, maxEjectionTimeMs, maxEjectionTimeJitterMs, intervalMs }: OutlierPolicy,
  ceiling: Ceiling,
  now: number,
  random: Random,
): Decision {
  const { stats } = view;
  const former = reason === 'probe_failed' ? stats.ejectionMultiplier : calmedMultiplier(stats, intervalMs, now);
  const multiplier = former === 0 || former * baseEjectionTimeMs < maxEjectionTimeMs ? former + 1 : former;
  const isByAdviceAlone = reason === 'advised' && stats.failuresInARow < SUSPECT_AFTER;
  const jitterMs = maxEjectionTimeJitterMs === 0 ? 0 : random() * maxEjectionTimeJitterMs;
  const ownMs = Math.min(baseEjectionTimeMs * multiplier, maxEjectionTimeMs) + jitterMs;
  const durationMs = isByAdviceAlone && stats.advice !== null ? stats.advice.until - now : ownMs;
  const text = describeEjection(view, reason, { multiplier, durationMs }, ceiling);
  return { kind: 'eject', view, reason, multiplier, durationMs, text };
}
