// Writes what sweep.ts decided into the endpoint's statistics. Every change of state starts a new epoch, which is what makes
// outcomes of earlier attempts count without being judged.

import type { EndpointStats } from '../stats.ts';
import { isAccused } from './advice.ts';
import type { Decision, EjectionReason } from './sweep.ts';
import { clearWindows, dropSuspicion } from './windows.ts';

/** @returns true when a state changed (or one is kept in spite of itself), so that the service's view must be rebuilt */
export function applyDecision(decision: Decision, now: number): boolean {
  const { stats } = decision.view;
  switch (decision.kind) {
    case 'eject':
      stats.hasOwnEvidence = isOwnEvidence(decision.reason, stats);
      // Whatever ejects, the advice that is there has its effect: a probe that passes later is not overruled by it.
      stats.advisedId = stats.advice?.id ?? '';
      enter(stats, decision.reason === 'operator_drain' ? 'draining' : 'ejected');
      stats.ejectedAt = now;
      stats.ejectedUntil = now + decision.durationMs;
      stats.ejectionMultiplier = decision.multiplier;
      stats.ejectionReason = decision.reason;
      stats.ejectionText = decision.text;
      return true;
    case 'probe':
      enter(stats, 'probing');
      return true;
    case 'reinstate':
      enter(stats, 'serving');
      stats.ejectedAt = 0;
      stats.ejectedUntil = 0;
      stats.reinstatedAt = now;
      stats.quietSince = now;
      // The ejection was the penalty; and a cursor from before it would give a burst or a pause.
      stats.penaltyMs = 0;
      return true;
    case 'overflow':
      stats.isOverflowing = true;
      if (decision.reason === 'advised') stats.advisedId = stats.advice?.id ?? '';
      // The last one that the ceiling keeps changes what the whole level is taken for (groups.ts).
      return true;
    case 'detect':
      // As in Envoy a run that was only counted begins anew, so that it is told once for each full run.
      if (decision.reason === 'consecutive_5xx') stats.consecutive5xx = 0;
      else if (decision.reason === 'consecutive_gateway') stats.consecutiveGateway = 0;
      else if (decision.reason === 'consecutive_local_origin') stats.consecutiveLocalOrigin = 0;
      else dropSuspicion(stats, decision.reason);
      return false;
    case 'calm':
      stats.ejectionMultiplier = decision.multiplier;
      stats.quietSince = decision.quietSince;
      return false;
  }
}

/** What a person orders says nothing about what the agent saw. */
function isOwnEvidence(reason: EjectionReason, stats: EndpointStats): boolean {
  if (reason === 'operator' || reason === 'operator_drain') return false;
  return reason !== 'advised' || isAccused(stats);
}

function enter(stats: EndpointStats, state: EndpointStats['state']): void {
  stats.state = state;
  stats.epoch++;
  stats.consecutive5xx = 0;
  stats.consecutiveGateway = 0;
  stats.consecutiveLocalOrigin = 0;
  stats.failuresInARow = 0;
  clearWindows(stats);
  stats.isOverflowing = false;
  stats.isProbeInFlight = false;
  stats.probeVerdict = 'none';
}
