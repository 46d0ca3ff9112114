// Which failure a request was, by how it ended: every reason has exactly one kind, so that the kinds add up to the failures.

import type { FailureKind } from '#contract/failures.ts';
import type { Reason, RequestResult } from './reason.ts';

const KIND_OF_REASON: Readonly<Record<Reason, FailureKind>> = {
  bad_request: 'invalid',
  request_timeout: 'invalid',
  no_route: 'invalid',
  method_not_allowed: 'invalid',
  expectation_failed: 'invalid',
  length_required: 'invalid',
  uri_too_long: 'invalid',
  head_too_large: 'invalid',
  not_implemented: 'invalid',
  version_not_supported: 'invalid',
  no_healthy_upstream: 'unserved',
  upstream_overflow: 'policy',
  upstream_connect_failure: 'unanswered',
  upstream_connect_timeout: 'unanswered',
  upstream_reset: 'unanswered',
  upstream_protocol_error: 'unanswered',
  upstream_timeout: 'unanswered',
  // Some attempt, or the wait for one, used up the caller's time.
  deadline_exceeded: 'unanswered',
  overloaded: 'self',
  admission_rejected: 'policy',
  denied: 'policy',
  rate_limited: 'policy',
  loop_detected: 'policy',
  draining: 'self',
  fault_injected: 'policy',
  response_aborted: 'unanswered',
  downstream_disconnect: 'canceled',
};

/**
 * Null: the request succeeded, any status below 500 that was relayed whole.
 *
 * @param isOwnFault  this agent stood still while it waited, or its machine had no socket to give
 */
export function failureKindOf(result: RequestResult, status: number, isOwnFault: boolean): FailureKind | null {
  if (result !== 'ok') {
    const kind = KIND_OF_REASON[result];
    return isOwnFault && (kind === 'unanswered' || result === 'upstream_overflow') ? 'self' : kind;
  }
  return status >= 500 ? 'answered' : null;
}
