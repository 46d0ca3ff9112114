// Which endpoints of a group are slow: 90th percentiles against their median. Pure over latency windows; windows.ts counts in
// how many windows in a row.

import type { LatencyWindow } from './latency-window.ts';
import { addUp, isSignificant, type RateSample } from './rates.ts';
import { median, robustSpread } from './statistics.ts';

const QUANTILE = 0.9;
/** Twice the median is never noise of the measurement alone. */
const LEAST_DISTANCE = Math.log(2);
const SPREADS = 3.5;
/** The share of requests above the limit must exceed that of the others by this much. */
const MARGIN = 0.05;

export interface Slowness {
  /** Position in the group. */
  readonly at: number;
  readonly p90Ms: number;
  readonly medianMs: number;
}

/**
 * The slow endpoints of a group. One is slow when
 * - ln p90 lies above the median by more than max(ln 2, 3.5 · 1.4826 · MAD), and p90 itself by `minimumDifferenceMs`;
 * - and the share of its requests above a limit half-way to that significantly exceeds that of the others. Without this a
 *   service where every tenth request is a slow one has a p90 that jumps by chance.
 *
 * Route classes are not told apart: the balancers give every endpoint the same mix of them.
 *
 * @param windows  endpoints that ought to be alike: one service, one zone, enough samples each
 */
export function findSlow(windows: readonly LatencyWindow[], minimumDifferenceMs: number): Slowness[] {
  const p90s = windows.map((window) => window.quantile(QUANTILE));
  const medianMs = median(p90s);
  const leastMs = medianMs + Math.max(medianMs, minimumDifferenceMs);
  if (!p90s.some((p90Ms) => p90Ms >= leastMs)) return [];
  const logs = p90s.map(Math.log);
  const { middle, spread } = robustSpread(logs);
  const distance = Math.max(LEAST_DISTANCE, SPREADS * spread);
  const isFar = logs.map((log, at) => log - middle > distance && (p90s[at] ?? 0) >= leastMs);
  const limitMs = (medianMs + leastMs) / 2;
  const shares = windows.map((window): RateSample => {
    return { failures: window.countAbove(limitMs), total: window.total };
  });
  const rest = addUp(shares.filter((_, at) => isFar[at] !== true));
  return shares.flatMap((share, at) =>
    isFar[at] === true && isSignificant(share, rest, MARGIN) ? [{ at, p90Ms: p90s[at] ?? 0, medianMs }] : [],
  );
}
