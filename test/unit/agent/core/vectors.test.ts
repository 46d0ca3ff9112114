// The published numbers that the balancers must give. Other rooms have theirs beside their own tests.

import t from 'tap';
import { cost, recordLatency } from '../../../../agent/core/ewma.ts';
import { freeShares, shareByLoad, shareByZone } from '../../../../agent/core/locality.ts';
import { pickEndpoint } from '../../../../agent/core/pick.ts';
import { loadByPriority } from '../../../../agent/core/priority.ts';
import { createEndpointStats } from '../../../../agent/core/stats.ts';
import { warmUpFactor } from '../../../../agent/core/warm-up.ts';
import { leastRequestWeight } from '../../../../bench/simulator/balancers.ts';
import { endpointViews, viewOf } from '../../../support/views.ts';

const round = (value: number, digits = 3) => Number(value.toFixed(digits));

t.test('smooth weighted round robin: {a 5, b 1, c 1} is a a b a c a a', async (t) => {
  const view = viewOf(endpointViews(5, 1, 1), { loadBalancer: { policy: 'roundRobin' } });
  const picks = Array.from({ length: 7 }, () => pickEndpoint(view, 0, () => 0, [])?.endpoint.id.split('@')[1]);
  t.equal(picks.map((n) => 'abc'[Number(n) - 1]).join(' '), 'a a b a c a a');
});

t.test("Envoy's least-request weight: 2 with 4 active is 0.4, 0.894, 2 for a bias of 1, 0.5, 0", async (t) => {
  t.same(
    [1, 0.5, 0].map((bias) => round(leastRequestWeight(2, 4, bias))),
    [0.4, 0.894, 2],
  );
});

t.test('slow start over 60 s', async (t) => {
  const factors = (aggression: number, seconds: readonly number[]) =>
    seconds
      .map((s) => warmUpFactor(s * 1000, { windowMs: 60_000, minWeightPercent: 10, aggression }).toFixed(3))
      .join(' ');
  t.equal(factors(1, [0, 3, 6, 15, 30, 60]), '0.100 0.100 0.100 0.250 0.500 1.000');
  t.equal(factors(2, [0, 6, 15, 30]), '0.129 0.316 0.500 0.707');
});

t.test('priority loads', async (t) => {
  const loads = (...percents: readonly number[]) =>
    loadByPriority(
      percents.map((serving) => ({ serving, total: 100 })),
      50,
    );
  for (const [healthy, expected] of [
    [
      [72, 100],
      [100, 0],
    ],
    [
      [71, 100],
      [99, 1],
    ],
    [
      [50, 100],
      [70, 30],
    ],
    [
      [25, 100],
      [35, 65],
    ],
    [
      [25, 25],
      [50, 50],
    ],
    [
      [50, 10, 100],
      [70, 14, 16],
    ],
    [[100], [100]],
    [
      [0, 0],
      [50, 50],
    ],
    [
      [33, 33, 0],
      [34, 33, 33],
    ],
  ] as const) {
    t.same(loads(...healthy).loads, expected, healthy.join(' '));
  }
  t.same(loads(25, 25).panicking, [true, true]);
  t.same(loads(25, 100).panicking, [false, false]);
  t.same(loads(0).panicking, [true]);
});

t.test('zone aware: callers a 10, b 5, c 5 and hosts a 4, b 6, c 10', async (t) => {
  const callers = new Map(Object.entries({ a: 10, b: 5, c: 5 }));
  const hosts = new Map(Object.entries({ a: 4, b: 6, c: 10 }));
  const shares = (own: string) =>
    Object.fromEntries([...shareByZone(own, callers, hosts)].map(([zone, share]) => [zone, round(share)]));
  t.same(shares('a'), { a: 0.4, b: 0.1, c: 0.5 });
  t.same(shares('b'), { b: 1 });
  t.same(shares('c'), { c: 1 });
});

t.test('peak EWMA: 1000 ms under samples of 10 ms is 906, 610, 374, 144, 59 after 1, 5, 10, 20, 30 s', async (t) => {
  const seconds = [1, 5, 10, 20, 30];
  const costs = seconds.map((s) => {
    const stats = createEndpointStats('a');
    recordLatency(stats, 1000, 0);
    for (let ms = 100; ms <= s * 1000; ms += 100) recordLatency(stats, 10, ms);
    return Math.round(cost(stats, s * 1000));
  });
  t.same(costs, [906, 610, 374, 144, 59]);
});

t.test('load-aware zones: 10 hosts each at 70, 30 and 40 % are 18.75 / 43.75 / 37.5 % free', async (t) => {
  const zones = new Map([
    ['a', { hosts: 10, utilisation: 0.7 }],
    ['b', { hosts: 10, utilisation: 0.3 }],
    ['c', { hosts: 10, utilisation: 0.4 }],
  ]);
  const free = freeShares(zones);
  t.same(
    ['a', 'b', 'c'].map((zone) => Math.round((free.get(zone) ?? 0) * 1e6) / 1e4),
    [18.75, 43.75, 37.5],
  );
  const shares = shareByLoad('a', zones);
  t.ok(Math.abs((shares.get('a') ?? 0) - (0.1875 * 0.97 + 0.01)) < 1e-9, '3 % are spread by size whatever is free');
  t.ok(Math.abs([...shares.values()].reduce((sum, share) => sum + share, 0) - 1) < 1e-9);
  const calm = shareByLoad('b', zones);
  t.ok(Math.abs((calm.get('b') ?? 0) - 0.98) < 1e-9, 'a zone that is no busier than the others keeps its callers');
  const full = shareByLoad(
    'a',
    new Map([...zones].map(([zone, one]) => [zone, { ...one, utilisation: zone === 'a' ? 9 : 2 }])),
  );
  t.same(
    [...full.values()].map((share) => Math.round(share * 300)),
    [100, 100, 100],
    'nothing is free: by size',
  );
  const silent = shareByLoad(
    'a',
    new Map([
      ['a', { hosts: 1, utilisation: 0.9 }],
      ['b', { hosts: 3, utilisation: null }],
    ]),
  );
  t.ok((silent.get('b') ?? 0) > 0.9, 'a zone that says nothing counts as free');
});
