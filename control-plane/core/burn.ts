// Error budgets: how fast one burns, when that is worth waking somebody, and what it has cost by then. Pure arithmetic.

/** Two windows that must both burn faster than `rate`: the long one says that it matters, the short one that it goes on. */
export interface BurnAlert {
  readonly name: string;
  readonly severity: 'page' | 'ticket';
  /** Multiple of the rate that spends the budget exactly over the SLO's whole window. */
  readonly rate: number;
  readonly longMs: number;
  readonly shortMs: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** @see Google SRE Workbook, Alerting on SLOs, multiwindow multi-burn-rate */
export const BURN_ALERTS: readonly BurnAlert[] = [
  { name: 'burn_1h', severity: 'page', rate: 14.4, longMs: HOUR_MS, shortMs: 5 * MINUTE_MS },
  { name: 'burn_6h', severity: 'page', rate: 6, longMs: 6 * HOUR_MS, shortMs: 30 * MINUTE_MS },
  { name: 'burn_1d', severity: 'ticket', rate: 3, longMs: DAY_MS, shortMs: 2 * HOUR_MS },
  { name: 'burn_3d', severity: 'ticket', rate: 1, longMs: 3 * DAY_MS, shortMs: 6 * HOUR_MS },
];

/** Share of bad events that spends the budget `rate` times as fast as it may be. At 99.9 %: 14.4 is 1.44 %. */
export function errorRatioAt(rate: number, objective: number): number {
  return rate * (1 - objective);
}

/** How fast the budget burns; 0 without events. */
export function burnRate(good: number, bad: number, objective: number): number {
  const all = good + bad;
  return all === 0 ? 0 : bad / all / (1 - objective);
}

/** Until the long window of an alert is crossed by an outage of everything, with even traffic, ms. At 99.9 %: 52, 130, 259, 259 s. */
export function detectionMs({ rate, longMs }: BurnAlert, objective: number): number {
  return longMs * errorRatioAt(rate, objective);
}

/** Share of the whole budget that is spent when the long window is crossed at exactly its rate: 2, 5, 10, 10 % over 30 days. */
export function budgetSpentAt({ rate, longMs }: BurnAlert, windowMs: number): number {
  return (rate * longMs) / windowMs;
}
