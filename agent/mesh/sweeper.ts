// One sweep of one service: end its windows and decide (core/outlier), apply, and say what happened. Owns no timer; mesh.ts is
// asked by one.

import type { MeshEvent } from '#contract/frames.ts';
import type { Random } from '../clock.ts';
import { applyDecision } from '../core/outlier/apply.ts';
import { describeWeight } from '../core/outlier/sentence.ts';
import { type Decision, decideSweep } from '../core/outlier/sweep.ts';
import { closeWindows, type ServiceWindows, windowsEndAt } from '../core/outlier/windows.ts';
import { priorityOf } from '../core/priority.ts';
import type { EndpointView, ServiceView } from '../core/snapshot.ts';
import { RESPREAD_MS } from '../core/utilisation.ts';
import { warmUpStepMs } from '../core/warm-up.ts';

/** How often a service in panic is looked at. */
const PANIC_MS = 1000;

export interface SweepMoment {
  readonly now: number;
  readonly epochMs: number;
  readonly random: Random;
  /** True while the agent cannot trust its own measurement: windows end unjudged and nobody new is ejected. */
  readonly isFrozen: boolean;
}

/** @returns true when the state or the weight of an endpoint changed: the view must be rebuilt */
export function sweepService(
  view: ServiceView,
  windows: ServiceWindows,
  { now, epochMs, random, isFrozen }: SweepMoment,
  events: (MeshEvent | null)[],
): boolean {
  const { endpoints, policy, service } = view;
  const reweighed = closeWindows(windows, endpoints, policy.outlierDetection, now, !isFrozen);
  for (const endpoint of reweighed) events.push(weightEvent(service, endpoint, epochMs));
  let isChanged = reweighed.length > 0;
  const levelOf = ({ endpoint }: EndpointView): number => priorityOf(endpoint, policy.loadBalancer.failover);
  for (const decision of decideSweep(endpoints, policy, now, random, { isFrozen, levelOf })) {
    if (applyDecision(decision, now)) isChanged = true;
    events.push(eventOf(service, decision, epochMs));
  }
  return isChanged;
}

/**
 * When the service has to be looked at without being asked: the end of a window, the earliest end of an ejection, the end of a
 * quiet interval, the next step of a warm-up, the next division by load, a look at panic, and in any case after the policy's interval, for endpoints that only the ceiling
 * kept.
 */
export function nextSweepAt(view: ServiceView, windows: ServiceWindows, now: number): number {
  const { endpoints, policy, warmUntil } = view;
  const { intervalMs } = policy.outlierDetection;
  let at = Math.min(now + intervalMs, windowsEndAt(windows, policy.outlierDetection));
  // Panic ends when an endpoint that only the ceiling kept has recovered, which is no event.
  if (view.isPanicking) at = Math.min(at, now + PANIC_MS);
  if (isDividedByLoad(view)) at = Math.min(at, now + RESPREAD_MS);
  if (warmUntil >= 0) at = Math.min(at, now + warmUpStepMs(policy.loadBalancer.slowStart));
  for (const { stats } of endpoints) {
    const isOut = stats.state === 'ejected' || stats.state === 'draining';
    if (isOut && stats.health !== 'failing' && stats.ejectedUntil < at) at = stats.ejectedUntil;
    else if (stats.ejectionMultiplier > 0 && stats.quietSince + intervalMs < at && stats.state === 'serving') {
      at = stats.quietSince + intervalMs;
    }
  }
  return at;
}

/** Its zones get what is free in them, which changes without any event. */
export function isDividedByLoad({ policy, groups }: ServiceView): boolean {
  const { isEnabled, isLoadAware } = policy.loadBalancer.zoneAware;
  return isEnabled && isLoadAware && groups.some(({ zone }) => zone !== null);
}

function weightEvent(service: string, view: EndpointView, atEpochMs: number): MeshEvent {
  const reason = view.stats.weightFactor < 1 ? 'weight_halved' : 'weight_restored';
  return { atEpochMs, kind: 'detection', service, endpoint: view.endpoint.id, reason, text: describeWeight(view) };
}

export function eventOf(service: string, decision: Decision, atEpochMs: number): MeshEvent | null {
  const base = { atEpochMs, service, endpoint: decision.view.endpoint.id };
  switch (decision.kind) {
    case 'eject':
      return { ...base, kind: 'ejection', reason: decision.reason, text: decision.text };
    case 'overflow':
      return { ...base, kind: 'overflow', reason: decision.reason, text: decision.text };
    case 'detect':
      return { ...base, kind: 'detection', reason: decision.reason, text: decision.text };
    case 'reinstate':
      return { ...base, kind: 'reinstatement', reason: decision.reason, text: decision.text };
    case 'probe':
    case 'calm':
      return null;
  }
}
