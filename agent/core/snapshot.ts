// The frozen view that the request path reads. Built by mesh/ and replaced whole; a request pins one and keeps it to its end.

import type { CallerPermission, EffectivePolicy, RouteRule } from '#contract/policy/policy.ts';
import type { MemberTable } from './balance/hash-table.ts';
import type { Endpoint } from './endpoint.ts';
import type { RetryBudget } from './retry/budget.ts';
import type { EndpointStats } from './stats.ts';

/** One endpoint in a snapshot: identity that may change, measurement that does not. */
export interface EndpointView {
  readonly endpoint: Endpoint;
  /** Shared by all snapshots that contain the endpoint's id. */
  readonly stats: EndpointStats;
}

/** What is measured per service on the request path. One object per service name for the life of the agent. */
export interface ServiceStats {
  readonly service: string;
  /** Requests in flight, retries not counted again. */
  inFlight: number;
  picks: number;
  /** Cursor of round robin over equal weights; that of unequal ones lives in EndpointStats. */
  roundRobinAt: number;
  readonly retryBudget: RetryBudget;
}

/** Endpoints that are picked from together: those of one priority level, or of one zone of it. */
export interface EndpointGroup {
  /** 0 first. */
  readonly priority: number;
  /** Null: zones play no part. */
  readonly zone: string | null;
  /** Used whole, whatever the state of its endpoints. */
  readonly isPanicking: boolean;
  /** What a pick chooses from; not empty. */
  readonly views: readonly EndpointView[];
  /** Effective weights, in the order of `views`: below the endpoint's own while it warms up or is held back. */
  readonly weights: ArrayLike<number>;
  readonly hasEqualWeights: boolean;
  readonly totalWeight: number;
  readonly meanWeight: number;
  /** Running sums of `weights`, for drawing by weight. */
  readonly cumulativeWeights: ArrayLike<number>;
  /** Table of ringHash and maglev, else null; and for each member of the table its view, or null when it is not in `views`. */
  readonly members: MemberTable | null;
  readonly byMember: readonly (EndpointView | null)[];
}

export interface ServiceView {
  readonly service: string;
  readonly policy: EffectivePolicy;
  readonly permission: CallerPermission;
  readonly rules: readonly RouteRule[];
  /** Every endpoint, ejected ones included. */
  readonly endpoints: readonly EndpointView[];
  /** What picks choose from, with the share of each as running sums (the last is 1; empty with one group or none). */
  readonly groups: readonly EndpointGroup[];
  readonly groupShares: readonly number[];
  /** Endpoints of all groups: the serving ones, or all of a level in panic. Empty only when `endpoints` is. */
  readonly pickable: readonly EndpointView[];
  /** Endpoints whose ejection time is over; each is owed one live request. Empty in nearly every snapshot. */
  readonly probing: readonly EndpointView[];
  readonly isPanicking: boolean;
  /** Monotonic ms at which the last endpoint ends its warm-up; -1 when none is in its window. */
  readonly warmUntil: number;
  readonly stats: ServiceStats;
}

/** Services by lower-case name. */
export interface MeshSnapshot {
  /** Counts up with every build. */
  readonly generation: number;
  readonly policyVersion: number;
  readonly services: ReadonlyMap<string, ServiceView>;
}
