// What active health checks say about one endpoint, as a level: unknown, passing or failing. Pure; the asking is agent/health's.

import type { HealthCheckPolicy } from '#contract/policy/outlier.ts';

export type Health = 'unknown' | 'passing' | 'failing';

/** One check, ended. */
export interface CheckResult {
  readonly isPassed: boolean;
  /** What was seen: `answered 503`, `connection refused`. */
  readonly text: string;
}

export interface CheckStats {
  health: Health;
  /** Checks in a row that passed, and that failed; one of them is 0. */
  passedChecks: number;
  failedChecks: number;
  /** Monotonic ms of the last passed check, -1 before the first. */
  checkPassedAt: number;
  /** What the last failed check saw. */
  checkText: string;
}

/**
 * Takes in a check. `healthyThreshold` passed or `unhealthyThreshold` failed checks in a row change the level; of an endpoint
 * about which nothing is known one passed check is enough, as in Envoy. Until then an endpoint serves: discovery vouches.
 *
 * @returns true when a sweep has something to do: the level changed, or an endpoint that is out has passed a check
 */
export function recordCheck(
  stats: CheckStats & { readonly state: string },
  { isPassed, text }: CheckResult,
  { healthyThreshold, unhealthyThreshold }: Pick<HealthCheckPolicy, 'healthyThreshold' | 'unhealthyThreshold'>,
  now: number,
): boolean {
  const former = stats.health;
  if (isPassed) {
    stats.passedChecks++;
    stats.failedChecks = 0;
    stats.checkPassedAt = now;
    if (former === 'unknown' || stats.passedChecks >= healthyThreshold) stats.health = 'passing';
  } else {
    stats.failedChecks++;
    stats.passedChecks = 0;
    stats.checkText = text;
    if (stats.failedChecks >= unhealthyThreshold) stats.health = 'failing';
  }
  return stats.health !== former || (isPassed && stats.health === 'passing' && stats.state !== 'serving');
}

/** Nobody asks any more: what was found does not count. */
export function forgetChecks(stats: CheckStats): void {
  stats.health = 'unknown';
  stats.passedChecks = 0;
  stats.failedChecks = 0;
  stats.checkPassedAt = -1;
  stats.checkText = '';
}
