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

/** The counts of a window, of those that serve, side by side: the detectors walk over them five times, and statistics lie far apart. */
interface EndedWindow {
  readonly stats: readonly EndpointStats[];
  readonly answers: Float64Array;
  readonly errors: Float64Array;
  readonly failures: Float64Array;
}

function closeRates(endpoints: readonly EndpointView[], outlier: OutlierPolicy, isTrusted: boolean): void {
  const column = (): Float64Array => new Float64Array(endpoints.length);
  const [answers, errors, failures] = [column(), column(), column()];
  const serving: EndpointStats[] = [];
  let hasFailures = false;
  for (const { stats } of endpoints) {
    // Two windows take turns, so that nothing is allocated and the ended one can be told about.
    const ended = stats.rates;
    stats.rates = stats.formerRates;
    stats.formerRates = ended;
    clearRates(stats.rates);
    if (stats.suspicions.length > 0) stats.suspicions = stats.suspicions.filter(({ reason }) => reason === 'latency');
    if (stats.state !== 'serving') continue;
    answers[serving.length] = ended.answers;
    errors[serving.length] = ended.errors;
    failures[serving.length] = ended.failures;
    if (ended.errors + ended.failures > 0) hasFailures = true;
    serving.push(stats);
  }
  if (!isTrusted || !hasFailures) return;
  for (const detector of detectors(outlier)) compare({ stats: serving, answers, errors, failures }, detector);
}

/** What a detector counts as a failure, and out of what. */
type Counting = (answers: number, errors: number, failures: number) => number;

interface RateDetector {
  readonly reason: RateReason;
  readonly enforcing: number;
  readonly minimumHosts: number;
  readonly requestVolume: number;
  readonly failuresOf: Counting;
  readonly totalOf: Counting;
  readonly find: (samples: readonly RateSample[]) => number[];
}

const everything = (answers: number, _errors: number, failures: number): number => answers + failures;
const ALL_FAILURES = {
  failuresOf: (_: number, errors: number, failures: number) => errors + failures,
  totalOf: everything,
};
const ERROR_ANSWERS = { failuresOf: (_: number, errors: number) => errors, totalOf: (answers: number) => answers };
const MISSING_ANSWERS = { failuresOf: (_: number, _errors: number, failures: number) => failures, totalOf: everything };

function detectors(outlier: OutlierPolicy): RateDetector[] {
  const { successRate, failurePercentage, robustSuccessRate } = outlier;
  const byMean = (samples: readonly RateSample[]) => belowThreshold(samples, successRate.stdevFactor);
  const byShare = (samples: readonly RateSample[]) => failingOften(samples, failurePercentage.threshold);
  return [
    { ...robustSuccessRate, reason: 'robust_success_rate', ...ALL_FAILURES, find: standingOut },
    { ...successRate, reason: 'success_rate', ...ERROR_ANSWERS, find: byMean },
    {
      ...successRate,
      enforcing: successRate.enforcingLocalOrigin,
      reason: 'local_origin_success_rate',
      ...MISSING_ANSWERS,
      find: byMean,
    },
    { ...failurePercentage, reason: 'failure_percentage', ...ERROR_ANSWERS, find: byShare },
    {
      ...failurePercentage,
      enforcing: failurePercentage.enforcingLocalOrigin,
      reason: 'failure_percentage_local_origin',
      ...MISSING_ANSWERS,
      find: byShare,
    },
  ];
}

function compare({ stats, answers, errors, failures }: EndedWindow, detector: RateDetector): void {
  const { reason, enforcing, requestVolume, failuresOf, totalOf } = detector;
  const judged: EndpointStats[] = [];
  const samples: RateSample[] = [];
  let failed = 0;
  for (let at = 0; at < stats.length; at++) {
    const [answered, erred, missed] = [answers[at] ?? 0, errors[at] ?? 0, failures[at] ?? 0];
    const one = stats[at];
    const total = totalOf(answered, erred, missed);
    if (one === undefined || total < requestVolume) continue;
    const sample = { failures: failuresOf(answered, erred, missed), total };
    judged.push(one);
    samples.push(sample);
    failed += sample.failures;
  }
  if (failed === 0 || judged.length < detector.minimumHosts) return;
  for (const at of detector.find(samples)) {
    const suspect = judged[at];
    const sample = samples[at];
    if (suspect === undefined || sample === undefined) continue;
    const cause = describeRate(reason, sample, samples);
    suspect.suspicions = [...suspect.suspicions, { reason, enforcing, cause }];
  }
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
