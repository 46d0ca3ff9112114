// The settings of how a service is treated, shared by MeshDefaults, ServicePolicy and its overrides. A field is here only if it
// has an effect in this version.

import { type Static, Type } from 'typebox';
import { RETRY_CONDITIONS } from '../policy/policy.ts';
import { LoadBalancer } from './balancer-schema.ts';
import { HealthCheck } from './health-schema.ts';
import { AdmissionControl, Limits, RateLimit } from './limits-schema.ts';
import { OutlierDetection } from './outlier-schema.ts';
import { CLOSED, checked, count, duration, flag, notes, rate } from './schema-fields.ts';
import { Slo } from './slo-schema.ts';

const STATUS_PATTERN = '^(409|429|5[0-9]{2})$';
const CONDITIONS_EXPECTED = `${RETRY_CONDITIONS.join(', ')} or a status in quotes: "409", "429", "500" to "599"`;

const Timeouts = Type.Object(
  {
    connect: duration('1s', '1ms', '1m', {
      means: 'Time to open a connection to an endpoint.',
      larger: 'a dead address holds a request longer before another is tried',
      elsewhere: 'Envoy connect_timeout, Istio tcp.connectTimeout, Consul ConnectTimeoutMs',
    }),
    request: duration('15s', '0s', '1d', {
      means: 'Whole request up to the response head, all attempts together; 0s = no limit.',
      larger: 'requests pile up behind a slow service',
      elsewhere: 'Envoy route timeout, Istio timeout, Gateway API timeouts.request, Consul RequestTimeout',
    }),
    backendRequest: duration('5s', '0s', '1d', {
      means: 'One attempt up to its response head; 0s = no limit. The request timeout ends it in any case.',
      larger: 'less of the request timeout is left for a second attempt',
      elsewhere: 'Envoy per_try_timeout, Istio perTryTimeout, Gateway API timeouts.backendRequest',
    }),
    idle: duration('60s', '1s', '1d', {
      means: 'Time without a byte in either direction while a body is under way.',
      larger: 'a stalled peer holds a connection longer',
      elsewhere: 'Envoy stream_idle_timeout',
    }),
  },
  { ...CLOSED, 'x-rules': ['attemptWithinRequest'] },
);

const Retries = Type.Object(
  {
    attempts: count(1, 0, 10, {
      means: 'Attempts after the first; 0 turns retries off.',
      larger: 'each further attempt multiplies load during an outage',
      elsewhere: 'Envoy num_retries, Istio retries.attempts, Consul NumRetries',
    }),
    on: Type.Optional(
      Type.Array(
        Type.Union([Type.Enum([...RETRY_CONDITIONS]), Type.String({ pattern: STATUS_PATTERN })], {
          'x-expected': CONDITIONS_EXPECTED,
        }),
        {
          maxItems: 120,
          uniqueItems: true,
          default: ['connectFailure', 'reset', 'timeout', 'gatewayError'],
          ...notes({
            means: `What is repeated: ${CONDITIONS_EXPECTED}. gatewayError is 502, 503 and 504.`,
            larger: 'more answers are asked for twice',
            elsewhere: 'Envoy retry_on, Istio retryOn, Consul RetryOnStatusCodes',
          }),
        },
      ),
    ),
    methods: Type.Optional(
      Type.Array(checked('method', { means: 'A method in capital letters.' }), {
        maxItems: 32,
        uniqueItems: true,
        default: ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'],
        ...notes({
          means:
            'Methods that may be repeated once bytes were sent. A request with an Idempotency-Key, and one of which nothing was sent, may always be.',
          larger: 'a method that is not idempotent may take effect twice',
          elsewhere: 'Linkerd isRetryable',
        }),
      }),
    ),
    backoff: Type.Optional(
      Type.Object(
        {
          base: duration('25ms', '1ms', '10s', {
            means:
              'Before retry N waits anything between 0 and (2^N - 1) times this. An endpoint that never saw the request is replaced without waiting.',
            larger: 'retries come later',
            elsewhere: 'Envoy retry_back_off.base_interval, 25 ms there',
          }),
          max: duration('250ms', '1ms', '1m', {
            means: 'No wait is longer than this.',
            larger: 'late retries come later',
            elsewhere: 'Envoy retry_back_off.max_interval, 250 ms there',
          }),
        },
        { ...CLOSED, 'x-rules': ['backOffInOrder'] },
      ),
    ),
    hedging: Type.Optional(
      Type.Object(
        {
          enabled: flag(false, {
            means:
              'Send a second copy of a request that may be repeated to another endpoint when the first has not answered in the time in which most are; the first answer counts. Paid from the retry budget.',
            elsewhere: 'Finagle BackupRequestFilter, gRPC hedgingPolicy',
          }),
          percentile: count(95, 50, 99, {
            means: 'Share of recent answers that came in that time.',
            larger: 'fewer copies, and later',
            elsewhere: 'Finagle 1 - maxExtraLoad',
          }),
          minDelay: duration('1ms', '1ms', '1m', {
            means: 'The second copy is never sent earlier.',
            larger: 'quick services are not hedged',
            elsewhere: 'gRPC hedgingDelay',
          }),
        },
        CLOSED,
      ),
    ),
    budget: Type.Optional(
      Type.Object(
        {
          percent: count(20, 0, 100, {
            means:
              'Retries allowed as a percentage of the requests within the interval. Going on from an endpoint that refused the connection is free while another one takes some.',
            larger: 'more extra load on a service that is failing already',
            elsewhere: 'Envoy retry_budget.budget_percent, Gateway API retryConstraint.budget.percent',
          }),
          interval: duration('10s', '1s', '1h', {
            means: 'Window over which requests are counted for the budget.',
            larger: 'a quiet hour pays for a burst of retries later',
            elsewhere: 'Gateway API retryConstraint.budget.interval, Finagle ttl',
          }),
          minRetryRate: rate('10/s', {
            means: 'Retries that are allowed whatever the traffic, as a rate.',
            larger: 'small services retry more than their share',
            elsewhere: 'Envoy min_retry_concurrency, Gateway API minRetryRate',
          }),
        },
        CLOSED,
      ),
    ),
  },
  CLOSED,
);

/** What every layer may say, overrides for single callers included. */
export const CALLER_SECTIONS = {
  loadBalancer: Type.Optional(LoadBalancer),
  timeouts: Type.Optional(Timeouts),
  retries: Type.Optional(Retries),
  limits: Type.Optional(Limits),
  admissionControl: Type.Optional(AdmissionControl),
  rateLimit: Type.Optional(RateLimit),
  outlierDetection: Type.Optional(OutlierDetection),
  healthCheck: Type.Optional(HealthCheck),
  exposeEndpoint: flag(false, {
    means: 'Tell the caller who answered: x-outrigger-endpoint and x-outrigger-attempts on the response.',
  }),
};

/** What a whole document may say. */
export const SECTIONS = { ...CALLER_SECTIONS, slo: Type.Optional(Slo) };

/** The settings of a whole document; the object of all defaults is drawn from it. */
export const SectionsSchema = Type.Object(SECTIONS, CLOSED);
export type Sections = Static<typeof SectionsSchema>;
