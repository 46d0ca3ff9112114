// Every recorded pick can be made again: same function, same view, same seed, same endpoint.

import t from 'tap';
import { BALANCER_POLICIES } from '#contract/policy/policy.ts';
import { Draws, drawSeed } from '../../agent/core/decision/draws.ts';
import { PickTrace } from '../../agent/core/decision/pick-trace.ts';
import { replayPick } from '../../agent/core/decision/replay.ts';
import { mix32 } from '../../agent/core/hash.ts';
import { beginAttempt, endAttempt } from '../../agent/core/outlier/record.ts';
import { NO_HASH, pickEndpoint } from '../../agent/core/pick.ts';
import type { EndpointView, ServiceView } from '../../agent/core/snapshot.ts';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { createServiceStats, createServiceView, PLAIN_CONTEXT } from '../../agent/core/view.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { endpointAt, outcome, policyWith } from '../support/views.ts';

const REQUESTS = 100_000;
const SEED = 20_261_126;

interface Recorded {
  readonly trace: PickTrace;
  readonly picked: EndpointView | null;
}

/** A service of any shape; states change now and then, so that probes, panic and several groups happen. */
function makeView(random: () => number, former: readonly EndpointView[], now: number): ServiceView {
  const count = former.length > 0 ? former.length : 1 + Math.floor(random() * 12);
  const endpoints =
    former.length > 0
      ? former
      : Array.from({ length: count }, (_, index) => {
          const zone = random() < 0.5 ? 'a' : 'b';
          const meta = { outrigger_priority: random() < 0.7 ? '0' : '1' };
          const weight = random() < 0.5 ? 1 : 1 + Math.floor(random() * 9);
          const endpoint = endpointAt(index + 1, { weight, zone, meta });
          return { endpoint, stats: createEndpointStats(endpoint.id) };
        });
  for (const { stats } of endpoints) {
    const state = random();
    stats.state = state < 0.8 ? 'serving' : state < 0.9 ? 'ejected' : 'probing';
    stats.isProbeInFlight = false;
    stats.probeVerdict = 'none';
    stats.joinedAt = random() < 0.2 ? now - 5000 : -1;
  }
  const policy = policyWith({
    loadBalancer: {
      policy: BALANCER_POLICIES[Math.floor(random() * BALANCER_POLICIES.length)] ?? 'peakEwma',
      choiceCount: 2 + Math.floor(random() * 3),
      hashBalanceFactor: random() < 0.5 ? 0 : 125,
      zoneAware: { isEnabled: random() < 0.3, minHosts: 2, isLoadAware: false },
    },
  });
  const plan = { service: 'svc', policy, rules: [], subsets: [], permission: { kind: 'allow' } } as const;
  return createServiceView(plan, endpoints, createServiceStats('svc'), { ...PLAIN_CONTEXT, now, zone: 'a' });
}

t.test(`replay(record) is the recorded endpoint for ${REQUESTS} requests`, async (t) => {
  const random = seededRandom(SEED);
  const draws = new Draws();
  const recorded: Recorded[] = [];
  const ways = new Map<string, number>();
  let now = 10_000;
  let view = makeView(random, [], now);
  let hashed = 0;
  for (let request = 0; request < REQUESTS; request++) {
    now += random() * 5;
    if (request % 50 === 0) view = makeView(random, request % 1000 === 0 ? [] : view.endpoints, now);
    const tried: EndpointView[] = [];
    while (random() < 0.15 && tried.length < 4) {
      const one = view.endpoints[Math.floor(random() * view.endpoints.length)];
      if (one !== undefined) tried.push(one);
    }
    const hash = random() < 0.5 ? NO_HASH : mix32(request) >>> 0;
    if (hash !== NO_HASH) hashed++;
    const trace = new PickTrace();
    trace.begin({ view }, view, drawSeed(random), now, hash, tried, request % 3 !== 0);
    draws.reseed(trace.seed);
    const picked = pickEndpoint(view, now, draws.next, tried, hash, trace, trace.isRepeatable);
    recorded.push({ trace, picked });
    ways.set(trace.way, (ways.get(trace.way) ?? 0) + 1);
    if (picked === null) continue;
    // The world goes on: what was measured at the pick is not what is measured when somebody asks.
    const { stats } = picked;
    beginAttempt(stats, now);
    if (random() < 0.8) {
      const isBad = random() < 0.1;
      endAttempt(
        stats,
        outcome({ status: isBad ? 503 : 200, latencyMs: random() * 100, retryAfterMs: isBad ? 1000 : 0 }),
        stats.epoch,
        view.policy,
        now,
      );
    }
  }
  let different = 0;
  for (const { trace, picked } of recorded) if (replayPick(trace, picked)?.endpoint !== picked?.endpoint) different++;
  t.equal(different, 0, `${different} of ${recorded.length} came out otherwise, seed ${SEED}`);
  t.ok(
    (ways.get('balancer') ?? 0) > 70_000 && (ways.get('probe') ?? 0) > 1000 && (ways.get('only') ?? 0) > 100,
    `${[...ways]}`,
  );
  t.ok(hashed > 40_000);
});

t.test('a replay with another measurement comes out otherwise, so the record is what decides', async (t) => {
  const random = seededRandom(7);
  const view = makeView(random, [], 0);
  for (const { stats } of view.endpoints) stats.state = 'serving';
  const policy = policyWith({ loadBalancer: { policy: 'leastRequest' } });
  const plan = { service: 'svc', policy, rules: [], subsets: [], permission: { kind: 'allow' } } as const;
  const endpoints = Array.from({ length: 2 }, (_, index) => {
    const endpoint = endpointAt(index + 1);
    return { endpoint, stats: createEndpointStats(endpoint.id) };
  });
  const two = createServiceView(plan, endpoints, createServiceStats('svc'));
  const draws = new Draws();
  const trace = new PickTrace();
  trace.begin({ view: two }, two, 1, 0, NO_HASH, [], true);
  draws.reseed(1);
  const picked = pickEndpoint(two, 0, draws.next, [], NO_HASH, trace);
  t.equal(replayPick(trace, picked), picked);
  const turned = new PickTrace();
  turned.begin({ view: two }, two, 1, 0, NO_HASH, [], true);
  for (const { endpoint, load } of trace.samples()) {
    endpoint.stats.inFlight = endpoint === picked ? 50 : 0;
    turned.note(endpoint, Float64Array.of(load));
  }
  t.not(replayPick(turned, picked), picked);
  turned.begin({ view: null }, two, 1, 0, NO_HASH, [], true);
  t.equal(replayPick(turned, picked), undefined, 'a view that is gone');
});
