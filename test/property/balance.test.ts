// What every balancing algorithm keeps, whatever the service looks like.

import fc from 'fast-check';
import t from 'tap';
import { BALANCER_POLICIES } from '#contract/policy/policy.ts';
import { recordFailure, recordLatency } from '../../agent/core/ewma.ts';
import { beginAttempt } from '../../agent/core/outlier/record.ts';
import { pickEndpoint } from '../../agent/core/pick.ts';
import { RetryBudget } from '../../agent/core/retry/budget.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { endpointViews, policyWith, viewOf } from '../support/views.ts';

const SEED = 20_260_401;
const STATES = ['serving', 'serving', 'serving', 'ejected', 'probing', 'draining'] as const;

const endpoint = fc.record({
  weight: fc.integer({ min: 1, max: 100 }),
  state: fc.constantFrom(...STATES),
  inFlight: fc.integer({ min: 0, max: 20 }),
  latencyMs: fc.option(fc.double({ min: 0, max: 60_000, noNaN: true })),
  hasFailed: fc.boolean(),
  retryAfterMs: fc.integer({ min: 0, max: 1_000_000 }),
});

const service = fc.record({
  endpoints: fc.array(endpoint, { maxLength: 12 }),
  policy: fc.constantFrom(...BALANCER_POLICIES),
  choiceCount: fc.integer({ min: 2, max: 8 }),
  minHealthPercent: fc.integer({ min: 0, max: 100 }),
  triedMask: fc.integer({ min: 0, max: 4095 }),
  now: fc.integer({ min: 0, max: 1_000_000 }),
  seed: fc.integer(),
});

t.test('a pick never takes an ejected endpoint outside panic, and an untried one while there is one', async (t) => {
  fc.assert(
    fc.property(service, ({ endpoints, policy, choiceCount, minHealthPercent, triedMask, now, seed }) => {
      const views = endpointViews(...endpoints.map(({ weight }) => weight));
      for (const [index, { stats }] of views.entries()) {
        const made = endpoints[index];
        if (made === undefined) continue;
        Object.assign(stats, { state: made.state, inFlight: made.inFlight });
        if (made.latencyMs !== null) recordLatency(stats, made.latencyMs, 0);
        if (made.hasFailed) recordFailure(stats, 1, made.retryAfterMs, 0);
      }
      const view = viewOf(views, { loadBalancer: { policy, choiceCount }, outlierDetection: { minHealthPercent } });
      const tried = views.filter((_, index) => (triedMask & (1 << index)) !== 0);
      const random = seededRandom(seed);
      for (let round = 0; round < 9; round++) {
        const picked = pickEndpoint(view, now, random, tried);
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
    { seed: SEED, numRuns: 2000 },
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
      return views.every(({ stats }) => stats.roundRobinWeight === 0);
    }),
    { seed: SEED, numRuns: 200 },
  );
  t.pass();
});

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
