// One sweep of one service: decide (core/outlier), apply, and say what happened. Owns no timer; mesh.ts is asked by one.

import type { MeshEvent } from '#contract/frames.ts';
import type { Random } from '../clock.ts';
import { applyDecision } from '../core/outlier/apply.ts';
import { type Decision, decideSweep } from '../core/outlier/sweep.ts';
import type { ServiceView } from '../core/snapshot.ts';
import { warmUpStepMs } from '../core/warm-up.ts';

export interface SweepMoment {
  readonly now: number;
  readonly epochMs: number;
  readonly random: Random;
}

/** @returns true when the state of an endpoint changed: the view must be rebuilt */
export function sweepService(view: ServiceView, moment: SweepMoment, events: (MeshEvent | null)[]): boolean {
  let isChanged = false;
  for (const decision of decideSweep(view.endpoints, view.policy, moment.now, moment.random)) {
    if (applyDecision(decision, moment.now)) isChanged = true;
    events.push(eventOf(view.service, decision, moment.epochMs));
  }
  return isChanged;
}

/**
 * When the service has to be looked at without being asked: the earliest end of an ejection, the end of a quiet interval, the
 * next step of a warm-up, and in any case after the policy's interval, for endpoints that only the ceiling kept.
 */
export function nextSweepAt({ endpoints, policy, warmUntil }: ServiceView, now: number): number {
  const { intervalMs } = policy.outlierDetection;
  let at = now + intervalMs;
  if (warmUntil >= 0) at = Math.min(at, now + warmUpStepMs(policy.loadBalancer.slowStart));
  for (const { stats } of endpoints) {
    if (stats.state === 'ejected' && stats.ejectedUntil < at) at = stats.ejectedUntil;
    else if (stats.ejectionMultiplier > 0 && stats.quietSince + intervalMs < at && stats.state === 'serving') {
      at = stats.quietSince + intervalMs;
    }
  }
  return at;
}

function eventOf(service: string, decision: Decision, atEpochMs: number): MeshEvent | null {
  const base = { atEpochMs, service, endpoint: decision.view.endpoint.id };
  switch (decision.kind) {
    case 'eject':
      return { ...base, kind: 'ejection', reason: decision.reason, text: decision.text };
    case 'overflow':
      return { ...base, kind: 'overflow', reason: decision.reason, text: decision.text };
    case 'reinstate':
      return { ...base, kind: 'reinstatement', reason: 'probe_passed', text: decision.text };
    case 'probe':
    case 'calm':
      return null;
  }
}
