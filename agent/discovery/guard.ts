// Decides how much of an answer from Consul is believed. Pure. Fail static: what shrinks a set suspiciously waits for proof,
// what grows it never does.

import type { Endpoint } from '../core/endpoint.ts';

export interface GuardLimits {
  /** An empty answer after endpoints were known is believed after this long. */
  readonly emptyHoldMs: number;
  /** A set that loses more than half in one step is read again, without an index, after this long. */
  readonly confirmMs: number;
  /** After Consul was gone or lost its state, nothing is taken away for this long. */
  readonly settleMs: number;
  /** Answers without a leader are asked again after this long. */
  readonly uncertainMs: number;
}

export const DEFAULT_GUARD: GuardLimits = {
  emptyHoldMs: 600_000,
  confirmMs: 1_000,
  settleMs: 30_000,
  uncertainMs: 5_000,
};

/** What the source said, and how sure it is of it. */
export interface Answer {
  readonly endpoints: readonly Endpoint[];
  /** X-Consul-Results-Filtered-By-ACLs: instances exist that the token may not see. */
  readonly isFiltered: boolean;
  /** The answering server knows no leader, or heard of it long ago. */
  readonly isUncertain: boolean;
  /** Instances exist and an operator put all of them in maintenance: an empty set is then a statement, not a symptom. */
  readonly isAllMaintenance: boolean;
}

export type HoldReason = 'empty' | 'acl_filtered' | 'no_leader' | 'settling' | 'shrinking';

/** What is remembered between answers. */
export interface GuardState {
  /** Last set that was believed whole. */
  readonly accepted: readonly Endpoint[];
  readonly hold: { readonly reason: HoldReason; readonly since: number } | null;
  /** When Consul came back after it was gone or lost its state; -Infinity when it never was. */
  readonly recoveredAt: number;
}

export const INITIAL_GUARD: GuardState = { accepted: [], hold: null, recoveredAt: Number.NEGATIVE_INFINITY };

export interface Decision {
  readonly state: GuardState;
  readonly serve: readonly Endpoint[];
  /** One sentence for reports while the answer is not served as it is; null otherwise. */
  readonly holding: string | null;
  /** Ask again after this long, without an index; null: wait for Consul to say something new. */
  readonly recheckMs: number | null;
}

/**
 * Judges one answer against the set in use.
 *
 * While holding, the union of both sets is served: additions at once, removals once they are proven.
 */
export function decideAnswer(state: GuardState, answer: Answer, now: number, limits: GuardLimits): Decision {
  const reason = doubt(state, answer, now, limits);
  if (reason === null) {
    return {
      state: { ...state, accepted: answer.endpoints, hold: null },
      serve: answer.endpoints,
      holding: null,
      recheckMs: null,
    };
  }
  const since = state.hold?.reason === reason ? state.hold.since : now;
  const left = Math.max(0, since + holdLength(reason, state, since, limits) - now);
  // An answer that outlived its hold is believed. Filtering and a missing leader are positive proof and have no end.
  if (left <= 0 && reason !== 'acl_filtered' && reason !== 'no_leader') {
    return {
      state: { ...state, accepted: answer.endpoints, hold: null },
      serve: answer.endpoints,
      holding: null,
      recheckMs: null,
    };
  }
  const serve = union(state.accepted, answer.endpoints);
  return {
    state: { ...state, hold: { reason, since } },
    serve,
    holding: sentence(reason, state.accepted.length, answer.endpoints.length, limits),
    recheckMs: left > 0 ? left : limits.uncertainMs,
  };
}

function doubt(state: GuardState, answer: Answer, now: number, limits: GuardLimits): HoldReason | null {
  const before = state.accepted.length;
  const ids = new Set(answer.endpoints.map(({ id }) => id));
  const isRemoving = state.accepted.some(({ id }) => !ids.has(id));
  if (!isRemoving || answer.isAllMaintenance) return null;
  if (answer.isFiltered) return 'acl_filtered';
  if (answer.isUncertain) return 'no_leader';
  if (answer.endpoints.length === 0) return 'empty';
  if (now - state.recoveredAt < limits.settleMs) return 'settling';
  if (answer.endpoints.length * 2 < before) return 'shrinking';
  return null;
}

function holdLength(reason: HoldReason, state: GuardState, since: number, limits: GuardLimits): number {
  switch (reason) {
    case 'empty':
      return limits.emptyHoldMs;
    case 'settling':
      return state.recoveredAt + limits.settleMs - since;
    case 'shrinking':
      return limits.confirmMs;
    default:
      return 0;
  }
}

/** The served set with what is new in the answer; where both know an id, the answer's word counts. */
function union(accepted: readonly Endpoint[], incoming: readonly Endpoint[]): Endpoint[] {
  const byId = new Map(accepted.map((endpoint) => [endpoint.id, endpoint]));
  for (const endpoint of incoming) byId.set(endpoint.id, endpoint);
  return [...byId.values()];
}

function sentence(reason: HoldReason, before: number, after: number, limits: GuardLimits): string {
  const keep = `keeping the ${before} known`;
  switch (reason) {
    case 'empty':
      return (
        `Consul answered with no endpoint at all; ${keep} for up to ${Math.round(limits.emptyHoldMs / 1000)} s ` +
        '(possible ACL problem: a token without read rights sees an empty list; or Consul lost its state; or the service is gone)'
      );
    case 'acl_filtered':
      return `Consul left endpoints out because of ACLs and shows ${after} of ${before}; ${keep} until the token may see them again`;
    case 'no_leader':
      return `the Consul server that answered knows no leader and shows ${after} of ${before}; ${keep} until one does`;
    case 'settling':
      return `Consul came back and shows ${after} of ${before}; ${keep} until registrations have settled`;
    case 'shrinking':
      return `Consul shows ${after} of ${before}, less than half; ${keep} until a second read confirms it`;
  }
}
