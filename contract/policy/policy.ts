// The shapes that a policy takes after parsing. The schemas that check what people write are in policy-schema.ts.

import type { BalancerSettings } from './balancer.ts';
import type { AdmissionSettings, LimitSettings, RateLimitSettings } from './limits.ts';
import type { HealthCheckPolicy, OutlierPolicy } from './outlier.ts';
import type { RouteRule } from './route-rule.ts';

/** The four kinds of policy document. */
export const POLICY_KINDS = ['MeshDefaults', 'ServicePolicy', 'HTTPRoute', 'ServiceIntentions'] as const;
export type PolicyKind = (typeof POLICY_KINDS)[number];

/** `Kind/name`, the identity of a document in the store, in logs and in `from` of an effective value. */
export type PolicyId = `${PolicyKind}/${string}`;

/** Balancing algorithms by the name that policies use. */
export const BALANCER_POLICIES = ['peakEwma', 'roundRobin', 'leastRequest', 'random', 'ringHash', 'maglev'] as const;
export type BalancerPolicy = (typeof BALANCER_POLICIES)[number];

/** Conditions under which an attempt may be repeated. A status is written as a string: `"503"`. */
export const RETRY_CONDITIONS = ['connectFailure', 'reset', 'timeout', '5xx', 'gatewayError'] as const;
export type RetryCondition = (typeof RETRY_CONDITIONS)[number];

/**
 * What applies to requests from one caller to one service once all documents are merged and every default is filled in.
 * Durations are milliseconds, percents integers 0–100. Frozen; compared by identity on the request path.
 */
export interface EffectivePolicy {
  readonly loadBalancer: BalancerSettings;
  readonly timeouts: {
    /** Opening a connection to an endpoint. */
    readonly connectMs: number;
    /** From the end of the request (body included) to the response head, all attempts together. 0 = none. */
    readonly requestMs: number;
    /** One attempt: from the last byte sent to the response head. 0 = none. Never longer than requestMs in effect. */
    readonly backendRequestMs: number;
    /** No byte in either direction while a body is under way. */
    readonly idleMs: number;
  };
  readonly retries: {
    /** Attempts after the first; 0 turns retries off. */
    readonly attempts: number;
    readonly onConditions: readonly RetryCondition[];
    readonly onStatuses: readonly number[];
    /** Methods that may be repeated once bytes were sent. A request with an Idempotency-Key may always be. */
    readonly methods: readonly string[];
    /** Before retry N: anything between 0 and min(maxMs, (2^N − 1) × baseMs). */
    readonly backoff: { readonly baseMs: number; readonly maxMs: number };
    /** A second copy once `percentile` percent of recent answers would have come, but not before minDelayMs. */
    readonly hedging: { readonly isEnabled: boolean; readonly percentile: number; readonly minDelayMs: number };
    readonly budget: {
      /** Retries as a share of requests within the interval. */
      readonly percent: number;
      readonly intervalMs: number;
      /** Retries that are always allowed, per second. */
      readonly minRetriesPerSecond: number;
    };
  };
  readonly limits: LimitSettings;
  readonly admissionControl: AdmissionSettings;
  readonly rateLimit: RateLimitSettings;
  readonly outlierDetection: OutlierPolicy;
  readonly healthCheck: HealthCheckPolicy;
  /** Tell the caller which endpoint answered and after how many attempts (x-outrigger-endpoint, x-outrigger-attempts). */
  readonly exposeEndpoint: boolean;
  /** What agents need of the service's promise; the rest is the control plane's (slo.ts). */
  readonly slo: {
    /** A success that took longer counts as slow; 0 = none does. */
    readonly latencyThresholdMs: number;
  };
}

/** The endpoints of a service for which `filter` holds, an expression that policy/filter.ts reads. */
export interface SubsetFilter {
  readonly name: string;
  readonly filter: string;
}

/** Everything the documents say about one (caller, service) pair. */
export interface ServicePlan {
  readonly service: string;
  readonly policy: EffectivePolicy;
  /** Empty when there is no HTTPRoute: everything goes to the service itself under `policy`. */
  readonly rules: readonly RouteRule[];
  /** Parts of the service that rules may name; order as written. */
  readonly subsets: readonly SubsetFilter[];
  /** False when ServiceIntentions deny this caller outright; permissions are judged per request. */
  readonly permission: CallerPermission;
}

export type CallerPermission =
  | { readonly kind: 'allow' }
  | { readonly kind: 'deny'; readonly from: PolicyId }
  | {
      readonly kind: 'permissions';
      readonly from: PolicyId;
      readonly permissions: readonly {
        readonly action: 'allow' | 'deny';
        readonly methods: readonly string[] | null;
        readonly pathPrefix: string | null;
        readonly pathExact: string | null;
      }[];
    };

/** A document as it was written, after it was found valid. This, as JSON, is what the store keeps and the stream carries. */
export interface PolicyDocument {
  readonly apiVersion: 'outrigger.dev/v1';
  readonly kind: PolicyKind;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: Readonly<Record<string, unknown>>;
}
