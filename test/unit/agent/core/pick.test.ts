import t from 'tap';
import { cost, isWorthATry, recordAtLeast, recordFailure, recordLatency } from '../../../../agent/core/ewma.ts';
import { beginAttempt, endAttempt } from '../../../../agent/core/outlier/record.ts';
import { NO_HASH, pickEndpoint } from '../../../../agent/core/pick.ts';
import type { EndpointView, ServiceView } from '../../../../agent/core/snapshot.ts';
import { createEndpointStats } from '../../../../agent/core/stats.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { countPicks, endpointViews, outcome, viewOf } from '../../../support/views.ts';

function picks(view: ServiceView, count: number, now = 0, random = seededRandom(1)): (EndpointView | null)[] {
  return Array.from({ length: count }, () => pickEndpoint(view, now, random, []));
}

function at(views: readonly EndpointView[], index: number): EndpointView {
  const view = views[index];
  if (view === undefined) throw new Error(`no endpoint ${index}`);
  return view;
}

t.test('recordLatency()', async (t) => {
  t.test('1000 ms decays under samples of 10 ms to 906, 610, 374, 144, 59 after 1, 5, 10, 20, 30 s', async (t) => {
    for (const [seconds, expected] of [
      [1, 906],
      [5, 610],
      [10, 374],
      [20, 144],
      [30, 59],
    ] as const) {
      const stats = createEndpointStats('a');
      recordLatency(stats, 1000, 0);
      for (let ms = 100; ms <= seconds * 1000; ms += 100) recordLatency(stats, 10, ms);
      t.equal(Math.round(stats.ewmaMs), expected, `after ${seconds} s`);
    }
  });
  t.test('a slower sample is taken over whole', async (t) => {
    const stats = createEndpointStats('a');
    recordLatency(stats, 10, 0);
    recordLatency(stats, 700, 1);
    t.equal(stats.ewmaMs, 700);
  });
});

t.test('cost()', async (t) => {
  t.test('grows with attempts in flight, less so for a heavier endpoint, and reading changes nothing', async (t) => {
    const stats = createEndpointStats('a');
    recordLatency(stats, 10, 0);
    t.equal(cost(stats, 0), 10);
    stats.inFlight = 4;
    t.equal(cost(stats, 0), 50);
    t.equal(cost(stats, 0, 2), 30);
    t.equal(Math.round(cost(stats, 10_000) * 100) / 100, 18.39);
    t.equal(stats.ewmaMs, 10);
  });
  t.test('without a sample: free while idle, dearer than anything once one attempt is in flight', async (t) => {
    const stats = createEndpointStats('a');
    t.equal(cost(stats, 0), 0);
    stats.inFlight = 1;
    t.ok(cost(stats, 0) > 300_000);
  });
  t.test('a fast failure costs, a success halves the cost, time takes it away', async (t) => {
    const stats = createEndpointStats('a');
    recordLatency(stats, 5, 0);
    recordFailure(stats, 1, 0, 0);
    t.equal(stats.ewmaMs, 5, 'failing fast does not make it look fast');
    t.equal(cost(stats, 0), 5005);
    t.equal(isWorthATry(stats, 0), true);
    recordLatency(stats, 5, 0);
    t.equal(Math.round(cost(stats, 0)), 2505);
    for (let success = 0; success < 9; success++) recordLatency(stats, 5, 0);
    t.ok(cost(stats, 0) < 10, 'ten successes bring the penalty under 5 ms');
    recordFailure(stats, 1, 0, 0);
    t.ok(cost(stats, 69_100) < 5.01 && cost(stats, 68_000) > 5, 'and so do 69 s');
  });
  t.test('Retry-After keeps the penalty whole and forbids trying, up to five minutes', async (t) => {
    const stats = createEndpointStats('a');
    recordLatency(stats, 5, 0);
    recordFailure(stats, 1, 3_600_000, 0);
    t.equal(isWorthATry(stats, 299_999), false);
    t.ok(cost(stats, 299_999) >= 5000);
    t.equal(isWorthATry(stats, 300_000), true);
    recordFailure(stats, 1, 0, 1000);
    t.equal(isWorthATry(stats, 20_000), false, 'a later failure without one does not shorten it');
  });
  t.test('a given-up attempt raises the average but never lowers it or starts one', async (t) => {
    const stats = createEndpointStats('a');
    recordAtLeast(stats, 900, 0);
    t.equal(stats.ewmaAt, -1);
    recordLatency(stats, 100, 0);
    recordAtLeast(stats, 20, 0);
    t.equal(stats.ewmaMs, 100);
    recordAtLeast(stats, 900, 0);
    t.equal(stats.ewmaMs, 900);
  });
});

t.test('pickEndpoint()', async (t) => {
  t.test('an endpoint that fails fast shows its run of failures soon and costs five requests', async (t) => {
    for (const size of [2, 4, 10]) {
      const views = endpointViews(...Array.from({ length: size }, () => 1));
      const view = viewOf(views);
      const random = seededRandom(size);
      let requests = 0;
      let failed = 0;
      let isAsking = false;
      while (!isAsking && requests < 10_000) {
        const now = requests++ * 10;
        const picked = pickEndpoint(view, now, random, []);
        if (picked === null) break;
        const isBad = picked === views[0];
        if (isBad) failed++;
        beginAttempt(picked.stats, now);
        const end = isBad ? outcome({ status: 503, latencyMs: 1 }) : outcome();
        isAsking = endAttempt(picked.stats, end, picked.stats.epoch, view.policy, now);
      }
      t.equal(failed, 5);
      t.ok(requests < 40 * size, `${size} endpoints: ${requests} requests`);
    }
  });

  t.test('roundRobin {5, 1, 1} goes a a b a c a a', async (t) => {
    const view = viewOf(endpointViews(5, 1, 1), { loadBalancer: { policy: 'roundRobin' } });
    const order = picks(view, 14).map((one) => one?.endpoint.id.split('@')[1]);
    t.equal(order.join(' '), '1 1 2 1 3 1 1 1 1 2 1 3 1 1');
  });

  t.test('every algorithm gives shares by weight while loads are alike', async (t) => {
    for (const policy of ['peakEwma', 'leastRequest', 'random', 'roundRobin'] as const) {
      for (const weights of [
        [5, 1],
        [1, 1],
        [3, 2, 1],
      ]) {
        const views = endpointViews(...weights);
        // Alike, but for noise.
        for (const [index, { stats }] of views.entries()) recordLatency(stats, 5 + index * 0.3, 0);
        const counts = countPicks(picks(viewOf(views, { loadBalancer: { policy } }), 20_000));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (const [index, weight] of weights.entries()) {
          const share = (counts[`${index + 1}`] ?? 0) / 20_000;
          t.ok(Math.abs(share - weight / total) < 0.02, `${policy} ${weights}: ${share} of endpoint ${index + 1}`);
        }
      }
    }
  });

  t.test('leastRequest fills endpoints in proportion to their weights', async (t) => {
    const views = endpointViews(4, 1);
    const view = viewOf(views, { loadBalancer: { policy: 'leastRequest' } });
    const random = seededRandom(3);
    for (let request = 0; request < 500; request++) {
      const picked = pickEndpoint(view, 0, random, []);
      if (picked !== null) beginAttempt(picked.stats, 0);
    }
    t.ok(Math.abs(at(views, 0).stats.inFlight - 400) < 10, `${at(views, 0).stats.inFlight}`);
  });

  t.test('peakEwma leaves a slow endpoint alone but returns to it in time', async (t) => {
    const views = endpointViews(1, 1, 1);
    for (const [index, { stats }] of views.entries()) recordLatency(stats, index === 0 ? 2000 : 5, 0);
    const view = viewOf(views);
    t.equal(countPicks(picks(view, 300))['1'], undefined);
    for (const { stats } of views.slice(1)) recordLatency(stats, 5, 70_000);
    t.ok((countPicks(picks(view, 300, 70_000))['1'] ?? 0) > 0, 'after 70 s its old sample has decayed');
  });

  t.test('peakEwma tries a cold endpoint with one request and waits for its sample', async (t) => {
    const views = endpointViews(1, 1);
    recordLatency(at(views, 0).stats, 5, 0);
    const view = viewOf(views);
    const random = seededRandom(5);
    for (let request = 0; request < 50; request++) {
      const picked = pickEndpoint(view, 0, random, []);
      if (picked !== null) beginAttempt(picked.stats, 0);
    }
    t.equal(at(views, 1).stats.inFlight, 1);
    t.equal(at(views, 0).stats.inFlight, 49);
  });

  t.test(
    'peakEwma gives a penalised endpoint every eighth of the picks that draw it, and a share again once it serves',
    async (t) => {
      const views = endpointViews(1, 1);
      for (const { stats } of views) recordLatency(stats, 5, 0);
      recordFailure(at(views, 0).stats, 1, 0, 0);
      const view = viewOf(views);
      t.equal(countPicks(picks(view, 800))['1'], 100);
      const random = seededRandom(7);
      const once = Array.from({ length: 800 }, () => pickEndpoint(view, 0, random, [], NO_HASH, null, false));
      t.equal(countPicks(once)['1'], undefined, 'with no request that may not be repeated');
      for (let success = 0; success < 14; success++) recordLatency(at(views, 0).stats, 5, 0);
      t.ok((countPicks(picks(view, 800))['1'] ?? 0) > 300);
      recordFailure(at(views, 0).stats, 1, 60_000, 0);
      t.equal(countPicks(picks(view, 800, 59_000))['1'], undefined, 'but not while its Retry-After runs');
    },
  );

  t.test('avoids what was tried, then only the last, and repeats the only one', async (t) => {
    const views = endpointViews(1, 2, 3);
    const [a, b, c] = [at(views, 0), at(views, 1), at(views, 2)];
    for (const policy of ['peakEwma', 'leastRequest', 'random', 'roundRobin'] as const) {
      const view = viewOf(views, { loadBalancer: { policy } });
      const random = seededRandom(9);
      for (let round = 0; round < 50; round++) {
        t.equal(pickEndpoint(view, 0, random, [a, c]), b, policy);
        t.not(pickEndpoint(view, 0, random, [a, b, c]), c, policy);
      }
      t.equal(pickEndpoint(viewOf([a], { loadBalancer: { policy } }), 0, random, [a]), a);
      t.equal(pickEndpoint(viewOf([], { loadBalancer: { policy } }), 0, random, []), null);
    }
  });

  t.test('uses every endpoint in panic and none of the ejected otherwise', async (t) => {
    const views = endpointViews(1, 1, 1, 1);
    for (const { stats } of views.slice(2)) stats.state = 'ejected';
    t.same(Object.keys(countPicks(picks(viewOf(views), 400))), ['1', '2'], '50 % serving is not below 50 %');
    at(views, 1).stats.state = 'ejected';
    const view = viewOf(views);
    t.equal(view.isPanicking, true);
    t.equal(Object.keys(countPicks(picks(view, 400))).length, 4);
    const never = viewOf(views, { outlierDetection: { minHealthPercent: 0 } });
    t.same(Object.keys(countPicks(picks(never, 400))), ['1'], 'a threshold of 0 turns panic off');
    at(views, 0).stats.state = 'ejected';
    t.equal(
      viewOf(views, { outlierDetection: { minHealthPercent: 0 } }).pickable.length,
      4,
      'unless nothing serves at all',
    );
  });

  t.test('sends a probing endpoint one live request, and no retry', async (t) => {
    const views = endpointViews(1, 1, 1);
    const probing = at(views, 0);
    probing.stats.state = 'probing';
    const view = viewOf(views);
    const random = seededRandom(2);
    t.not(pickEndpoint(view, 0, random, [at(views, 1)]), probing, 'a retry does not probe');
    t.equal(pickEndpoint(view, 0, random, []), probing);
    beginAttempt(probing.stats, 0);
    t.equal(countPicks(picks(view, 200))['1'], undefined, 'nothing more while the probe is in flight');
  });

  t.test('draws as documented', async (t) => {
    let draws = 0;
    const chance = seededRandom(4);
    const random = (): number => {
      draws++;
      return chance();
    };
    const views = endpointViews(1, 2, 3, 4);
    for (const [policy, choiceCount, expected] of [
      ['peakEwma', 2, 2],
      ['peakEwma', 5, 5],
      ['leastRequest', 8, 8],
      ['random', 2, 1],
      ['roundRobin', 2, 0],
    ] as const) {
      for (const tried of [[], [at(views, 0)], views.slice(0, 3), views]) {
        draws = 0;
        pickEndpoint(viewOf(views, { loadBalancer: { policy, choiceCount } }), 0, random, tried);
        t.equal(draws, expected, `${policy} ${choiceCount} after ${tried.length}`);
      }
      draws = 0;
      pickEndpoint(viewOf(views.slice(0, 1), { loadBalancer: { policy, choiceCount } }), 0, random, []);
      t.equal(draws, 0, 'a single endpoint needs no chance');
    }
  });
});
