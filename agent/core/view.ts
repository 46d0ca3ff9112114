// Derives what a pick needs (who is pickable, who is owed a probe, panic, weights) from plan, endpoints and their states.
// The only place that builds a ServiceView, for mesh/ and for tests.

import type { ServicePlan } from '#contract/policy/policy.ts';
import { RetryBudget } from './retry/budget.ts';
import type { EndpointView, ServiceStats, ServiceView } from './snapshot.ts';

/** Fresh measurement of one service. The caller keeps it for as long as it knows the name. */
export function createServiceStats(service: string): ServiceStats {
  return { service, inFlight: 0, picks: 0, retryBudget: new RetryBudget() };
}

/**
 * Builds the frozen view of one service. O(endpoints).
 *
 * Panic: serving × 100 < minHealthPercent × all. A service of which nothing serves is always served by everything it has,
 * whatever the threshold says: an ejected endpoint may answer, an empty list cannot.
 */
export function createServiceView(
  plan: ServicePlan,
  endpoints: readonly EndpointView[],
  stats: ServiceStats,
): ServiceView {
  const known = Object.isFrozen(endpoints) ? endpoints : Object.freeze([...endpoints]);
  const serving = known.filter((view) => view.stats.state === 'serving');
  const isPanicking = isPanic(serving.length, known.length, plan.policy.outlierDetection.minHealthPercent);
  const pickable = isPanicking ? known : Object.freeze(serving);
  const weights = pickable.map(({ endpoint }) => endpoint.weight);
  const hasEqualWeights = weights.every((weight) => weight === weights[0]);
  let total = 0;
  const cumulativeWeights = weights.map((weight) => {
    total += weight;
    return total;
  });
  return Object.freeze({
    service: plan.service,
    policy: plan.policy,
    permission: plan.permission,
    rules: plan.rules,
    endpoints: known,
    pickable,
    probing: Object.freeze(known.filter((view) => view.stats.state === 'probing')),
    isPanicking,
    hasEqualWeights,
    meanWeight: pickable.length === 0 ? 1 : total / pickable.length,
    cumulativeWeights: Object.freeze(hasEqualWeights ? [] : cumulativeWeights),
    stats,
  });
}

function isPanic(serving: number, all: number, minHealthPercent: number): boolean {
  return all > 0 && (serving === 0 || serving * 100 < minHealthPercent * all);
}
