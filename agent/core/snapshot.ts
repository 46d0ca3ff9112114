// The frozen view that the request path reads. Built by mesh/ and replaced whole; a request pins one and keeps it to its end.

import type { EndpointState } from '#contract/frames.ts';
import type { CallerPermission, EffectivePolicy, SubsetFilter } from '#contract/policy/policy.ts';
import type { MemberTable } from './balance/hash-table.ts';
import type { Turns } from './balance/round-robin.ts';
import type { HeldView } from './decision/pick-trace.ts';
import type { Endpoint } from './endpoint.ts';
import type { AdmissionControl } from './limits/admission.ts';
import type { GradientLimit } from './limits/gradient.ts';
import type { PendingQueue } from './limits/pending-queue.ts';
import type { TokenBucket } from './limits/token-bucket.ts';
import type { RetryBudget } from './retry/budget.ts';
import type { HedgeDelay } from './retry/hedge-delay.ts';
import type { RouteTable } from './route.ts';
import type { EndpointStats } from './stats.ts';

/** One endpoint in a snapshot: identity that may change, measurement that does not. */
export interface EndpointView {
  readonly endpoint: Endpoint;
  /** Shared by all snapshots that contain the endpoint's id. */
  readonly stats: EndpointStats;
}

/** Where round robin stands, unsigned 32-bit. */
export interface RoundRobinCursor {
  at: number;
}

/** What is measured per service on the request path. One object per service name for the life of the agent. */
export interface ServiceStats {
  readonly service: string;
  /** Requests in flight, retries not counted again. */
  inFlight: number;
  picks: number;
  /** Of round robin over the whole service; each subset has its own. */
  readonly cursor: RoundRobinCursor;
  readonly retryBudget: RetryBudget;
  /** For a number on its way from one function to another; nothing is kept in it. */
  readonly scratch: Float64Array;
  /** Requests that wait for room. */
  readonly pending: PendingQueue;
  readonly rateLimit: TokenBucket;
  readonly admission: AdmissionControl;
  /** Of the own application, where the policy asks for it. */
  readonly gradient: GradientLimit;
  readonly hedgeDelay: HedgeDelay;
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
  /** Smooth sequence of roundRobin over unequal weights; null where nobody asks for it. */
  readonly turns: Turns | null;
  /** Table of ringHash and maglev, else null; and for each member of the table its view, or null when it is not in `views`. */
  readonly members: MemberTable | null;
  readonly byMember: readonly (EndpointView | null)[];
}

/** An endpoint that a view leaves out (or, in panic, uses all the same). */
export interface Exclusion {
  readonly endpoint: EndpointView;
  readonly state: EndpointState;
  /** Reason code of the ejection and its sentence; empty for a state that has none. */
  readonly reason: string;
  readonly text: string;
  /** Monotonic ms at which the ejection ends. */
  readonly until: number;
}

export interface ServiceView {
  readonly service: string;
  readonly policy: EffectivePolicy;
  readonly permission: CallerPermission;
  readonly routes: RouteTable;
  /** The subset of the service that this view is of; null for all of it. */
  readonly subset: SubsetFilter | null;
  /** Views of the subsets that rules may name. */
  readonly subsets: ReadonlyMap<string, ServiceView>;
  /** All that discovery told of the service, whether or not this agent or this subset has a use for it. */
  readonly members: readonly EndpointView[];
  /** Every endpoint of this view, ejected ones included. */
  readonly endpoints: readonly EndpointView[];
  /** What picks choose from, with the share of each as running sums (the last is 1; empty with one group or none). */
  readonly groups: readonly EndpointGroup[];
  readonly groupShares: readonly number[];
  /** Endpoints of all groups: the serving ones, or all of a level in panic. Empty only when `endpoints` is. */
  readonly pickable: readonly EndpointView[];
  /** Endpoints whose ejection time is over; each is owed one live request. Empty in nearly every snapshot. */
  readonly probing: readonly EndpointView[];
  readonly isPanicking: boolean;
  /** What records refer to in place of this view; its `view` is null until somebody does, and again when it is let go. */
  readonly held: HeldView;
  /** Who was not serving when the view was built, and why: evidence for decision records. Empty in most snapshots. */
  readonly excluded: readonly Exclusion[];
  /** Monotonic ms at which the last endpoint ends its warm-up; -1 when none is in its window. */
  readonly warmUntil: number;
  /** A view that shared its cursor with another would see every second step of it, and some endpoints never. */
  readonly cursor: RoundRobinCursor;
  readonly stats: ServiceStats;
}

/** Services by lower-case name. */
export interface MeshSnapshot {
  /** Counts up with every build. */
  readonly generation: number;
  readonly policyVersion: number;
  readonly services: ReadonlyMap<string, ServiceView>;
}
