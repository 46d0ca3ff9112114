// Limits, admission control and rate limits, from the spelling of the documents to what the request path reads.

import type { Sections } from '../schema/sections-schema.ts';
import { parseDuration, parseRate } from '../text/durations.ts';
import type { Explained, ExplainedPolicy } from './effective.ts';

export interface LimitSettings {
  /** Connections to one endpoint. */
  readonly maxConnections: number;
  /** Requests in flight to the whole service from this agent. */
  readonly maxConcurrentRequests: number;
  /** Requests that may wait for room. */
  readonly maxPendingRequests: number;
  /** How long they may. */
  readonly queueTimeoutMs: number;
  /** Share of the limit that sheddable requests may use. */
  readonly sheddablePercent: number;
  /** An idle pooled connection is closed after this long. */
  readonly idleTimeoutMs: number;
  readonly adaptiveConcurrency: {
    readonly isEnabled: boolean;
    readonly initialLimit: number;
    readonly minLimit: number;
    readonly maxLimit: number;
    readonly bufferPercent: number;
    readonly windowMs: number;
  };
}

export interface AdmissionSettings {
  readonly isEnabled: boolean;
  readonly successThresholdPercent: number;
  readonly aggression: number;
  readonly windowMs: number;
  readonly maxRejectPercent: number;
  readonly minRequestsPerSecond: number;
}

export interface RateLimitSettings {
  /** 0 = no limit. */
  readonly requests: number;
  readonly perMs: number;
  /** Most at once; at least 1 where there is a limit. */
  readonly burst: number;
}

type Last = <T>(read: (sections: Sections) => T | undefined) => Explained<T>;

export function explainLimits(last: Last): ExplainedPolicy['limits'] {
  return {
    maxConnections: last((s) => s.limits?.maxConnections),
    maxConcurrentRequests: last((s) => s.limits?.maxConcurrentRequests),
    maxPendingRequests: last((s) => s.limits?.maxPendingRequests),
    queueTimeout: last((s) => s.limits?.queueTimeout),
    sheddablePercent: last((s) => s.limits?.sheddablePercent),
    idleTimeout: last((s) => s.limits?.idleTimeout),
    adaptiveConcurrency: {
      enabled: last((s) => s.limits?.adaptiveConcurrency?.enabled),
      initialLimit: last((s) => s.limits?.adaptiveConcurrency?.initialLimit),
      minLimit: last((s) => s.limits?.adaptiveConcurrency?.minLimit),
      maxLimit: last((s) => s.limits?.adaptiveConcurrency?.maxLimit),
      bufferPercent: last((s) => s.limits?.adaptiveConcurrency?.bufferPercent),
      window: last((s) => s.limits?.adaptiveConcurrency?.window),
    },
  };
}

export function explainAdmission(last: Last): ExplainedPolicy['admissionControl'] {
  return {
    enabled: last((s) => s.admissionControl?.enabled),
    successThresholdPercent: last((s) => s.admissionControl?.successThresholdPercent),
    aggression: last((s) => s.admissionControl?.aggression),
    window: last((s) => s.admissionControl?.window),
    maxRejectPercent: last((s) => s.admissionControl?.maxRejectPercent),
    minRequestRate: last((s) => s.admissionControl?.minRequestRate),
  };
}

export function explainRateLimit(last: Last): ExplainedPolicy['rateLimit'] {
  return {
    requests: last((s) => s.rateLimit?.requests),
    per: last((s) => s.rateLimit?.per),
    burst: last((s) => s.rateLimit?.burst),
  };
}

/** Limits whose order contradicts (they may come from different layers) are brought into order: the maximum holds. */
export function toLimits(explained: ExplainedPolicy['limits']): LimitSettings {
  const adaptive = explained.adaptiveConcurrency;
  const maxLimit = adaptive.maxLimit.value;
  const minLimit = Math.min(adaptive.minLimit.value, maxLimit);
  return {
    maxConnections: explained.maxConnections.value,
    maxConcurrentRequests: explained.maxConcurrentRequests.value,
    maxPendingRequests: explained.maxPendingRequests.value,
    queueTimeoutMs: parseDuration(explained.queueTimeout.value) ?? 0,
    sheddablePercent: explained.sheddablePercent.value,
    idleTimeoutMs: parseDuration(explained.idleTimeout.value) ?? 0,
    adaptiveConcurrency: {
      isEnabled: adaptive.enabled.value,
      initialLimit: Math.min(Math.max(adaptive.initialLimit.value, minLimit), maxLimit),
      minLimit,
      maxLimit,
      bufferPercent: adaptive.bufferPercent.value,
      windowMs: parseDuration(adaptive.window.value) ?? 0,
    },
  };
}

export function toAdmission(explained: ExplainedPolicy['admissionControl']): AdmissionSettings {
  return {
    isEnabled: explained.enabled.value,
    successThresholdPercent: explained.successThresholdPercent.value,
    aggression: explained.aggression.value,
    windowMs: parseDuration(explained.window.value) ?? 0,
    maxRejectPercent: explained.maxRejectPercent.value,
    minRequestsPerSecond: parseRate(explained.minRequestRate.value) ?? 0,
  };
}

export function toRateLimit({ requests, per, burst }: ExplainedPolicy['rateLimit']): RateLimitSettings {
  return {
    requests: requests.value,
    perMs: parseDuration(per.value) ?? 0,
    burst: burst.value === 0 ? requests.value : burst.value,
  };
}
