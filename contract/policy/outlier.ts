// Outlier detection and active health checks, from the spelling of the documents to what the agent reads.

import type { Sections } from '../schema/sections-schema.ts';
import { parseDuration } from '../text/durations.ts';
import type { Explained, ExplainedPolicy } from './effective.ts';

/** When an endpoint is ejected and for how long. `enforcing…` fields are percents: 0 = counted and told, never acted on. */
export interface OutlierPolicy {
  /** Consecutive 5xx answers that eject; 0 = off. Failures to answer are counted apart, always. Envoy: consecutive_5xx. */
  readonly consecutive5xxErrors: number;
  readonly enforcingConsecutive5xx: number;
  /** Consecutive 502, 503, 504; 0 = off. */
  readonly consecutiveGatewayErrors: number;
  readonly enforcingConsecutiveGatewayFailure: number;
  /** Consecutive connect failures, resets, timeouts; 0 = off. */
  readonly consecutiveLocalOriginFailures: number;
  readonly enforcingConsecutiveLocalOriginFailure: number;
  /** Window of the success-rate detectors, and a quiet interval of the multiplier. */
  readonly intervalMs: number;
  readonly baseEjectionTimeMs: number;
  readonly maxEjectionTimeMs: number;
  /** Drawn from 0 to this and added to each ejection. */
  readonly maxEjectionTimeJitterMs: number;
  /** Ceiling: max(1, floor(percent × N / 100)) endpoints, while at least one stays. */
  readonly maxEjectionPercent: number;
  /** Panic threshold: below this share of serving endpoints, ejections are ignored when picking. 0 = never. */
  readonly minHealthPercent: number;
  /** An active health check that passes ends an ejection, whatever its reason. */
  readonly successfulActiveHealthCheckUnejectHost: boolean;
  /** Mean and standard deviation; `stdevFactor` in thousandths. */
  readonly successRate: ComparedRates & { readonly enforcingLocalOrigin: number; readonly stdevFactor: number };
  readonly failurePercentage: ComparedRates & { readonly enforcingLocalOrigin: number; readonly threshold: number };
  /** Median and median deviation of log-odds. */
  readonly robustSuccessRate: ComparedRates;
  readonly latency: ComparedRates & { readonly windowMs: number; readonly minimumDifferenceMs: number };
}

/** What every detector that compares endpoints needs. */
export interface ComparedRates {
  readonly enforcing: number;
  /** Endpoints with enough requests. */
  readonly minimumHosts: number;
  /** Requests of one endpoint within the window. */
  readonly requestVolume: number;
}

/** What the agent asks endpoints itself. */
export interface HealthCheckPolicy {
  readonly type: 'off' | 'http' | 'tcp';
  readonly path: string;
  readonly expectedStatuses: readonly number[];
  /** From the end of one check to the next, before jitter. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Checks in a row. */
  readonly unhealthyThreshold: number;
  readonly healthyThreshold: number;
  readonly jitterPercent: number;
}

type Last = <T>(read: (sections: Sections) => T | undefined) => Explained<T>;
type ExplainedOutlier = ExplainedPolicy['outlierDetection'];

export function explainOutlier(last: Last): ExplainedOutlier {
  return {
    consecutive5xxErrors: last((s) => s.outlierDetection?.consecutive5xxErrors),
    enforcingConsecutive5xx: last((s) => s.outlierDetection?.enforcingConsecutive5xx),
    consecutiveGatewayErrors: last((s) => s.outlierDetection?.consecutiveGatewayErrors),
    enforcingConsecutiveGatewayFailure: last((s) => s.outlierDetection?.enforcingConsecutiveGatewayFailure),
    consecutiveLocalOriginFailures: last((s) => s.outlierDetection?.consecutiveLocalOriginFailures),
    enforcingConsecutiveLocalOriginFailure: last((s) => s.outlierDetection?.enforcingConsecutiveLocalOriginFailure),
    interval: last((s) => s.outlierDetection?.interval),
    baseEjectionTime: last((s) => s.outlierDetection?.baseEjectionTime),
    maxEjectionTime: last((s) => s.outlierDetection?.maxEjectionTime),
    maxEjectionTimeJitter: last((s) => s.outlierDetection?.maxEjectionTimeJitter),
    maxEjectionPercent: last((s) => s.outlierDetection?.maxEjectionPercent),
    minHealthPercent: last((s) => s.outlierDetection?.minHealthPercent),
    successfulActiveHealthCheckUnejectHost: last((s) => s.outlierDetection?.successfulActiveHealthCheckUnejectHost),
    successRate: {
      minimumHosts: last((s) => s.outlierDetection?.successRate?.minimumHosts),
      requestVolume: last((s) => s.outlierDetection?.successRate?.requestVolume),
      stdevFactor: last((s) => s.outlierDetection?.successRate?.stdevFactor),
      enforcing: last((s) => s.outlierDetection?.successRate?.enforcing),
      enforcingLocalOrigin: last((s) => s.outlierDetection?.successRate?.enforcingLocalOrigin),
    },
    failurePercentage: {
      threshold: last((s) => s.outlierDetection?.failurePercentage?.threshold),
      minimumHosts: last((s) => s.outlierDetection?.failurePercentage?.minimumHosts),
      requestVolume: last((s) => s.outlierDetection?.failurePercentage?.requestVolume),
      enforcing: last((s) => s.outlierDetection?.failurePercentage?.enforcing),
      enforcingLocalOrigin: last((s) => s.outlierDetection?.failurePercentage?.enforcingLocalOrigin),
    },
    robustSuccessRate: {
      minimumHosts: last((s) => s.outlierDetection?.robustSuccessRate?.minimumHosts),
      requestVolume: last((s) => s.outlierDetection?.robustSuccessRate?.requestVolume),
      enforcing: last((s) => s.outlierDetection?.robustSuccessRate?.enforcing),
    },
    latency: {
      window: last((s) => s.outlierDetection?.latency?.window),
      minimumHosts: last((s) => s.outlierDetection?.latency?.minimumHosts),
      requestVolume: last((s) => s.outlierDetection?.latency?.requestVolume),
      minimumDifference: last((s) => s.outlierDetection?.latency?.minimumDifference),
      enforcing: last((s) => s.outlierDetection?.latency?.enforcing),
    },
  };
}

export function toOutlier(outlier: ExplainedOutlier): OutlierPolicy {
  const { successRate, failurePercentage, robustSuccessRate, latency } = outlier;
  return {
    consecutive5xxErrors: outlier.consecutive5xxErrors.value,
    enforcingConsecutive5xx: outlier.enforcingConsecutive5xx.value,
    consecutiveGatewayErrors: outlier.consecutiveGatewayErrors.value,
    enforcingConsecutiveGatewayFailure: outlier.enforcingConsecutiveGatewayFailure.value,
    consecutiveLocalOriginFailures: outlier.consecutiveLocalOriginFailures.value,
    enforcingConsecutiveLocalOriginFailure: outlier.enforcingConsecutiveLocalOriginFailure.value,
    intervalMs: milliseconds(outlier.interval),
    baseEjectionTimeMs: milliseconds(outlier.baseEjectionTime),
    maxEjectionTimeMs: milliseconds(outlier.maxEjectionTime),
    maxEjectionTimeJitterMs: milliseconds(outlier.maxEjectionTimeJitter),
    maxEjectionPercent: outlier.maxEjectionPercent.value,
    minHealthPercent: outlier.minHealthPercent.value,
    successfulActiveHealthCheckUnejectHost: outlier.successfulActiveHealthCheckUnejectHost.value,
    successRate: {
      ...compared(successRate),
      enforcingLocalOrigin: successRate.enforcingLocalOrigin.value,
      stdevFactor: successRate.stdevFactor.value,
    },
    failurePercentage: {
      ...compared(failurePercentage),
      enforcingLocalOrigin: failurePercentage.enforcingLocalOrigin.value,
      threshold: failurePercentage.threshold.value,
    },
    robustSuccessRate: compared(robustSuccessRate),
    latency: {
      ...compared(latency),
      windowMs: milliseconds(latency.window),
      minimumDifferenceMs: milliseconds(latency.minimumDifference),
    },
  };
}

export function explainHealthCheck(last: Last): ExplainedPolicy['healthCheck'] {
  return {
    type: last((s) => s.healthCheck?.type),
    path: last((s) => s.healthCheck?.path),
    expectedStatuses: last((s) => s.healthCheck?.expectedStatuses),
    interval: last((s) => s.healthCheck?.interval),
    timeout: last((s) => s.healthCheck?.timeout),
    unhealthyThreshold: last((s) => s.healthCheck?.unhealthyThreshold),
    healthyThreshold: last((s) => s.healthCheck?.healthyThreshold),
    jitterPercent: last((s) => s.healthCheck?.jitterPercent),
  };
}

export function toHealthCheck(check: ExplainedPolicy['healthCheck']): HealthCheckPolicy {
  return {
    type: check.type.value,
    path: check.path.value,
    expectedStatuses: [...check.expectedStatuses.value],
    intervalMs: milliseconds(check.interval),
    timeoutMs: milliseconds(check.timeout),
    unhealthyThreshold: check.unhealthyThreshold.value,
    healthyThreshold: check.healthyThreshold.value,
    jitterPercent: check.jitterPercent.value,
  };
}

function compared(detector: { readonly [Key in keyof ComparedRates]: Explained<number> }): ComparedRates {
  const { enforcing, minimumHosts, requestVolume } = detector;
  return { enforcing: enforcing.value, minimumHosts: minimumHosts.value, requestVolume: requestVolume.value };
}

/** Documents are valid here, so every duration parses. */
function milliseconds({ value }: Explained<string>): number {
  return parseDuration(value) ?? 0;
}
