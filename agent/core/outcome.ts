// How an attempt ended: the closed list. Retry safety, outlier accounting and metrics read these fields and nothing else.

/** Label-safe names of outcomes; `outrigger_attempts_total{outcome}`. */
export const OUTCOME_KINDS = [
  'response',
  'connect_failure',
  'connect_timeout',
  'reset',
  'protocol_error',
  'timeout',
  'overflow',
  'canceled',
] as const;
export type OutcomeKind = (typeof OUTCOME_KINDS)[number];

/**
 * One attempt, ended.
 *
 * `overflow` never reached the endpoint and `canceled` was ended by the downstream: neither says anything about the
 * endpoint's health. A `response` whose body broke off later is a `reset` with `isHeadRelayed`.
 */
export interface Outcome {
  readonly kind: OutcomeKind;
  /** Status of the response head; 0 unless `kind` is `response`, or a head had come before the reset. */
  readonly status: number;
  /** From sending the request to the response head (or to the failure), ms. */
  readonly latencyMs: number;
  /** How much of `latencyMs` this process itself stood still, so that nobody else is blamed for it. */
  readonly stalledMs: number;
  /** `Retry-After` of the response in ms, 0 when absent. */
  readonly retryAfterMs: number;
  /** True when at least one byte of the request was handed to a connection. */
  readonly isSent: boolean;
  /** True when the connection had carried an earlier request: its end may be an idle close rather than a fault. */
  readonly isReusedConnection: boolean;
  /** True when the response head went downstream: nothing can be repeated any more. */
  readonly isHeadRelayed: boolean;
}
