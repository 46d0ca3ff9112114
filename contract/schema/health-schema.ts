// The settings of active health checks: requests of the agent's own, besides the traffic.

import { Type } from 'typebox';
import { CLOSED, checked, count, duration, notes, word } from './schema-fields.ts';

export const HealthCheck = Type.Object(
  {
    type: word('off', ['off', 'http', 'tcp'], {
      means:
        'What each endpoint is asked from time to time: a GET, or whether it takes a connection. Every caller asks every endpoint, so leave it off where the check of Consul is enough.',
      elsewhere: 'Envoy http_health_check, tcp_health_check',
    }),
    path: Type.Optional(
      checked(
        'path',
        { means: 'Path of the GET.', elsewhere: 'Envoy http_health_check.path' },
        { default: '/healthz' },
      ),
    ),
    expectedStatuses: Type.Optional(
      Type.Array(Type.Integer({ minimum: 200, maximum: 599 }), {
        minItems: 1,
        maxItems: 32,
        uniqueItems: true,
        default: [200],
        ...notes({ means: 'Statuses that pass.', elsewhere: 'Envoy expected_statuses' }),
      }),
    ),
    interval: duration('10s', '100ms', '1h', {
      means: 'Time from the end of one check to the next.',
      larger: 'a fault without traffic is found later',
      elsewhere: 'Envoy interval',
    }),
    timeout: duration('1s', '10ms', '1m', {
      means: 'A check without an answer by then has failed.',
      larger: 'a hanging endpoint is found later',
      elsewhere: 'Envoy timeout',
    }),
    unhealthyThreshold: count(3, 1, 100, {
      means: 'Failed checks in a row that eject an endpoint.',
      larger: 'a dead endpoint is found later',
      elsewhere: 'Envoy unhealthy_threshold, HAProxy fall',
    }),
    healthyThreshold: count(2, 1, 100, {
      means: 'Passed checks in a row that bring it back; the very first check of an endpoint counts for all of them.',
      larger: 'an endpoint that recovered returns later',
      elsewhere: 'Envoy healthy_threshold, HAProxy rise',
    }),
    jitterPercent: count(20, 0, 100, {
      means: 'Up to this percentage of the interval is added at random, so that callers do not ask in step.',
      larger: 'checks are less regular',
      elsewhere: 'Envoy interval_jitter_percent',
    }),
  },
  CLOSED,
);
