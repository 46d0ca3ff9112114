// What every balancing algorithm keeps, whatever the service looks like.

import fc from 'fast-check';
import t from 'tap';
import { BALANCER_POLICIES } from '#contract/policy/policy.ts';
import { MaglevTable } from '../../agent/core/balance/maglev.ts';
import { RingTable } from '../../agent/core/balance/ring.ts';
import { recordFailure, recordLatency } from '../../agent/core/ewma.ts';
import { mix32 } from '../../agent/core/hash.ts';
import { shareByZone } from '../../agent/core/locality.ts';
import { beginAttempt } from '../../agent/core/outlier/record.ts';
import { NO_HASH, pickEndpoint } from '../../agent/core/pick.ts';
import { loadByPriority } from '../../agent/core/priority.ts';
import { RetryBudget } from '../../agent/core/retry/budget.ts';
import type { EndpointView } from '../../agent/core/snapshot.ts';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { createServiceStats, createServiceView, PLAIN_CONTEXT } from '../../agent/core/view.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { endpointAt, endpointViews, policyWith, viewOf } from '../support/views.ts';

const SEED = 20_260_401;
const STATES = ['serving', 'serving', 'serving', 'ejected', 'probing', 'draining'] as const;

const endpoint = fc.record({
  weight: fc.integer({ min: 1, max: 100 }),
  state: fc.constantFrom(...STATES),
  inFlight: fc.integer({ min: 0, max: 20 }),
  latencyMs: fc.option(fc.double({ min: 0, max: 60_000, noNaN: true })),
  hasFailed: fc.boolean(),
  retryAfterMs: fc.integer({ min: 0, max: 1_000_000 }),
  zone: fc.constantFrom(null, 'a', 'b', 'c'),
  priority: fc.constantFrom('0', '0', '1', '2'),
  joinedAt: fc.constantFrom(-1, -1, 0, 500_000),
});

const service = fc.record({
  endpoints: fc.array(endpoint, { maxLength: 12 }),
  policy: fc.constantFrom(...BALANCER_POLICIES),
  choiceCount: fc.integer({ min: 2, max: 8 }),
  minHealthPercent: fc.integer({ min: 0, max: 100 }),
  triedMask: fc.integer({ min: 0, max: 4095 }),
  zone: fc.constantFrom(null, 'a', 'z'),
  hash: fc.constantFrom(NO_HASH, 0, 0xffff_ffff, 123_456_789),
  hashBalanceFactor: fc.constantFrom(0, 100, 150),
  now: fc.integer({ min: 0, max: 1_000_000 }),
  seed: fc.integer(),
});

function viewsFrom(made: readonly { weight: number; zone: string | null; priority: string }[]): EndpointView[] {
  return made.map(({ weight, zone, priority }, index) => {
    const endpoint = endpointAt(index + 1, { weight, zone, meta: { outrigger_priority: priority } });
    return { endpoint, stats: createEndpointStats(endpoint.id) };
  });
}

t.test('a pick never takes an ejected endpoint outside panic, and an untried one while there is one', async (t) => {
  fc.assert(
    fc.property(service, (made) => {
      const { endpoints, policy, minHealthPercent, triedMask, now, seed, hash } = made;
      const views = viewsFrom(endpoints);
      for (const [index, { stats }] of views.entries()) {
        const made = endpoints[index];
        if (made === undefined) continue;
        Object.assign(stats, { state: made.state, inFlight: made.inFlight, joinedAt: made.joinedAt });
        if (made.latencyMs !== null) recordLatency(stats, made.latencyMs, 0);
        if (made.hasFailed) recordFailure(stats, 1, made.retryAfterMs, 0);
      }
      const { choiceCount, hashBalanceFactor } = made;
      const zoneAware = { isEnabled: made.zone !== null, minHosts: 2, isLoadAware: false };
      const settings = {
        loadBalancer: { policy, choiceCount, hashBalanceFactor, zoneAware },
        outlierDetection: { minHealthPercent },
      };
      const plan = {
        service: 'svc',
        policy: policyWith(settings),
        rules: [],
        subsets: [],
        permission: { kind: 'allow' },
      } as const;
      const view = createServiceView(plan, views, createServiceStats('svc'), {
        ...PLAIN_CONTEXT,
        now,
        zone: made.zone,
      });
      if (view.groups.length > 1 && Math.abs((view.groupShares.at(-1) ?? 0) - 1) > 1e-9) return false;
      if (view.groups.some((group) => group.views.length === 0 || !(group.totalWeight > 0))) return false;
      const tried = views.filter((_, index) => (triedMask & (1 << index)) !== 0);
      const random = seededRandom(seed);
      for (let round = 0; round < 9; round++) {
        const picked = pickEndpoint(view, now, random, tried, hash);
        if (picked === null) return views.length === 0;
        const { state } = picked.stats;
        const isProbe = state === 'probing' && tried.length === 0 && !picked.stats.isProbeInFlight;
        if (!view.isPanicking && state !== 'serving' && !isProbe) return false;
        const hasUntried = view.pickable.some((one) => !tried.includes(one));
        if (hasUntried && tried.includes(picked)) return false;
        if (!view.isPanicking && state === 'probing') {
          beginAttempt(picked.stats, now);
          if (pickEndpoint(view, now, random, []) === picked) return false;
        }
      }
      return true;
    }),
    { seed: SEED, numRuns: 1500 },
  );
  t.pass();
});

t.test('shares follow the weights within 3 points when loads are alike', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 }),
      fc.constantFrom(...BALANCER_POLICIES),
      fc.integer(),
      (weights, policy, seed) => {
        const views = endpointViews(...weights);
        for (const { stats } of views) recordLatency(stats, 5, 0);
        const view = viewOf(views, { loadBalancer: { policy } });
        const random = seededRandom(seed);
        const counts = new Map<string, number>();
        for (let pick = 0; pick < 6000; pick++) {
          const id = pickEndpoint(view, 0, random, [])?.endpoint.id ?? '';
          counts.set(id, (counts.get(id) ?? 0) + 1);
        }
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        return views.every(
          ({ endpoint: { id, weight } }) => Math.abs((counts.get(id) ?? 0) / 6000 - weight / total) < 0.03,
        );
      },
    ),
    { seed: SEED, numRuns: 60 },
  );
  t.pass();
});

t.test('smooth round robin gives each endpoint exactly its weight in every round', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 2, maxLength: 8 }), (weights) => {
      const views = endpointViews(...weights);
      const view = viewOf(views, { loadBalancer: { policy: 'roundRobin' } });
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let round = 0; round < 3; round++) {
        const left = new Map(views.map(({ endpoint: { id, weight } }) => [id, weight]));
        for (let pick = 0; pick < total; pick++) {
          const id = pickEndpoint(view, 0, seededRandom(0), [])?.endpoint.id ?? '';
          left.set(id, (left.get(id) ?? 0) - 1);
        }
        if ([...left.values()].some((count) => count !== 0)) return false;
      }
      return true;
    }),
    { seed: SEED, numRuns: 200 },
  );
  t.pass();
});

t.test(
  'round robin over weights without a short sequence: exact shares, and nobody waits longer than 3 / share picks',
  async (t) => {
    const weight = fc.double({ min: 0.1, max: 50, noNaN: true });
    fc.assert(
      fc.property(fc.array(weight, { minLength: 2, maxLength: 30 }), fc.nat(0xffff_ffff), (weights, cursor) => {
        const view = viewOf(endpointViews(...weights), { loadBalancer: { policy: 'roundRobin' } });
        view.cursor.at = cursor;
        const total = weights.reduce((sum, one) => sum + one, 0);
        const counts = weights.map(() => 0);
        const seen = weights.map(() => -1);
        const picks = 5000;
        for (let pick = 0; pick < picks; pick++) {
          const picked = pickEndpoint(view, 0, NO_CHANCE, []);
          const at = picked === null ? -1 : view.endpoints.indexOf(picked);
          const share = (weights[at] ?? 0) / total;
          const waited = pick - (seen[at] ?? 0);
          if ((seen[at] ?? 0) >= 0 && waited > 3 / share + 1) return false;
          counts[at] = (counts[at] ?? 0) + 1;
          seen[at] = pick;
        }
        return weights.every((one, at) => Math.abs((counts[at] ?? 0) - (one / total) * picks) < 12);
      }),
      { seed: SEED, numRuns: 60 },
    );
    t.pass();
  },
);

const NO_CHANCE = (): number => {
  throw new Error('round robin draws nothing');
};

t.test('retries within the window never exceed percent of the requests plus the floor', async (t) => {
  const steps = fc.array(fc.record({ waitMs: fc.integer({ min: 0, max: 3000 }), isRequest: fc.boolean() }), {
    maxLength: 300,
  });
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 5 }), (all, percent, floor) => {
      const budget = new RetryBudget();
      const intervalMs = 10_000;
      budget.configure(policyWith({ retries: { budget: { percent, intervalMs, minRetriesPerSecond: floor } } }));
      const done: { slot: number; isRequest: boolean }[] = [];
      let now = 0;
      for (const { waitMs, isRequest } of all) {
        now += waitMs;
        const slot = Math.floor(now / 1000);
        if (isRequest) budget.deposit(now);
        if (isRequest || budget.tryWithdraw(now)) done.push({ slot, isRequest });
        const recent = done.filter((one) => one.slot > slot - 10);
        const retries = recent.filter((one) => !one.isRequest).length;
        const allowed = ((recent.length - retries) * percent) / 100 + floor * 10;
        // A request that has left the window may already have paid for a retry that has not.
        const everPaid =
          (done.filter((one) => one.isRequest && one.slot > slot - 20).length * percent) / 100 + floor * 10;
        if (retries > everPaid + 1e-9) return false;
        if (Math.abs(budget.balance(now) - (allowed - retries)) > 1e-9) return false;
      }
      return true;
    }),
    { seed: SEED, numRuns: 300 },
  );
  t.pass();
});

t.test(
  'loads of priority levels are whole percents, 100 together, and never for a dead level beside a living one',
  async (t) => {
    const level = fc
      .integer({ min: 1, max: 50 })
      .chain((total) => fc.record({ total: fc.constant(total), serving: fc.integer({ min: 0, max: total }) }));
    fc.assert(
      fc.property(
        fc.array(level, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 0, max: 100 }),
        (levels, percent) => {
          const { loads, panicking } = loadByPriority(levels, percent);
          if (loads.reduce((sum, load) => sum + load, 0) !== 100) return false;
          if (loads.some((load) => load < 0 || !Number.isInteger(load))) return false;
          return levels.every(
            ({ serving }, index) => serving > 0 || (loads[index] ?? 0) === 0 || panicking[index] === true,
          );
        },
      ),
      { seed: SEED, numRuns: 2000 },
    );
    t.pass();
  },
);

t.test(
  'zone shares are 1 together, stay at home while that suffices, and overload no zone more than the whole is',
  async (t) => {
    const amounts = fc.uniqueArray(
      fc.tuple(fc.constantFrom<string>('a', 'b', 'c', 'd'), fc.integer({ min: 1, max: 30 })),
      {
        selector: ([zone]) => zone,
        minLength: 1,
      },
    );
    fc.assert(
      fc.property(amounts, amounts, (callerList, upstreamList) => {
        const callers = new Map(callerList);
        const upstream = new Map(upstreamList);
        const total = (map: Map<string, number>) => [...map.values()].reduce((sum, amount) => sum + amount, 0);
        const arriving = new Map<string, number>();
        for (const [zone, count] of callers) {
          if (!upstream.has(zone)) continue;
          const shares = shareByZone(zone, callers, upstream);
          if (Math.abs(total(shares) - 1) > 1e-9) return false;
          for (const [to, share] of shares)
            arriving.set(to, (arriving.get(to) ?? 0) + (share * count) / total(callers));
        }
        return [...arriving].every(([zone, load]) => load <= (upstream.get(zone) ?? 0) / total(upstream) + 1e-9);
      }),
      { seed: SEED, numRuns: 2000 },
    );
    t.pass();
  },
);

t.test(
  'a key moves only when its endpoint leaves: never on the ring, for one key in twenty at most in the table',
  async (t) => {
    const ids = fc.uniqueArray(fc.integer({ min: 0, max: 9999 }), { minLength: 2, maxLength: 30 });
    fc.assert(
      fc.property(ids, fc.constantFrom('ring', 'maglev'), fc.nat(), (numbers, kind, which) => {
        const members = numbers.sort((a, b) => a - b).map((n) => ({ id: `svc@${n}`, weight: 1 }));
        const gone = members[which % members.length];
        const left = members.filter((member) => member !== gone);
        const [before, after] = [members, left].map((list) =>
          kind === 'ring' ? new RingTable(list) : new MaglevTable(list),
        );
        if (before === undefined || after === undefined) return false;
        let moved = 0;
        for (let key = 0; key < 2000; key++) {
          const hash = mix32(key + 1);
          const owner = members[before.ownerAt(before.start(hash))];
          if (owner !== gone && left[after.ownerAt(after.start(hash))] !== owner) moved++;
        }
        return kind === 'ring' ? moved === 0 : moved <= 100;
      }),
      { seed: SEED, numRuns: 100 },
    );
    t.pass();
  },
);
