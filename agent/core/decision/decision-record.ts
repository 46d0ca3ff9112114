// Why a request went where it went: written while the request lives, read when somebody asks. Holds references and numbers only;
// words are made by explain.ts.

import type { RouteRule } from '#contract/policy/policy.ts';
import type { OutcomeKind } from '../outcome.ts';
import type { RequestResult } from '../reason.ts';
import type { NoRetryReason, RetryReason } from '../retry/decide.ts';
import type { EndpointView } from '../snapshot.ts';
import type { PickTrace } from './pick-trace.ts';

/** What was decided after an attempt: a reason to repeat, a reason not to, or none because the answer was taken. */
export type AfterAttempt =
  | RetryReason
  | NoRetryReason
  | 'accepted'
  | 'hedge_lost'
  | 'budget_exhausted'
  | 'told_not_to'
  | 'length_required'
  | 'waits_for_other';

export class AttemptRecord {
  readonly trace: PickTrace;
  readonly endpoint: EndpointView;
  /** Began beside another attempt that was still under way. */
  readonly isHedge: boolean;
  /** ms of back-off before it. */
  readonly waitedMs: number;
  kind: OutcomeKind | null = null;
  status = 0;
  /** From sending to the head or the failure. */
  latencyMs = 0;
  after: AfterAttempt | null = null;
  /** Retries that the budget held when a retry was asked for; NaN when none was. */
  budget = Number.NaN;

  constructor(trace: PickTrace, endpoint: EndpointView, isHedge: boolean, waitedMs: number) {
    this.trace = trace;
    this.endpoint = endpoint;
    this.isHedge = isHedge;
    this.waitedMs = waitedMs;
  }
}

/** How the limits stood when the request came. */
export interface LimitState {
  readonly inFlight: number;
  /** Requests in flight that were allowed: the policy's, or the adaptive one's. */
  readonly limit: number;
  readonly isAdaptive: boolean;
  /** Chance of being turned away by admission control, 0 to 1. */
  readonly rejectProbability: number;
}

export type DeadlineSource = 'policy' | 'caller' | 'none';

export class DecisionRecord {
  readonly sequence: number;
  readonly requestId: string;
  /** Monotonic ms, and ms since 1970. */
  readonly startedAt: number;
  readonly startedEpochMs: number;
  readonly method: string;
  readonly target: string;
  readonly direction: 'outbound' | 'inbound';
  service = '';
  policyVersion = 0;
  generation = 0;
  rule: RouteRule | null = null;
  /** Fields of the head, kept only where rules may have looked at them. */
  fields: readonly string[] | null = null;
  limits: LimitState | null = null;
  /** ms in the queue for room. */
  queuedMs = 0;
  /** ms that were left at the beginning; Infinity without a deadline. */
  deadlineMs = Number.POSITIVE_INFINITY;
  deadlineFrom: DeadlineSource = 'none';
  /** Oldest first. */
  readonly attempts: AttemptRecord[] = [];
  result: RequestResult | null = null;
  status = 0;
  durationMs = 0;
  /** The agent's own words, when it answered itself. */
  message = '';

  constructor(
    sequence: number,
    direction: 'outbound' | 'inbound',
    head: { readonly method: string; readonly target: string },
    requestId: string,
    startedAt: number,
    startedEpochMs: number,
  ) {
    this.sequence = sequence;
    this.direction = direction;
    this.method = head.method;
    this.target = head.target;
    this.requestId = requestId;
    this.startedAt = startedAt;
    this.startedEpochMs = startedEpochMs;
  }
}
