// The detectors that compare how often endpoints of one service fail. Pure arithmetic over counts of one window; windows.ts
// gives the counts and keeps what is found.

import { logit, meanAndDeviation, robustSpread, wilsonInterval } from './statistics.ts';

/** Failures of one endpoint within a window. */
export interface RateSample {
  readonly failures: number;
  readonly total: number;
}

/** Distance from the median, in spreads, beyond which a failure rate stands out. */
export const ROBUST_LIMIT = 3.5;
/** Spread that is always granted, in log-odds: rates of healthy endpoints differ by that much for many reasons. */
const LEAST_SPREAD = 0.5;
/** What the failure rate must exceed that of the others by, after doubt in both has been given its due. */
const MARGIN = 0.02;
/**
 * An excess over the median endpoint that needs no score. Log-odds of rare failures differ by whole units between none, one and two in a hundred; the
 * spread of such noise is wide enough to hide endpoints that fail every second request.
 */
const FAR = 0.1;

/**
 * Envoy's threshold: mean − factor / 1000 × population standard deviation of the success rates.
 *
 * With k of n endpoints equally bad their distance is sqrt((n − k) / k) deviations whatever they do, so factor 1900 sees
 * nothing from 21.7 % bad endpoints on, and nothing at all below five endpoints.
 *
 * @param rates success rates in percent
 */
export function successRateThreshold(
  rates: readonly number[],
  stdevFactor: number,
): { readonly mean: number; readonly deviation: number; readonly threshold: number } {
  const { mean, deviation } = meanAndDeviation(rates);
  return { mean, deviation, threshold: mean - (stdevFactor / 1000) * deviation };
}

/**
 * Robust z of each failure rate: (s − median) / max(1.4826 · MAD, 0.5) with s the log-odds of failing. Bad endpoints cannot
 * hide each other while they are fewer than half; when they are the majority the healthy ones have negative scores and
 * nobody stands out.
 */
export function robustScores(samples: readonly RateSample[]): number[] {
  const odds = samples.map(({ failures, total }) => logit(failures, total));
  const { middle, spread } = robustSpread(odds);
  return odds.map((value) => (value - middle) / Math.max(spread, LEAST_SPREAD));
}

/** True when the lower bound of `one`'s rate exceeds the upper bound of `rest`'s by `margin`: few requests prove little. */
export function isSignificant(one: RateSample, rest: RateSample, margin = MARGIN): boolean {
  return wilsonInterval(one.failures, one.total).lower > wilsonInterval(rest.failures, rest.total).upper + margin;
}

export function addUp(samples: readonly RateSample[]): RateSample {
  let failures = 0;
  let total = 0;
  for (const sample of samples) {
    failures += sample.failures;
    total += sample.total;
  }
  return { failures, total };
}

/** Positions of endpoints below Envoy's threshold whose difference from all others is significant. */
export function belowThreshold(samples: readonly RateSample[], stdevFactor: number): number[] {
  const rates = samples.map(successPercent);
  const { threshold } = successRateThreshold(rates, stdevFactor);
  const all = addUp(samples);
  return positions(samples, (one, at) => {
    const rest = { failures: all.failures - one.failures, total: all.total - one.total };
    return (rates[at] ?? 100) < threshold && isSignificant(one, rest);
  });
}

/**
 * Positions of endpoints whose score stands out and whose rate significantly exceeds that of all that do not stand out, and of
 * those whose rate exceeds that of the median endpoint by 10 points beyond doubt.
 */
export function standingOut(samples: readonly RateSample[]): number[] {
  const scores = robustScores(samples);
  const scoreOf = (at: number): number => scores[at] ?? 0;
  const rest = addUp(samples.filter((_, at) => scoreOf(at) <= ROBUST_LIMIT));
  const middle = middleOf(samples, scores) ?? rest;
  return positions(samples, (one, at) =>
    scoreOf(at) > ROBUST_LIMIT ? isSignificant(one, rest) : scoreOf(at) > 0 && isSignificant(one, middle, FAR),
  );
}

/** The upper median: the sample with the smallest score that is not below 0. */
function middleOf(samples: readonly RateSample[], scores: readonly number[]): RateSample | undefined {
  let middleAt = -1;
  let least = Number.POSITIVE_INFINITY;
  for (const [at, score] of scores.entries()) {
    if (score < 0 || score >= least) continue;
    least = score;
    middleAt = at;
  }
  return samples[middleAt];
}

/** Positions of endpoints that fail at least `threshold` percent of the time. */
export function failingOften(samples: readonly RateSample[], threshold: number): number[] {
  return positions(samples, ({ failures, total }) => 100 * failures >= threshold * total);
}

export function successPercent({ failures, total }: RateSample): number {
  return total === 0 ? 100 : (100 * (total - failures)) / total;
}

function positions(samples: readonly RateSample[], holds: (sample: RateSample, at: number) => boolean): number[] {
  return samples.flatMap((sample, at) => (holds(sample, at) ? [at] : []));
}
