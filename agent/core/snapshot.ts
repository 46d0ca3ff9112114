// The frozen view that the request path reads. Built by mesh/ and replaced whole; a request pins one and keeps it to its end.

import type { CallerPermission, EffectivePolicy, RouteRule } from '#contract/policy/policy.ts';
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
  /** Cursor of smooth weighted round robin lives in EndpointStats; this one counts picks. */
  picks: number;
  readonly retryBudget: RetryBudget;
}

export interface ServiceView {
  readonly service: string;
  readonly policy: EffectivePolicy;
  readonly permission: CallerPermission;
  readonly rules: readonly RouteRule[];
  /** Every endpoint, ejected ones included. */
  readonly endpoints: readonly EndpointView[];
  /** What a pick chooses from: the serving ones, or all of them in panic. Empty only when `endpoints` is. */
  readonly pickable: readonly EndpointView[];
  /** Endpoints whose ejection time is over; each is owed one live request. Empty in nearly every snapshot. */
  readonly probing: readonly EndpointView[];
  readonly isPanicking: boolean;
  /** Weights of `pickable`: whether all are the same, and their mean (1 when there is none). */
  readonly hasEqualWeights: boolean;
  readonly meanWeight: number;
  /** Running sums of the weights of `pickable`, for drawing by weight; empty when all are the same. */
  readonly cumulativeWeights: readonly number[];
  readonly stats: ServiceStats;
}

/** Services by lower-case name. */
export interface MeshSnapshot {
  /** Counts up with every build. */
  readonly generation: number;
  readonly policyVersion: number;
  readonly services: ReadonlyMap<string, ServiceView>;
}
