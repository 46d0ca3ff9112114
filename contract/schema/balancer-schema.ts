// The settings of load balancing. Names are those of Envoy, Istio or Consul where they have one.

import { Type } from 'typebox';
import { BALANCER_POLICIES } from '../policy/policy.ts';
import { CLOSED, checked, count, duration, flag, notes, word } from './schema-fields.ts';

const SlowStart = Type.Optional(
  Type.Object(
    {
      window: duration('30s', '0s', '1h', {
        means:
          'How long an endpoint that joined a running service, or was reinstated, is given less than its weight; 0s = never. Not for ringHash and maglev.',
        larger: 'the others carry its load longer',
        elsewhere: 'Envoy slow_start_window, Istio warmup.duration',
      }),
      minWeightPercent: count(10, 1, 100, {
        means: 'Share of its weight that the endpoint starts with.',
        larger: 'a cold endpoint gets more at once',
        elsewhere: 'Envoy min_weight_percent, Istio warmup.minimumPercent',
      }),
      aggression: Type.Optional(
        Type.Number({
          minimum: 0.1,
          maximum: 10,
          default: 1,
          ...notes({
            means: 'Form of the growth, (age / window)^(1 / aggression): 1 = even.',
            larger: 'more of the weight comes early in the window',
            elsewhere: 'Envoy and Istio aggression',
          }),
        }),
      ),
    },
    CLOSED,
  ),
);

/** Where the key of a request is: for hashing, and for weighted backends that a key stays with. */
export const HashKey = Type.Object(
  {
    header: Type.Optional(checked('headerName', { means: 'Value of this request header.' })),
    cookie: Type.Optional(checked('headerName', { means: 'Value of this cookie.' }, { maxLength: 128 })),
    source: Type.Optional(Type.Literal(true, notes({ means: 'Address of whoever connected to the agent.' }))),
  },
  { ...CLOSED, 'x-rules': ['oneChoice'] },
);

const FailoverLevel = Type.Object(
  {
    tag: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, ...notes({ means: 'Endpoints registered with this tag.' }) }),
    ),
    zone: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, ...notes({ means: 'Endpoints whose Service.Meta.zone is this.' }) }),
    ),
  },
  { ...CLOSED, 'x-rules': ['oneChoice'] },
);

export const LoadBalancer = Type.Object(
  {
    policy: word('peakEwma', BALANCER_POLICIES, {
      means: 'How an endpoint is picked for an attempt.',
      elsewhere: 'Envoy lb_policy, Istio loadBalancer.simple, Consul LoadBalancer.Policy',
    }),
    choiceCount: count(2, 2, 8, {
      means: 'Endpoints drawn for each pick by peakEwma and leastRequest; the cheapest is taken.',
      larger: 'more agents agree on the same best endpoint and crowd it',
      elsewhere: 'Envoy choice_count, Consul LeastRequestConfig.ChoiceCount',
    }),
    slowStart: SlowStart,
    hashOn: Type.Optional(
      Type.Array(HashKey, {
        maxItems: 8,
        default: [],
        ...notes({
          means:
            'What ringHash and maglev take for the key of a request: the first of these that the request has. Without any, an endpoint is drawn by weight.',
          elsewhere: 'Envoy hash_policy, Istio consistentHash, Consul HashPolicies',
        }),
      }),
    ),
    hashBalanceFactor: count(0, 0, 1000, {
      means:
        'Bound of ringHash and maglev on the requests in flight at one endpoint, as a percentage of the mean; above it the next on the circle serves. 0 = none, else 100 or more; 120 to 200 are useful.',
      larger: 'a popular key may crowd its endpoint',
      elsewhere: 'Envoy hash_balance_factor',
    }),
    zoneAware: Type.Optional(
      Type.Object(
        {
          enabled: flag(false, {
            means:
              'Stay in the zone of this agent as far as its endpoints can carry the callers there, and spill the rest by spare capacity. Needs service.zone; not for ringHash and maglev.',
            elsewhere: 'Envoy zone_aware_lb_config',
          }),
          minHosts: count(2, 2, 1000, {
            means: 'Serving endpoints below which zones play no part.',
            larger: 'small services cross zones',
            elsewhere: 'Envoy min_cluster_size, 6 there',
          }),
          loadAware: flag(false, {
            means:
              'Divide between zones by what is free in each, as the agents beside the endpoints report it (those with adaptiveConcurrency do), in place of by capacity alone; the own zone keeps everything while it is hardly busier than the others.',
            elsewhere: 'Envoy load_aware_locality',
          }),
        },
        CLOSED,
      ),
    ),
    failover: Type.Optional(
      Type.Array(FailoverLevel, {
        maxItems: 8,
        default: [],
        ...notes({
          means:
            'Priority levels, first to last; an endpoint belongs to the first that fits, and to one more level behind them when none does. A level gives traffic to the next while fewer than 72 % of it serve. Without the list, Service.Meta.outrigger_priority (0 to 9) says the level.',
          elsewhere: 'Envoy priority, Istio localityLbSetting.failover, Consul Failover',
        }),
      }),
    ),
    subset: Type.Optional(
      Type.Object(
        {
          size: count(0, 0, 10_000, {
            means:
              'Endpoints of each priority level that one agent talks to, always the same ones and different ones for each agent; 0 = all.',
            larger: 'more connections',
            elsewhere: 'gRPC random_subsetting subset_size, Envoy random_subsetting',
          }),
        },
        CLOSED,
      ),
    ),
  },
  { ...CLOSED, 'x-rules': ['balanceFactorAboveMean'] },
);
