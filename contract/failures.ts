// How requests fail, from the side of whoever counts them: the closed list that agents report and the control plane books.

/**
 * `answered`: the upstream answered 5xx. `unanswered`: it did not answer properly (connect, reset, timeout, a body that broke off).
 * `unserved`: there was no endpoint to ask. `policy`: a rule or a limit of the mesh said no. `self`: the agent that counted went away, stood still, or had no room or no socket left.
 * `canceled`: the client left. `invalid`: no request that any service could have served; not an event of the service at all.
 */
export const FAILURE_KINDS = ['answered', 'unanswered', 'unserved', 'policy', 'self', 'canceled', 'invalid'] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** Cumulative, like the other counts of an edge. requests = successes + the sum of these. */
export type FailureCounts = Readonly<Record<FailureKind, number>>;

export const NO_FAILURES: FailureCounts = {
  answered: 0,
  unanswered: 0,
  unserved: 0,
  policy: 0,
  self: 0,
  canceled: 0,
  invalid: 0,
};
