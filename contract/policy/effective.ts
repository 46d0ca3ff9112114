// Layers of settings in, one policy out. The last layer that says a value wins; lists are replaced whole. Each value keeps
// where it came from, because the first question after "what applies?" is "who said so?".

import type { Sections } from '../schema/sections-schema.ts';
import { WRITTEN_POLICY_SCHEMAS } from '../schema/written.ts';
import { parseDuration, parseRate } from '../text/durations.ts';
import { explainBalancer, toBalancer } from './balancer.ts';
import { explainAdmission, explainLimits, explainRateLimit, toAdmission, toLimits, toRateLimit } from './limits.ts';
import { explainHealthCheck, explainOutlier, toHealthCheck, toOutlier } from './outlier.ts';
import { type EffectivePolicy, type PolicyId, RETRY_CONDITIONS, type RetryCondition } from './policy.ts';

/** Settings of one document, or of a part of it. */
export interface Layer {
  readonly from: PolicyId | 'default';
  readonly sections: Sections;
}

/** A value as documents write it, and the document that said it. */
export interface Explained<T> {
  readonly value: T;
  readonly from: PolicyId | 'default';
}

/** Every field of the sections, filled in and explained. A new field of the schema that is missing here does not compile. */
export type ExplainedPolicy = Explain<Sections>;
type Explain<S> = {
  readonly [Key in keyof S]-?: NonNullable<S[Key]> extends readonly unknown[] | string | number | boolean
    ? Explained<NonNullable<S[Key]>>
    : Explain<NonNullable<S[Key]>>;
};

/** All defaults of the schema, as one layer. */
export const DEFAULT_LAYER: Layer = {
  from: 'default',
  sections: defaultsOf(WRITTEN_POLICY_SCHEMAS.MeshDefaults.properties?.spec ?? {}) as Sections,
};

function defaultsOf(schema: { readonly properties?: object; readonly default?: unknown }): unknown {
  if (schema.properties === undefined) return schema.default;
  return Object.fromEntries(Object.entries(schema.properties).map(([key, inner]) => [key, defaultsOf(inner)]));
}

/** @param layers from the most general to the closest; DEFAULT_LAYER is put before them */
export function explainLayers(layers: readonly Layer[]): ExplainedPolicy {
  const all = [DEFAULT_LAYER, ...layers];
  const last = <T>(read: (sections: Sections) => T | undefined): Explained<T> => {
    const { sections, from } = all.findLast((layer) => read(layer.sections) !== undefined) ?? DEFAULT_LAYER;
    return { value: read(sections) as T, from }; // the default layer says every value
  };
  const explained: ExplainedPolicy = {
    loadBalancer: explainBalancer(last),
    timeouts: {
      connect: last((s) => s.timeouts?.connect),
      request: last((s) => s.timeouts?.request),
      backendRequest: last((s) => s.timeouts?.backendRequest),
      idle: last((s) => s.timeouts?.idle),
    },
    retries: {
      attempts: last((s) => s.retries?.attempts),
      on: last((s) => s.retries?.on),
      methods: last((s) => s.retries?.methods),
      backoff: {
        base: last((s) => s.retries?.backoff?.base),
        max: last((s) => s.retries?.backoff?.max),
      },
      hedging: {
        enabled: last((s) => s.retries?.hedging?.enabled),
        percentile: last((s) => s.retries?.hedging?.percentile),
        minDelay: last((s) => s.retries?.hedging?.minDelay),
      },
      budget: {
        percent: last((s) => s.retries?.budget?.percent),
        interval: last((s) => s.retries?.budget?.interval),
        minRetryRate: last((s) => s.retries?.budget?.minRetryRate),
      },
    },
    limits: explainLimits(last),
    admissionControl: explainAdmission(last),
    rateLimit: explainRateLimit(last),
    outlierDetection: explainOutlier(last),
    healthCheck: explainHealthCheck(last),
    exposeEndpoint: last((s) => s.exposeEndpoint),
    slo: {
      target: last((s) => s.slo?.target),
      window: last((s) => s.slo?.window),
      latencyThreshold: last((s) => s.slo?.latencyThreshold),
      freezeBelow: last((s) => s.slo?.freezeBelow),
    },
  };
  return withinBounds(explained);
}

/**
 * Pairs whose halves may come from different layers: an attempt never outlasts its request, and neither an ejection nor a
 * back-off has a maximum below its base (Envoy raises the maximum too). The half that gives way shows where its bound came from.
 */
function withinBounds(policy: ExplainedPolicy): ExplainedPolicy {
  const { request, backendRequest } = policy.timeouts;
  const { baseEjectionTime, maxEjectionTime } = policy.outlierDetection;
  const requestMs = milliseconds(request);
  const attemptMs = milliseconds(backendRequest);
  const isAttemptLonger = requestMs > 0 && attemptMs > requestMs;
  const { base, max } = policy.retries.backoff;
  const isMaxShorter = milliseconds(maxEjectionTime) < milliseconds(baseEjectionTime);
  return {
    ...policy,
    timeouts: { ...policy.timeouts, backendRequest: isAttemptLonger ? request : backendRequest },
    retries: {
      ...policy.retries,
      backoff: { base, max: milliseconds(max) < milliseconds(base) ? base : max },
    },
    outlierDetection: {
      ...policy.outlierDetection,
      maxEjectionTime: isMaxShorter ? baseEjectionTime : maxEjectionTime,
    },
  };
}

/** What the request path reads: numbers for texts, frozen. */
export function toEffective({
  loadBalancer,
  timeouts,
  retries,
  limits,
  admissionControl,
  rateLimit,
  outlierDetection: outlier,
  healthCheck,
  exposeEndpoint,
  slo,
}: ExplainedPolicy): EffectivePolicy {
  return deepFreeze({
    loadBalancer: toBalancer(loadBalancer),
    timeouts: {
      connectMs: milliseconds(timeouts.connect),
      requestMs: milliseconds(timeouts.request),
      backendRequestMs: milliseconds(timeouts.backendRequest),
      idleMs: milliseconds(timeouts.idle),
    },
    retries: {
      attempts: retries.attempts.value,
      onConditions: retries.on.value.filter(isCondition),
      onStatuses: retries.on.value.filter((word) => !isCondition(word)).map(Number),
      methods: [...retries.methods.value],
      backoff: { baseMs: milliseconds(retries.backoff.base), maxMs: milliseconds(retries.backoff.max) },
      hedging: {
        isEnabled: retries.hedging.enabled.value,
        percentile: retries.hedging.percentile.value,
        minDelayMs: milliseconds(retries.hedging.minDelay),
      },
      budget: {
        percent: retries.budget.percent.value,
        intervalMs: milliseconds(retries.budget.interval),
        minRetriesPerSecond: parseRate(retries.budget.minRetryRate.value) ?? 0,
      },
    },
    limits: toLimits(limits),
    admissionControl: toAdmission(admissionControl),
    rateLimit: toRateLimit(rateLimit),
    outlierDetection: toOutlier(outlier),
    healthCheck: toHealthCheck(healthCheck),
    exposeEndpoint: exposeEndpoint.value,
    slo: { latencyThresholdMs: milliseconds(slo.latencyThreshold) },
  });
}

export function isCondition(word: string): word is RetryCondition {
  return RETRY_CONDITIONS.includes(word as RetryCondition);
}

/** Documents are valid here, so every duration parses. */
function milliseconds({ value }: Explained<string>): number {
  return parseDuration(value) ?? 0;
}

export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
