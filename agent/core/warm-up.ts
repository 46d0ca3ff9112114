// Warm-up (slow start in the documents): an endpoint that is new, or back, begins with a part of its weight.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { EndpointStats } from './stats.ts';

type SlowStart = EffectivePolicy['loadBalancer']['slowStart'];

/** Steps in which the weight grows over the window; each is one rebuild of the service's view. */
const STEPS = 50;
const MIN_STEP_MS = 100;
const MAX_STEP_MS = 1000;
/** Envoy counts the first second as a whole one. */
const FIRST_MS = 1000;

/**
 * Part of its weight that an endpoint has `ageMs` into its window: max(minimum, (max(age, 1 s) / window)^(1 / aggression)),
 * at most 1. Window 60 s, minimum 10 %: .10 .10 .10 .25 .50 1 after 0, 3, 6, 15, 30, 60 s.
 *
 * @see Envoy, slow_start_config
 */
export function warmUpFactor(ageMs: number, { windowMs, minWeightPercent, aggression }: SlowStart): number {
  if (ageMs >= windowMs) return 1;
  const grown = (Math.max(ageMs, FIRST_MS) / windowMs) ** (1 / aggression);
  return Math.min(1, Math.max(minWeightPercent / 100, grown));
}

/** Monotonic ms at which the endpoint joined a service that was being served, or was last reinstated; -1 for neither. */
export function warmingSince({ joinedAt, reinstatedAt }: EndpointStats): number {
  return reinstatedAt > 0 ? Math.max(joinedAt, reinstatedAt) : joinedAt;
}

/** When the weights of a service with endpoints in their window are to be looked at next, counted from now. */
export function warmUpStepMs({ windowMs }: SlowStart): number {
  return Math.min(MAX_STEP_MS, Math.max(MIN_STEP_MS, windowMs / STEPS));
}
