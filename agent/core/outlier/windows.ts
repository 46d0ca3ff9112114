// What happened at the endpoints of one service within a window, and whom the comparing detectors suspect at its end. Writes
// only the window fields of the statistics; sweep.ts decides what a suspicion leads to.

import type { OutlierPolicy } from '#contract/policy/outlier.ts';
import type { EndpointView } from '../snapshot.ts';
import type { EndpointStats } from '../stats.ts';
import type { LatencyWindow } from './latency-window.ts';
import { belowThreshold, failingOften, type RateSample, standingOut } from './rates.ts';
import { describeRate, describeSlowness } from './sentence.ts';
import { findSlow } from './slowness.ts';

/** Attempts of one endpoint in one window. */
export interface RateWindow {
  answers: number;
  /** Answers from 500 on. */
  errors: number;
  /** Attempts without a proper answer. */
  failures: number;
}

/** A comparing detector's finding, until its next window. */
export interface Suspicion {
  readonly reason: ComparingReason;
  /** Percent of detections that are acted on. */
  readonly enforcing: number;
  /** What was seen, for the sentence. */
  readonly cause: string;
}

export type ComparingReason = RateReason | 'latency';
export type RateReason =
  | 'robust_success_rate'
  | 'success_rate'
  | 'local_origin_success_rate'
  | 'failure_percentage'
  | 'failure_percentage_local_origin';

/** When the windows of one service began, monotonic ms; -1 before its first sweep. */
export interface ServiceWindows {
  rateOpenedAt: number;
  latencyOpenedAt: number;
}

/** In a row: after the second the weight is halved, which may be all that an overloaded endpoint needs; after the fourth out. */
const SLOW_WINDOWS_TO_HALVE = 2;
const SLOW_WINDOWS_TO_EJECT = 4;
const HALVED = 0.5;
/** An endpoint with too few requests keeps gathering; after so many windows all is forgotten and its weight is whole again. */
const WINDOWS_TO_FORGET = 10;

const NOBODY: readonly Suspicion[] = Object.freeze([]);

export function createServiceWindows(): ServiceWindows {
  return { rateOpenedAt: -1, latencyOpenedAt: -1 };
}

export function createRateWindow(): RateWindow {
  return { answers: 0, errors: 0, failures: 0 };
}

/** When the next window of the service ends; at once before the first was begun. */
export function windowsEndAt({ rateOpenedAt, latencyOpenedAt }: ServiceWindows, outlier: OutlierPolicy): number {
  if (rateOpenedAt < 0) return 0;
  return Math.min(rateOpenedAt + outlier.intervalMs, latencyOpenedAt + outlier.latency.windowMs);
}

/**
 * Ends the windows that are over, writes whom they make suspect, and begins new ones. O(endpoints).
 *
 * @param isTrusted  false: the agent itself was in no state to measure; windows end and nobody is suspected
 * @returns          endpoints whose weight factor changed
 */
export function closeWindows(
  windows: ServiceWindows,
  endpoints: readonly EndpointView[],
  outlier: OutlierPolicy,
  now: number,
  isTrusted: boolean,
): EndpointView[] {
  if (windows.rateOpenedAt < 0) windows.rateOpenedAt = now;
  if (windows.latencyOpenedAt < 0) windows.latencyOpenedAt = now;
  if (now - windows.rateOpenedAt >= outlier.intervalMs) {
    windows.rateOpenedAt = now;
    closeRates(endpoints, outlier, isTrusted);
  }
  if (now - windows.latencyOpenedAt < outlier.latency.windowMs) return [];
  windows.latencyOpenedAt = now;
  return closeLatencies(endpoints, outlier, isTrusted);
}

/** Forgets what was seen: the endpoint's state has changed and earlier attempts do not speak about it any more. */
export function clearWindows(stats: EndpointStats): void {
  clearRates(stats.rates);
  clearRates(stats.formerRates);
  stats.latencies.clear();
  stats.slowWindows = 0;
  stats.unjudgedWindows = 0;
  stats.weightFactor = 1;
  stats.suspicions = NOBODY;
}

/** Ends one detector's finding: it was acted on, or decided not to be. */
export function dropSuspicion(stats: EndpointStats, reason: string): void {
  if (stats.suspicions.length === 0) return;
  const left = stats.suspicions.filter((suspicion) => suspicion.reason !== reason);
  stats.suspicions = left.length === 0 ? NOBODY : left;
}

function closeRates(endpoints: readonly EndpointView[], outlier: OutlierPolicy, isTrusted: boolean): void {
  for (const { stats } of endpoints) {
    // Two windows take turns, so that nothing is allocated and the ended one can be told about.
    const ended = stats.rates;
    stats.rates = stats.formerRates;
    stats.formerRates = ended;
    clearRates(stats.rates);
    if (stats.suspicions.length > 0) stats.suspicions = stats.suspicions.filter(({ reason }) => reason === 'latency');
  }
  const hasFailures = endpoints.some(({ stats }) => stats.formerRates.errors + stats.formerRates.failures > 0);
  if (isTrusted && hasFailures) for (const detector of detectors(outlier)) compare(endpoints, detector);
}

interface RateDetector {
  readonly reason: RateReason;
  readonly enforcing: number;
  readonly minimumHosts: number;
  readonly requestVolume: number;
  readonly sample: (window: RateWindow) => RateSample;
  readonly find: (samples: readonly RateSample[]) => number[];
}

function detectors(outlier: OutlierPolicy): RateDetector[] {
  const { successRate, failurePercentage, robustSuccessRate } = outlier;
  const byMean = (samples: readonly RateSample[]) => belowThreshold(samples, successRate.stdevFactor);
  const byShare = (samples: readonly RateSample[]) => failingOften(samples, failurePercentage.threshold);
  return [
    { ...robustSuccessRate, reason: 'robust_success_rate', sample: allFailures, find: standingOut },
    { ...successRate, reason: 'success_rate', sample: errorAnswers, find: byMean },
    {
      ...successRate,
      enforcing: successRate.enforcingLocalOrigin,
      reason: 'local_origin_success_rate',
      sample: missingAnswers,
      find: byMean,
    },
    { ...failurePercentage, reason: 'failure_percentage', sample: errorAnswers, find: byShare },
    {
      ...failurePercentage,
      enforcing: failurePercentage.enforcingLocalOrigin,
      reason: 'failure_percentage_local_origin',
      sample: missingAnswers,
      find: byShare,
    },
  ];
}

function compare(endpoints: readonly EndpointView[], detector: RateDetector): void {
  const { reason, enforcing, requestVolume } = detector;
  const judged: EndpointStats[] = [];
  const samples: RateSample[] = [];
  let failures = 0;
  for (const { stats } of endpoints) {
    const sample = detector.sample(stats.formerRates);
    if (stats.state !== 'serving' || sample.total < requestVolume) continue;
    judged.push(stats);
    samples.push(sample);
    failures += sample.failures;
  }
  if (failures === 0 || judged.length < detector.minimumHosts) return;
  for (const at of detector.find(samples)) {
    const stats = judged[at];
    const sample = samples[at];
    if (stats === undefined || sample === undefined) continue;
    const cause = describeRate(reason, sample, samples);
    stats.suspicions = [...stats.suspicions, { reason, enforcing, cause }];
  }
}

function allFailures({ answers, errors, failures }: RateWindow): RateSample {
  return { failures: errors + failures, total: answers + failures };
}

function errorAnswers({ answers, errors }: RateWindow): RateSample {
  return { failures: errors, total: answers };
}

function missingAnswers({ answers, failures }: RateWindow): RateSample {
  return { failures, total: answers + failures };
}

function clearRates(window: RateWindow): void {
  window.answers = 0;
  window.errors = 0;
  window.failures = 0;
}

/**
 * Every endpoint with enough samples is judged, and begins anew; the others gather on, so that a starved one is judged too,
 * later. Endpoints are compared within their zone: the way to another one is longer through no fault of theirs.
 */
function closeLatencies(
  endpoints: readonly EndpointView[],
  outlier: OutlierPolicy,
  isTrusted: boolean,
): EndpointView[] {
  const { requestVolume, minimumHosts } = outlier.latency;
  const zones = new Map<string | null, EndpointView[]>();
  const changed: EndpointView[] = [];
  for (const view of endpoints) {
    const { stats } = view;
    if (isTrusted && stats.state === 'serving' && stats.latencies.total >= requestVolume) {
      const zone = zones.get(view.endpoint.zone);
      if (zone === undefined) zones.set(view.endpoint.zone, [view]);
      else zone.push(view);
    } else if (forgetSlowness(stats)) changed.push(view);
  }
  for (const views of zones.values()) {
    if (views.length >= minimumHosts) judgeZone(views, outlier, changed);
    else for (const view of views) if (forgetSlowness(view.stats)) changed.push(view);
  }
  if (!isTrusted) for (const { stats } of endpoints) stats.latencies.clear();
  return changed;
}

function judgeZone(views: readonly EndpointView[], outlier: OutlierPolicy, changed: EndpointView[]): void {
  const { minimumDifferenceMs, enforcing } = outlier.latency;
  const windows = views.map(({ stats }): LatencyWindow => stats.latencies);
  const slow = new Map(findSlow(windows, minimumDifferenceMs).map((one) => [one.at, one]));
  for (const [at, view] of views.entries()) {
    const { stats } = view;
    const slowness = slow.get(at);
    stats.latencies.clear();
    stats.unjudgedWindows = 0;
    stats.slowWindows = slowness === undefined ? 0 : stats.slowWindows + 1;
    dropSuspicion(stats, 'latency');
    if (slowness !== undefined && stats.slowWindows >= SLOW_WINDOWS_TO_EJECT) {
      const cause = describeSlowness(slowness, stats.slowWindows);
      stats.suspicions = [...stats.suspicions, { reason: 'latency', enforcing, cause }];
    }
    const isHalved = enforcing > 0 && stats.slowWindows >= SLOW_WINDOWS_TO_HALVE;
    if (setFactor(stats, isHalved ? HALVED : 1)) changed.push(view);
  }
}

/**
 * A window without a judgement leaves the row as it is, for a while.
 *
 * @returns true when the weight factor changed
 */
function forgetSlowness(stats: EndpointStats): boolean {
  if (++stats.unjudgedWindows < WINDOWS_TO_FORGET) return false;
  stats.latencies.clear();
  stats.slowWindows = 0;
  stats.unjudgedWindows = 0;
  dropSuspicion(stats, 'latency');
  return setFactor(stats, 1);
}

function setFactor(stats: EndpointStats, factor: number): boolean {
  const isChanged = stats.weightFactor !== factor;
  stats.weightFactor = factor;
  return isChanged;
}
