// Whether a request may go to a service now, has to wait, or is turned away: rate limit, admission control, requests in flight.
// Reads and moves the counters of ServiceStats; who waits, and for how long, is the exchange's affair.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Random } from '../../clock.ts';
import type { Reason } from '../reason.ts';
import type { ServiceStats, ServiceView } from '../snapshot.ts';
import { limitOfClass, type TrafficClass } from './traffic-class.ts';

export type GateVerdict =
  | { readonly kind: 'open' }
  | { readonly kind: 'wait' }
  | { readonly kind: 'closed'; readonly reason: Reason; readonly message: string; readonly retryAfterMs: number };

const OPEN: GateVerdict = Object.freeze({ kind: 'open' });
const WAIT: GateVerdict = Object.freeze({ kind: 'wait' });

/**
 * 1. The rate limit, which every class pays.
 * 2. Admission control (outbound): a service that answers too little gets less to answer; critical requests are not refused.
 * 3. Requests in flight: below the limit of its class a request goes; above it a sheddable one is refused, others wait while
 *    the queue has room. Nobody overtakes those who wait, except critical requests.
 *
 * @param isInbound  the service is the agent's own application: the adaptive limit holds, admission control does not
 * @param random     drawn once when admission control is on and has reason to refuse
 */
export function askGate(
  view: ServiceView,
  trafficClass: TrafficClass,
  isInbound: boolean,
  now: number,
  random: Random,
): GateVerdict {
  const { policy, stats, service } = view;
  if (policy.rateLimit.requests > 0 && !stats.rateLimit.tryTake(now)) {
    const { requests, perMs } = policy.rateLimit;
    const message = `${service} may be asked ${requests} times in ${perMs} ms by this agent`;
    return { kind: 'closed', reason: 'rate_limited', message, retryAfterMs: stats.rateLimit.msUntilNext(now) };
  }
  if (policy.admissionControl.isEnabled && !isInbound && trafficClass !== 'critical') {
    const probability = stats.admission.rejectProbability(now);
    if (probability > 0 && random() < probability) {
      const message = `${service} answers too few requests: ${Math.round(probability * 100)} % are not sent for now`;
      return { kind: 'closed', reason: 'admission_rejected', message, retryAfterMs: 1000 };
    }
  }
  const limit = limitOf(policy, stats, isInbound);
  const own = limitOfClass(limit, trafficClass, policy.limits.sheddablePercent);
  const mayOvertake = stats.pending.size === 0 || trafficClass === 'critical';
  if (stats.inFlight < own && mayOvertake) return OPEN;
  if (trafficClass !== 'sheddable' && stats.pending.size < policy.limits.maxPendingRequests) return WAIT;
  const waiting = stats.pending.size === 0 ? '' : ` and ${stats.pending.size} waiting`;
  const message = `${service} has ${stats.inFlight} requests in flight${waiting}, which is the limit`;
  return { kind: 'closed', reason: 'upstream_overflow', message, retryAfterMs: 1000 };
}

/** Requests in flight that the service may have. */
export function limitOf(policy: EffectivePolicy, stats: ServiceStats, isInbound: boolean): number {
  const { maxConcurrentRequests, adaptiveConcurrency } = policy.limits;
  return isInbound && adaptiveConcurrency.isEnabled
    ? Math.min(maxConcurrentRequests, stats.gradient.limit)
    : maxConcurrentRequests;
}

/** Requests in flight as a part of the adaptive limit; -1 without one, because no other limit says what the application can do. */
export function utilisation({ policy, stats }: ServiceView): number {
  const { adaptiveConcurrency } = policy.limits;
  return adaptiveConcurrency.isEnabled ? stats.inFlight / Math.max(1, stats.gradient.limit) : -1;
}

/** Chance that admission control refuses, for the decision record; nothing is drawn. */
export function rejectChance({ policy, stats }: ServiceView, isInbound: boolean, now: number): number {
  return policy.admissionControl.isEnabled && !isInbound ? stats.admission.rejectProbability(now) : 0;
}

/** Takes a place: from now on the request is in flight. */
export function takePlace({ stats }: ServiceView, now: number): void {
  stats.inFlight += 1;
  stats.retryBudget.deposit(now);
}

/**
 * The request is over: gives its place to whoever waits.
 *
 * @param isSuccess  for admission control; null says nothing about the service
 */
export function leavePlace(view: ServiceView, isInbound: boolean, isSuccess: boolean | null, now: number): void {
  const { stats, policy } = view;
  stats.inFlight -= 1;
  if (policy.admissionControl.isEnabled && isSuccess !== null) stats.admission.record(isSuccess, now);
  if (stats.pending.size > 0) callNext(view, isInbound);
}

/** A place is free: whoever is first and may go now leaves the queue and is told. One connection frees one waiter for one. */
export function callNext({ policy, stats }: ServiceView, isInbound: boolean): void {
  let hasFreedConnection = true;
  for (;;) {
    const first = stats.pending.first();
    if (first === null) return;
    if (first.hasPlace ? !hasFreedConnection : stats.inFlight >= limitOf(policy, stats, isInbound)) return;
    if (first.hasPlace) hasFreedConnection = false;
    stats.pending.remove(first);
    first.onRoom();
  }
}
