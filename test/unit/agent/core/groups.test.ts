import t from 'tap';
import type { BalancerSettings } from '#contract/policy/balancer.ts';
import { pickEndpoint } from '../../../../agent/core/pick.ts';
import type { EndpointView, ServiceView } from '../../../../agent/core/snapshot.ts';
import { createEndpointStats } from '../../../../agent/core/stats.ts';
import { chooseSubset } from '../../../../agent/core/subset.ts';
import { createServiceStats, createServiceView, PLAIN_CONTEXT } from '../../../../agent/core/view.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointAt, endpointViews, policyWith, viewOf } from '../../../support/views.ts';

type Spec = { readonly zone?: string; readonly tags?: readonly string[]; readonly meta?: Record<string, string> };

function build(
  views: readonly EndpointView[],
  loadBalancer: Partial<BalancerSettings>,
  context: Partial<typeof PLAIN_CONTEXT> = {},
): ServiceView {
  const plan = {
    service: 'svc',
    policy: policyWith({ loadBalancer }),
    rules: [],
    subsets: [],
    permission: { kind: 'allow' },
  } as const;
  return createServiceView(plan, views, createServiceStats('svc'), { ...PLAIN_CONTEXT, ...context });
}

function viewsOf(specs: readonly Spec[]): EndpointView[] {
  return specs.map((spec, index) => {
    const endpoint = endpointAt(index + 1, spec);
    return { endpoint, stats: createEndpointStats(endpoint.id) };
  });
}

/** Share of many picks by a word about the endpoint. */
function sharesBy(view: ServiceView, word: (picked: EndpointView) => string, now = 0): Record<string, number> {
  const random = seededRandom(11);
  const shares: Record<string, number> = {};
  for (let pick = 0; pick < 20_000; pick++) {
    const picked = pickEndpoint(view, now, random, []);
    if (picked === null) continue;
    shares[word(picked)] = (shares[word(picked)] ?? 0) + 1 / 20_000;
  }
  return shares;
}

const near = (actual: number | undefined, expected: number, within = 0.015) =>
  Math.abs((actual ?? 0) - expected) <= within;
const fail = (views: readonly EndpointView[], count: number) => {
  for (const { stats } of views.slice(0, count)) stats.state = 'ejected';
};

t.test('failover: the standby takes over as the active level fails, and gives back', async (t) => {
  const specs = [...Array(10).fill({ tags: ['active'] }), ...Array(10).fill({ tags: ['standby'] })] as Spec[];
  const failover = [{ kind: 'tag', value: 'active' }] as const;
  for (const policy of ['peakEwma', 'roundRobin', 'leastRequest', 'random'] as const) {
    for (const [failed, active] of [
      [0, 1],
      [2, 1],
      [5, 0.7],
      [8, 0.28],
      [10, 0],
    ] as const) {
      const views = viewsOf(specs);
      fail(views, failed);
      const view = build(views, { policy, failover });
      const shares = sharesBy(view, ({ endpoint }) => endpoint.tags[0] ?? '');
      t.ok(near(shares.active, active), `${policy}, ${failed} of 10 failed: ${JSON.stringify(shares)}`);
      t.equal(view.isPanicking, false, 'what stands by covers it');
      for (const { stats } of view.pickable) t.equal(stats.state, 'serving');
    }
  }
});

t.test('failover: levels by tag, by zone, by what the instance registered', async (t) => {
  const views = viewsOf([{ zone: 'a', tags: ['x'] }, { zone: 'b' }, { zone: 'a' }]);
  const prioritiesOf = (view: ServiceView) => view.groups.map(({ priority, views }) => [priority, views.length]);
  fail(views, 1);
  const failover = [
    { kind: 'tag', value: 'x' },
    { kind: 'zone', value: 'b' },
  ] as const;
  t.same(prioritiesOf(build(views, { failover })), [[1, 1]]);
  fail(views, 2);
  t.same(prioritiesOf(build(views, { failover })), [[2, 1]]);
  const own = viewsOf([{ meta: { outrigger_priority: '1' } }, {}, { meta: { outrigger_priority: 'first' } }]);
  t.same(prioritiesOf(build(own, {})), [[0, 2]], 'a word that is no level counts as 0');
  for (const { stats } of own.slice(1)) stats.state = 'ejected';
  t.same(prioritiesOf(build(own, {})), [[1, 1]]);
});

t.test('panic is by level, and only when all levels together cannot carry the traffic', async (t) => {
  const specs = [...Array(4).fill({ tags: ['active'] }), ...Array(4).fill({ tags: ['standby'] })] as Spec[];
  const failover = [{ kind: 'tag', value: 'active' }] as const;
  const views = viewsOf(specs);
  fail(views, 3);
  fail(views.slice(4), 3);
  const view = build(views, { failover });
  t.equal(view.isPanicking, true);
  t.equal(view.pickable.length, 8);
  const shares = sharesBy(view, ({ endpoint }) => endpoint.tags[0] ?? '');
  t.ok(near(shares.active, 0.5), JSON.stringify(shares));
  // 1 of 5 and 2 of 4: 28 + 70 < 100, and only the first level is below the threshold.
  const uneven = viewsOf([{ tags: ['active'] }, ...specs]);
  fail(uneven, 4);
  fail(uneven.slice(5), 2);
  const half = build(uneven, { failover });
  t.same(
    half.groups.map(({ isPanicking, views }) => [isPanicking, views.length]),
    [
      [true, 5],
      [false, 2],
    ],
  );
});

t.test('a retry leaves the level or zone of which everything was tried', async (t) => {
  const views = viewsOf([{ tags: ['active'] }, { tags: ['standby'] }, { tags: ['standby'] }]);
  const view = build(views, { failover: [{ kind: 'tag', value: 'active' }] });
  t.equal(view.groups.length, 1);
  const zones = viewsOf([{ zone: 'a' }, { zone: 'b' }, { zone: 'b' }]);
  const zoned = build(
    zones,
    { zoneAware: { isEnabled: true, minHosts: 2, isLoadAware: false } },
    { zone: 'a', callers: new Map([['a', 1]]) },
  );
  t.equal(zoned.groups.length, 2);
  const random = seededRandom(4);
  for (let round = 0; round < 100; round++) {
    const [a, b] = zones as [EndpointView, EndpointView];
    t.not(pickEndpoint(zoned, 0, random, [a]), a);
    t.equal(pickEndpoint(zoned, 0, random, [a, b]), zones[2]);
  }
});

t.test('zoneAware: stays at home as far as the zone can carry, and spills by spare capacity', async (t) => {
  const specs = [
    ...Array(4).fill({ zone: 'a' }),
    ...Array(6).fill({ zone: 'b' }),
    ...Array(10).fill({ zone: 'c' }),
  ] as Spec[];
  const zoneAware = { isEnabled: true, minHosts: 2, isLoadAware: false };
  const callers = new Map([
    ['a', 10],
    ['b', 5],
    ['c', 5],
  ]);
  const zoneOf = ({ endpoint }: EndpointView) => endpoint.zone ?? '';
  for (const policy of ['peakEwma', 'roundRobin', 'random'] as const) {
    const shares = sharesBy(build(viewsOf(specs), { policy, zoneAware }, { zone: 'a', callers }), zoneOf);
    t.ok(near(shares.a, 0.4) && near(shares.b, 0.1) && near(shares.c, 0.5), `${policy} ${JSON.stringify(shares)}`);
  }
  t.same(sharesBy(build(viewsOf(specs), { zoneAware }, { zone: 'c', callers }), zoneOf).a, undefined);
  const failed = viewsOf(specs);
  fail(failed, 4);
  const spilled = sharesBy(build(failed, { policy: 'random', zoneAware }, { zone: 'a', callers }), zoneOf);
  t.ok(near(spilled.b, 6 / 16, 0.03) && spilled.a === undefined, `nobody left at home: ${JSON.stringify(spilled)}`);
  const one = viewsOf([{ zone: 'a' }, { zone: 'b' }, { zone: 'c' }]);
  t.same(Object.keys(sharesBy(build(one, { zoneAware }, { zone: 'a' }), zoneOf)), ['a'], 'no least size of six');
  for (const [why, settings, context] of [
    ['not asked for', { zoneAware: { isEnabled: false, minHosts: 2, isLoadAware: false } }, { zone: 'a' }],
    ['no zone of its own', { zoneAware }, { zone: null }],
    ['a zone without endpoints', { zoneAware }, { zone: 'z' }],
    ['too few', { zoneAware: { isEnabled: true, minHosts: 4, isLoadAware: false } }, { zone: 'a' }],
    ['a hash decides', { policy: 'maglev', zoneAware }, { zone: 'a' }],
  ] as const) {
    t.equal(Object.keys(sharesBy(build(one, settings, context), zoneOf)).length, 3, why);
  }
});

t.test(
  'slowStart: who joined or was reinstated begins with a part of its weight, under every drawing policy',
  async (t) => {
    const slowStart = { windowMs: 60_000, minWeightPercent: 10, aggression: 1 };
    for (const policy of ['peakEwma', 'leastRequest', 'roundRobin', 'random'] as const) {
      for (const [age, factor] of [
        [0, 0.1],
        [15_000, 0.25],
        [30_000, 0.5],
        [60_000, 1],
      ] as const) {
        const views = endpointViews(1, 1, 1, 1);
        const stats = (views[0] as EndpointView).stats;
        if (policy === 'random') stats.reinstatedAt = 5000;
        else stats.joinedAt = 5000;
        const now = 5000 + age;
        const view = build(views, { policy, slowStart }, { now });
        const share = sharesBy(view, ({ endpoint }) => endpoint.id, now)[stats.id];
        t.ok(near(share, factor / (3 + factor)), `${policy} after ${age} ms: ${share}`);
        t.equal(view.warmUntil, age < 60_000 ? 65_000 : -1);
      }
    }
    const off = endpointViews(1, 1);
    (off[0] as EndpointView).stats.joinedAt = 5000;
    t.equal(build(off, { slowStart: { ...slowStart, windowMs: 0 } }, { now: 5000 }).groups[0]?.hasEqualWeights, true);
  },
);

t.test('subset: each agent has its own, of the asked size for each level, and one change moves one', async (t) => {
  const settings = { ...policyWith().loadBalancer, subsetSize: 20 };
  const all = endpointViews(...Array(200).fill(1));
  const used = new Map<string, number>();
  for (let agent = 0; agent < 200; agent++) {
    const chosen = chooseSubset(all, settings, `web-${agent}`);
    t.equal(chosen.length, 20);
    t.same(chooseSubset(all, settings, `web-${agent}`), chosen);
    for (const { endpoint } of chosen) used.set(endpoint.id, (used.get(endpoint.id) ?? 0) + 1);
    const kept = new Set(chooseSubset(all.slice(1), settings, `web-${agent}`));
    t.ok(chosen.filter((view) => !kept.has(view)).length <= 1);
  }
  t.ok(
    used.size === 200 && Math.max(...used.values()) < 45,
    `${used.size} used, at most ${Math.max(...used.values())}`,
  );
  const levels = viewsOf([...Array(30).fill({ tags: ['active'] }), ...Array(3).fill({})] as Spec[]);
  const two = chooseSubset(levels, { ...settings, failover: [{ kind: 'tag', value: 'active' }] }, 'web-1');
  t.equal(two.filter(({ endpoint }) => endpoint.tags.length === 0).length, 3, 'the standby level is whole');
  t.equal(two.length, 23);
  t.equal(chooseSubset(levels, { ...settings, subsetSize: 0 }, 'web-1'), levels);
});

t.test('a level of which every serving endpoint is kept by the ceiling alone counts as failed', async (t) => {
  const views = endpointViews(1, 1, 1);
  const [first, second, third] = views;
  if (first === undefined || second === undefined || third === undefined) return;
  first.stats.state = 'ejected';
  second.stats.isOverflowing = true;
  t.equal(viewOf(views).isPanicking, false, 'one of two still answers');
  third.stats.isOverflowing = true;
  t.equal(viewOf(views).isPanicking, true);
  t.equal(viewOf(views).pickable.length, 3, 'the one that is out may be the one that came back');
  t.equal(viewOf(views, { outlierDetection: { minHealthPercent: 0 } }).pickable.length, 3);
});
