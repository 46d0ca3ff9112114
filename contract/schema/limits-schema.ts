// The settings of what a service may be asked for: connections, requests in flight and waiting, rates, admission.

import { Type } from 'typebox';
import { CLOSED, count, duration, flag, notes, rate } from './schema-fields.ts';

const AdaptiveConcurrency = Type.Optional(
  Type.Object(
    {
      enabled: flag(false, {
        means:
          'Beside the application: find the number of requests in flight that it answers without queueing, and hold further ones back. maxConcurrentRequests bounds it.',
        elsewhere: 'Envoy adaptive_concurrency, Netflix concurrency-limits',
      }),
      initialLimit: count(20, 1, 10_000, {
        means: 'Requests in flight allowed before anything was measured.',
        larger: 'a weak application meets more at once after a start',
      }),
      minLimit: count(4, 1, 10_000, {
        means: 'The limit never falls below this.',
        larger: 'an application in trouble keeps more to do',
        elsewhere: 'Envoy min_concurrency_limit',
      }),
      maxLimit: count(1000, 1, 100_000, {
        means: 'The limit never rises above this.',
        larger: 'the limit may run far ahead of what was measured',
        elsewhere: 'Envoy max_concurrency_limit',
      }),
      bufferPercent: count(25, 0, 1000, {
        means: 'How much slower than its best the application may answer before the limit falls.',
        larger: 'more queueing is taken for normal',
        elsewhere: 'Envoy buffer, 25 % there',
      }),
      window: duration('1s', '100ms', '1m', {
        means: 'How often the limit is set anew.',
        larger: 'the limit follows changes later',
        elsewhere: 'Envoy concurrency_update_interval',
      }),
    },
    { ...CLOSED, 'x-rules': ['limitsInOrder'] },
  ),
);

export const Limits = Type.Object(
  {
    maxConnections: count(1024, 1, 65_535, {
      means: 'Connections to one endpoint from one agent.',
      larger: 'more sockets and memory on both sides',
      elsewhere: 'Envoy max_connections, Istio tcp.maxConnections, Consul MaxConnections',
    }),
    maxConcurrentRequests: count(10_000, 1, 1_000_000, {
      means: 'Requests in flight to the whole service from one agent; further ones wait.',
      larger: 'an overloaded service is protected later',
      elsewhere: 'Envoy max_requests, Istio http2MaxRequests, Consul MaxConcurrentRequests',
    }),
    maxPendingRequests: count(100, 0, 1_000_000, {
      means:
        'Requests that may wait for room at the service: for one of maxConcurrentRequests, or for a connection when every endpoint has maxConnections; one more is answered 503 upstream_overflow.',
      larger: 'callers wait where a quick 503 would tell them more',
      elsewhere: 'Envoy max_pending_requests, Istio http1MaxPendingRequests, Consul MaxPendingRequests',
    }),
    queueTimeout: duration('1s', '1ms', '1m', {
      means: 'A request that found no room within this is answered 503 upstream_overflow.',
      larger: 'callers wait longer for the same 503',
      elsewhere: 'HAProxy timeout queue',
    }),
    sheddablePercent: count(80, 0, 100, {
      means:
        'Share of maxConcurrentRequests, and of the adaptive limit, that requests with x-outrigger-class: sheddable may use; they never wait.',
      larger: 'less room is kept for requests that matter more',
      elsewhere: 'Netflix partitioned limits',
    }),
    idleTimeout: duration('60s', '100ms', '1d', {
      means: 'An idle pooled connection is closed after this long.',
      larger: 'more connections that the other side may have closed meanwhile',
      elsewhere: 'Envoy and Istio idleTimeout',
    }),
    adaptiveConcurrency: AdaptiveConcurrency,
  },
  CLOSED,
);

export const AdmissionControl = Type.Object(
  {
    enabled: flag(false, {
      means:
        'While a service answers too few requests, the caller does not send a part of them: answered 503 admission_rejected at once.',
      elsewhere: 'Envoy admission_control, Finagle NackAdmissionFilter',
    }),
    successThresholdPercent: count(95, 1, 100, {
      means: 'Share of requests that must succeed; below it refusing begins.',
      larger: 'refusing begins with fewer failures',
      elsewhere: 'Envoy sr_threshold, 95 % there',
    }),
    aggression: Type.Optional(
      Type.Number({
        minimum: 1,
        maximum: 10,
        default: 1,
        ...notes({
          means: 'Form of the answer to missing successes, probability^(1 / aggression): 1 = in proportion.',
          larger: 'more is refused for the same failures',
          elsewhere: 'Envoy aggression',
        }),
      }),
    ),
    window: duration('30s', '1s', '10m', {
      means: 'Time over which requests and successes are counted.',
      larger: 'refusing begins and ends later',
      elsewhere: 'Envoy sampling_window',
    }),
    maxRejectPercent: count(80, 0, 100, {
      means: 'Never more than this share is refused, so that recovery is noticed.',
      larger: 'a recovered service is noticed later',
      elsewhere: 'Envoy max_rejection_probability',
    }),
    minRequestRate: rate('5/s', {
      means: 'Below this rate of requests nothing is refused: too few to judge by.',
      elsewhere: 'Envoy rps_threshold',
    }),
  },
  CLOSED,
);

export const RateLimit = Type.Object(
  {
    requests: count(0, 0, 1_000_000_000, {
      means: 'Requests that this agent sends to the service in each period; 0 = no limit. One more is answered 429.',
      larger: 'the service is asked more',
      elsewhere: 'Envoy local_ratelimit tokens_per_fill, Istio rate limits',
    }),
    per: duration('1s', '10ms', '1d', {
      means: 'The period.',
      larger: 'the same number of requests lasts longer',
      elsewhere: 'Envoy local_ratelimit fill_interval',
    }),
    burst: count(0, 0, 1_000_000_000, {
      means: 'Most requests at once after a quiet time; 0 = as many as requests.',
      larger: 'short peaks pass',
      elsewhere: 'Envoy local_ratelimit max_tokens',
    }),
  },
  CLOSED,
);
