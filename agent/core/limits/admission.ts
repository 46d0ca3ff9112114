// Admission control at the caller: a service that answers too little gets less to answer. Owns the counts; whether to refuse is
// drawn by the gate.

import type { AdmissionSettings } from '#contract/policy/limits.ts';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import { SlidingCounts } from './sliding-counts.ts';

/**
 * Chance that a request is refused:
 *
 *   P = max(0, (n − successes / threshold) / (n + 1)) ^ (1 / aggression), at most maxReject
 *
 * Of 1000 requests with 960, 950, 900, 500, 0 successes at a threshold of 95 %: 0, 0, 0.053, 0.473, 0.999.
 *
 * @see Envoy, admission control filter; Google SRE, Handling Overload (client-side throttling)
 */
export function rejectProbability(
  requests: number,
  successes: number,
  { successThresholdPercent, aggression, maxRejectPercent }: AdmissionSettings,
): number {
  const missing = (requests - (successes * 100) / successThresholdPercent) / (requests + 1);
  return missing <= 0 ? 0 : Math.min(maxRejectPercent / 100, missing ** (1 / aggression));
}

/** Of one service. Refused requests are not counted: they say nothing about it. */
export class AdmissionControl {
  readonly #counts = new SlidingCounts(30_000);
  #settings: AdmissionSettings | null = null;

  configure({ admissionControl }: EffectivePolicy): void {
    this.#settings = admissionControl;
    this.#counts.setWindow(admissionControl.windowMs);
  }

  /** A request ended. */
  record(isSuccess: boolean, now: number): void {
    this.#counts.add(isSuccess, now);
  }

  /** 0 while there were too few requests to judge by. */
  rejectProbability(now: number): number {
    if (this.#settings === null) return 0;
    const requests = this.#counts.all(now);
    if (requests < (this.#settings.minRequestsPerSecond * this.#settings.windowMs) / 1000) return 0;
    return rejectProbability(requests, this.#counts.some(now), this.#settings);
  }
}
