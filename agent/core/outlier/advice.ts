// What other callers found out, as the control plane passes it on, and when an endpoint speaks against itself well enough to be passed
// on. Pure. Advice ejects like any detector, under the agent's own ceiling; local detection works without it.

import type { Random } from '../../clock.ts';
import type { EndpointStats } from '../stats.ts';

/** Failures in a row, of whatever kind, from which an endpoint is accused: well below what ejects it. */
export const SUSPECT_AFTER = 2;

/** Over this time agents that were warned off return. */
export const RETURN_WITHIN_MS = 10_000;

/** One endpoint that the agent is advised against. */
export interface Advice {
  /** Tells this advisory from a later one about the same endpoint. */
  readonly id: string;
  /** Monotonic ms. */
  readonly until: number;
  readonly text: string;
}

/** Whether the agent's own evidence is against the endpoint. Advice alone is none: nobody may echo an accusation; nor is an order. */
export function isAccused(stats: EndpointStats): boolean {
  if (stats.state === 'serving') return stats.failuresInARow >= SUSPECT_AFTER;
  if (stats.state === 'draining') return false;
  return stats.hasOwnEvidence;
}

/**
 * Takes advice over, or its end. Whoever has been warned off by advice alone stays away as long as it is renewed; when it ends, such
 * agents probe one after another, so that if it was wrong to end it the first ones find out and not all of them. Whoever has evidence of its own probes in its own time and is the one that finds out.
 *
 * @returns true when the service has to be swept
 */
export function takeAdvice(stats: EndpointStats, advice: Advice | null, now: number, random: Random): boolean {
  const former = stats.advice;
  stats.advice = advice;
  const isByAdvice = stats.state === 'ejected' && stats.ejectionReason === 'advised' && !stats.hasOwnEvidence;
  if (isByAdvice) {
    if (advice !== null) stats.ejectedUntil = advice.until;
    else if (former !== null) stats.ejectedUntil = Math.min(stats.ejectedUntil, now + RETURN_WITHIN_MS * random());
    // Looked at anew either way: it was to be swept when the former time was over.
    return advice === null && former !== null;
  }
  return advice !== null && advice.id !== former?.id;
}

/** In force and not acted on yet: the same advisory ejects once, so that a probe that passed is not overruled by it. */
export function isAdvised({ advice, advisedId }: EndpointStats, now: number): boolean {
  return advice !== null && advice.id !== advisedId && now < advice.until;
}
