// The settings of outlier detection. Names and defaults are Envoy's in camelCase; where a default differs, the field says why.

import { Type } from 'typebox';
import { CLOSED, count, duration, type FieldNotes, flag } from './schema-fields.ts';

const DRY_RUN = 'below 100 a detection is acted on with this chance, at 0 it is only counted and told';

function enforcing(fallback: number, what: string, elsewhere: string, note = '') {
  return count(fallback, 0, 100, {
    means: `Percentage of detections by ${what} that eject: ${DRY_RUN}.${note === '' ? '' : ` ${note}`}`,
    elsewhere,
  });
}

function hosts(fallback: number, elsewhere?: string) {
  const text: FieldNotes = {
    means: 'Endpoints with enough requests that the detector needs to compare.',
    larger: 'small services are not watched by it',
  };
  return count(fallback, 3, 1_000, elsewhere === undefined ? text : { ...text, elsewhere });
}

function volume(fallback: number, window: string, elsewhere?: string) {
  const text: FieldNotes = {
    means: `Requests that an endpoint must have answered within ${window} to be compared.`,
    larger: 'quiet endpoints are not watched by it',
  };
  return count(fallback, 10, 1_000_000, elsewhere === undefined ? text : { ...text, elsewhere });
}

const SuccessRate = Type.Optional(
  Type.Object(
    {
      minimumHosts: hosts(5, 'Envoy success_rate_minimum_hosts'),
      requestVolume: volume(100, 'interval', 'Envoy success_rate_request_volume'),
      stdevFactor: count(1900, 0, 10_000, {
        means:
          'Ejects below mean − stdevFactor / 1000 × standard deviation of all success rates, when the difference is also significant: the lower bound of the failure rate must be 2 points above the upper bound of the others, which Envoy does not ask.',
        larger: 'an endpoint must be worse; never fires when more than 1000² / (1000² + stdevFactor²) of them are bad',
        elsewhere: 'Envoy success_rate_stdev_factor',
      }),
      enforcing: enforcing(100, 'success rate of answers (5xx against all)', 'Envoy enforcing_success_rate'),
      enforcingLocalOrigin: enforcing(
        100,
        'success rate of attempts to get an answer',
        'Envoy enforcing_local_origin_success_rate',
      ),
    },
    CLOSED,
  ),
);

const FailurePercentage = Type.Optional(
  Type.Object(
    {
      threshold: count(85, 1, 100, {
        means: 'Ejects from this percentage of failures within interval on.',
        larger: 'an endpoint must fail more',
        elsewhere: 'Envoy failure_percentage_threshold',
      }),
      minimumHosts: hosts(5, 'Envoy failure_percentage_minimum_hosts'),
      requestVolume: volume(50, 'interval', 'Envoy failure_percentage_request_volume'),
      enforcing: enforcing(0, 'percentage of 5xx answers', 'Envoy enforcing_failure_percentage'),
      enforcingLocalOrigin: enforcing(
        0,
        'percentage of attempts without an answer',
        'Envoy enforcing_failure_percentage_local_origin',
      ),
    },
    CLOSED,
  ),
);

const RobustSuccessRate = Type.Optional(
  Type.Object(
    {
      minimumHosts: hosts(3),
      requestVolume: volume(20, 'interval'),
      enforcing: enforcing(
        100,
        'distance from the median failure rate',
        'none has it',
        'Finds bad endpoints as long as they are fewer than half, where mean and deviation go blind at 22 %.',
      ),
    },
    CLOSED,
  ),
);

const Latency = Type.Optional(
  Type.Object(
    {
      window: duration('1s', '100ms', '1m', {
        means:
          'Time over which 90th percentiles are compared, within a zone. After two windows in a row above twice the median the endpoint has half its weight, after four it is ejected.',
        larger: 'a slow endpoint keeps its share of traffic longer',
      }),
      minimumHosts: hosts(3),
      requestVolume: volume(30, 'window'),
      minimumDifference: duration('20ms', '0s', '1m', {
        means: 'A 90th percentile less than this above the median is never held against an endpoint.',
        larger: 'fast services keep slow endpoints',
      }),
      enforcing: enforcing(100, 'latency', 'none has it'),
    },
    CLOSED,
  ),
);

export const OutlierDetection = Type.Object(
  {
    consecutive5xxErrors: count(5, 0, 1_000, {
      means: 'Consecutive 5xx answers that eject an endpoint; 0 = off.',
      larger: 'a broken endpoint keeps its share of traffic longer',
      elsewhere: 'Envoy consecutive_5xx, Istio consecutive5xxErrors, Consul MaxFailures',
    }),
    enforcingConsecutive5xx: enforcing(100, 'consecutive 5xx answers', 'Envoy enforcing_consecutive_5xx'),
    consecutiveGatewayErrors: count(5, 0, 1_000, {
      means: 'Consecutive 502, 503 and 504 answers that eject an endpoint; 0 = off.',
      larger: 'a broken endpoint keeps its share of traffic longer',
      elsewhere: 'Envoy consecutive_gateway_failure, Istio consecutiveGatewayErrors',
    }),
    enforcingConsecutiveGatewayFailure: enforcing(
      100,
      'consecutive gateway errors',
      'Envoy enforcing_consecutive_gateway_failure, 0 by default there',
    ),
    consecutiveLocalOriginFailures: count(5, 0, 1_000, {
      means:
        'Consecutive connect failures, resets and timeouts that eject an endpoint; 0 = off. They are never counted as 5xx answers: splitExternalLocalOriginErrors is always on here.',
      larger: 'a dead endpoint keeps its share of traffic longer',
      elsewhere: 'Envoy consecutive_local_origin_failure, Istio consecutiveLocalOriginFailures',
    }),
    enforcingConsecutiveLocalOriginFailure: enforcing(
      100,
      'consecutive failures to answer',
      'Envoy enforcing_consecutive_local_origin_failure',
    ),
    interval: duration('10s', '100ms', '1h', {
      means: 'Time over which success rates are compared, and after which quiet endpoints are forgiven.',
      larger: 'an endpoint with many failures between successes keeps its share of traffic longer',
      elsewhere: 'Envoy, Istio and Consul interval',
    }),
    baseEjectionTime: duration('30s', '100ms', '1d', {
      means: 'Length of the first ejection; the n-th in a row is n times as long.',
      larger: 'an endpoint that recovered returns later',
      elsewhere: 'Envoy base_ejection_time, Istio and Consul baseEjectionTime',
    }),
    maxEjectionTime: duration('5m', '100ms', '1d', {
      means: 'Longest ejection; a longer baseEjectionTime raises the default with it.',
      larger: 'an endpoint that failed often returns later',
      elsewhere: 'Envoy max_ejection_time',
    }),
    maxEjectionTimeJitter: duration('0s', '0s', '1h', {
      means: 'Up to this much is added to an ejection at random, so that not all return at once.',
      larger: 'an endpoint that recovered returns later',
      elsewhere: 'Envoy max_ejection_time_jitter',
    }),
    maxEjectionPercent: count(50, 0, 100, {
      means:
        'Ceiling on ejected endpoints: max(1, floor(percent × N / 100)), while at least one stays; 0 = eject none.',
      larger: 'those that stay must carry more',
      elsewhere: 'Envoy max_ejection_percent, Istio and Consul maxEjectionPercent',
    }),
    minHealthPercent: count(50, 0, 100, {
      means: 'Panic threshold: with a smaller share of serving endpoints, ejections are ignored; 0 = never.',
      larger: 'traffic returns to bad endpoints sooner',
      elsewhere: 'Envoy healthy_panic_threshold, Istio minHealthPercent',
    }),
    successfulActiveHealthCheckUnejectHost: flag(true, {
      means:
        'An active health check that passes ends an ejection whatever its reason; false = only one that failed checks caused. A check that looks at less than requests do then hides what they see.',
      elsewhere: 'Envoy successful_active_health_check_uneject_host',
    }),
    successRate: SuccessRate,
    failurePercentage: FailurePercentage,
    robustSuccessRate: RobustSuccessRate,
    latency: Latency,
  },
  { ...CLOSED, 'x-rules': ['baseWithinMaxEjection'] },
);
