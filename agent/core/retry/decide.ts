// Whether a failed attempt may be followed by another one. Reads the outcome, the policy and four facts about the request;
// whether the retry budget can pay for it is asked afterwards, by the exchange.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Outcome } from '../outcome.ts';

/** Why a retry is made; label-safe, `outrigger_retries_total{reason}`. */
export type RetryReason =
  | 'connect_failure'
  | 'overflow'
  | 'reset'
  | 'stale_connection'
  | 'protocol_error'
  | 'timeout'
  | 'gateway_error'
  | '5xx'
  | 'status';

/** Why none is made. */
export type NoRetryReason =
  | 'head_relayed'
  | 'canceled'
  | 'not_retriable'
  | 'attempts_exhausted'
  | 'deadline'
  | 'not_replayable'
  | 'not_idempotent';

export type RetryDecision =
  | { readonly retry: true; readonly reason: RetryReason }
  | { readonly retry: false; readonly why: NoRetryReason };

export interface RetryFacts {
  /** As on the request line. */
  readonly method: string;
  readonly hasIdempotencyKey: boolean;
  /** False when part of the body went through without being kept. */
  readonly isReplayable: boolean;
  /** Attempts that have ended, this one included. */
  readonly attemptsDone: number;
  /** Until the request's deadline; Infinity without one. */
  readonly msLeft: number;
}

/**
 * Rules, in order:
 *
 * 1. a response head that went downstream, or a downstream that went away: never;
 * 2. the policy must name the condition (see reasonFor);
 * 3. attempts, deadline and the request's body must allow it;
 * 4. nothing sent: safe for every method. Something sent: only methods of the policy, or with an Idempotency-Key.
 */
export function decideRetry(outcome: Outcome, policy: EffectivePolicy, facts: RetryFacts): RetryDecision {
  if (outcome.isHeadRelayed) return no('head_relayed');
  if (outcome.kind === 'canceled') return no('canceled');
  const reason = reasonFor(outcome, policy.retries);
  if (reason === null) return no('not_retriable');
  if (facts.attemptsDone > policy.retries.attempts) return no('attempts_exhausted');
  if (facts.msLeft <= 0) return no('deadline');
  if (!facts.isReplayable) return no('not_replayable');
  const isIdempotent = facts.hasIdempotencyKey || policy.retries.methods.includes(facts.method);
  if (outcome.isSent && !isIdempotent) return no('not_idempotent');
  return { retry: true, reason };
}

/**
 * A connection kept from an earlier request that ended before any byte of the response: most likely the idle close of the
 * other side crossing our request. Nothing is known against the endpoint (record.ts does not judge it), but whether the
 * request was processed is unknown too, so rule 4 holds for it as for any reset.
 */
export function isStaleConnection(outcome: Outcome): boolean {
  return outcome.kind === 'reset' && outcome.isReusedConnection && outcome.status === 0;
}

/**
 * The condition of the policy that an outcome meets. `5xx` includes no answer at all, as in Envoy. A reset before anything
 * was sent is as good as a failed connect. `overflow` is the endpoint's connection limit: nothing was sent, and another
 * endpoint may have room.
 */
function reasonFor(outcome: Outcome, { onConditions, onStatuses }: EffectivePolicy['retries']): RetryReason | null {
  const is5xx = onConditions.includes('5xx');
  switch (outcome.kind) {
    case 'connect_failure':
    case 'connect_timeout':
      return is5xx || onConditions.includes('connectFailure') ? 'connect_failure' : null;
    case 'overflow':
      return onConditions.includes('connectFailure') ? 'overflow' : null;
    case 'reset': {
      const isAsked = is5xx || onConditions.includes('reset');
      if (!outcome.isSent) return isAsked || onConditions.includes('connectFailure') ? 'reset' : null;
      return isAsked ? (isStaleConnection(outcome) ? 'stale_connection' : 'reset') : null;
    }
    case 'protocol_error':
      return is5xx || onConditions.includes('reset') ? 'protocol_error' : null;
    case 'timeout':
      return is5xx || onConditions.includes('timeout') ? 'timeout' : null;
    case 'response':
      if (onStatuses.includes(outcome.status)) return 'status';
      if (outcome.status >= 502 && outcome.status <= 504 && onConditions.includes('gatewayError'))
        return 'gateway_error';
      return is5xx && outcome.status >= 500 ? '5xx' : null;
    case 'canceled':
      return null;
  }
}

function no(why: NoRetryReason): RetryDecision {
  return { retry: false, why };
}
