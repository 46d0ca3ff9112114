// Priority levels: who is active and who stands by, and how much of the traffic each level gets while its endpoints fail and
// return. Envoy's arithmetic.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Endpoint } from './endpoint.ts';

type Failover = EffectivePolicy['loadBalancer']['failover'];

/**
 * A level counts as whole while serving × 1.4 covers it: at 72 % and above nothing spills, below it the rest goes to the next
 * level in proportion. Envoy's overprovisioning factor.
 */
const OVERPROVISIONING_PERCENT = 140;

/** Meta key by which an instance states its own level when the policy lists none. */
export const PRIORITY_META = 'outrigger_priority';
const MAX_PRIORITY = 9;

/**
 * Level of an endpoint, 0 first. With a failover list: the first entry that fits, and behind them all when none does. Without:
 * what the instance registered as `outrigger_priority` (0–9), else 0.
 */
export function priorityOf(endpoint: Endpoint, failover: Failover): number {
  if (failover.length === 0) {
    const own = endpoint.meta[PRIORITY_META];
    return own !== undefined && /^[0-9]$/.test(own) ? Math.min(Number(own), MAX_PRIORITY) : 0;
  }
  const at = failover.findIndex((level) =>
    level.kind === 'tag' ? endpoint.tags.includes(level.value) : endpoint.zone === level.value,
  );
  return at < 0 ? failover.length : at;
}

export interface LevelHealth {
  readonly serving: number;
  /** Above 0. */
  readonly total: number;
}

export interface LevelLoads {
  /** Percent of the traffic by level; whole numbers, 100 together. */
  readonly loads: readonly number[];
  /** Levels that are used whole, whatever the state of their endpoints. */
  readonly panicking: readonly boolean[];
}

/**
 * health = min(100, floor(140 × serving / total)); each level takes health / min(100, Σ health) of the traffic until 100 % are
 * given. A level panics when fewer than `minHealthPercent` of it serve and all levels together have less than 100 health; with
 * a single level the threshold alone decides. When every level panics, or nothing serves anywhere, each gets its share of the
 * endpoints.
 *
 * P0 healthy 72, 71, 50, 25 % with a whole P1: 100-0, 99-1, 70-30, 35-65. Three levels of 50, 10, 100 %: 70-14-16.
 *
 * @see Envoy, LoadBalancerBase::recalculatePerPriorityState
 */
export function loadByPriority(levels: readonly LevelHealth[], minHealthPercent: number): LevelLoads {
  const health = levels.map(({ serving, total }) =>
    Math.min(100, Math.floor((OVERPROVISIONING_PERCENT * serving) / total)),
  );
  const wholeHealth = Math.min(100, sum(health));
  const isCovered = levels.length > 1 && wholeHealth === 100;
  const isDead = levels.every(({ serving }) => serving === 0);
  const panicking = levels.map(
    ({ serving, total }) => isDead || (!isCovered && serving * 100 < minHealthPercent * total),
  );
  const isAllPanicking = panicking.every((isPanicking) => isPanicking);
  const parts = isAllPanicking ? levels.map(({ total }) => total) : health;
  return { loads: shareOut(parts, isAllPanicking ? sum(parts) : wholeHealth), panicking };
}

/** What integer division leaves over goes to the first level that has anything. */
function shareOut(parts: readonly number[], whole: number): number[] {
  let left = 100;
  const loads = parts.map((part) => {
    const load = Math.min(left, Math.floor((part * 100) / whole));
    left -= load;
    return load;
  });
  const first = loads.findIndex((load) => load > 0);
  return loads.map((load, level) => (level === Math.max(0, first) ? load + left : load));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
