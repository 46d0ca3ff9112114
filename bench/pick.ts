// What deciding costs, in nanoseconds and bytes: picks over 1000 endpoints, sweeps of 5000, a discovery update of 10,000. Prints
// figures beside the goals of docs/simulator.md and asserts nothing: speed is a machine's business.
//
//   npm run bench:pick        (needs --expose-gc for the bytes)

import { memoryUsage } from 'node:process';
import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import { BALANCER_POLICIES, type BalancerPolicy, type EffectivePolicy } from '#contract/policy/policy.ts';
import { Draws } from '../agent/core/decision/draws.ts';
import { PickTrace } from '../agent/core/decision/pick-trace.ts';
import type { Endpoint } from '../agent/core/endpoint.ts';
import { recordLatency } from '../agent/core/ewma.ts';
import { hash32, mix32 } from '../agent/core/hash.ts';
import { beginAttempt, endAttempt } from '../agent/core/outlier/record.ts';
import { NO_HASH, pickEndpoint } from '../agent/core/pick.ts';
import type { ServiceView } from '../agent/core/snapshot.ts';
import { createEndpointStats } from '../agent/core/stats.ts';
import { createServiceStats, createServiceView } from '../agent/core/view.ts';
import { Mesh } from '../agent/mesh/mesh.ts';
import { seededRandom } from '../test/support/seeded-random.ts';

const ROUNDS = 25;

function endpointAt(index: number, weight = 1): Endpoint {
  const address = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
  const id = `svc@svc-${index}@${address}:8080`;
  return { id, address, port: 8080, weight, zone: null, tags: ['v1'], meta: { version: '1' } };
}

function viewOf(count: number, policy: BalancerPolicy, isWeighted: boolean): ServiceView {
  const loadBalancer = { ...DEFAULT_POLICY.loadBalancer, policy };
  const effective: EffectivePolicy = { ...DEFAULT_POLICY, loadBalancer };
  const views = Array.from({ length: count }, (_, index) => {
    const endpoint = endpointAt(index, isWeighted ? 1 + (index % 5) : 1);
    const stats = createEndpointStats(endpoint.id);
    recordLatency(stats, 5 + (index % 7), 0);
    return { endpoint, stats };
  });
  const plan = { service: 'svc', policy: effective, rules: [], subsets: [], permission: { kind: 'allow' } } as const;
  return createServiceView(plan, views, createServiceStats('svc'));
}

/** The best of several rounds: what the code costs when nothing else runs. */
function best(run: () => number): number {
  return Math.min(...Array.from({ length: ROUNDS }, run));
}

/** One for all, as in an agent: a second closure at the same place of call would have its numbers boxed. */
const draws = new Draws();

function measurePick(policy: BalancerPolicy, isWeighted: boolean): { ns: number; bytes: number } {
  const view = viewOf(1000, policy, isWeighted);
  // As the agent picks: chance from a seed of its own for each pick, and a record of what was looked at.
  const trace = new PickTrace();
  const isHashing = policy === 'ringHash' || policy === 'maglev';
  const count = 100_000;
  let found = 0;
  const picks = (): void => {
    for (let pick = 0; pick < count; pick++) {
      const hash = isHashing ? mix32(pick) >>> 2 : NO_HASH;
      trace.begin(view.held, view, pick, 1000, hash, NOTHING, true);
      draws.reseed(pick);
      const picked = pickEndpoint(view, 1000, draws.next, NOTHING, hash, trace);
      if (picked !== null) found++;
    }
  };
  const ns = best(() => {
    const start = performance.now();
    picks();
    return ((performance.now() - start) * 1e6) / count;
  });
  globalThis.gc?.();
  const before = memoryUsage().heapUsed;
  picks();
  const bytes = Math.max(0, (memoryUsage().heapUsed - before) / count);
  if (found !== (ROUNDS + 1) * count) throw new Error('a pick found nothing');
  return { ns, bytes };
}

const NOTHING: readonly never[] = [];

function meshOf(count: number): { mesh: Mesh; advance(ms: number): number } {
  let now = 1000;
  const clock = { now: () => now, epochMs: () => now };
  const mesh = new Mesh({ caller: 'bench', clock, random: seededRandom(2), onEvent: () => {} });
  const endpoints = Array.from({ length: count }, (_, index) => endpointAt(index));
  mesh.applyEndpoints({ service: 'svc', source: 'consul', endpoints });
  return {
    mesh,
    advance: (ms) => {
      now += ms;
      return now;
    },
  };
}

/** A sweep in which every window ends and one endpoint is ejected, so that the view is built anew. */
function measureSweep(count: number, attempts: number): number {
  const { mesh, advance } = meshOf(count);
  let turn = 0;
  return best(() => {
    const { endpoints, policy } = mesh.snapshot.services.get('svc') as ServiceView;
    const now = advance(1);
    for (const [index, { stats }] of endpoints.entries()) {
      for (let attempt = 0; attempt < attempts; attempt++) {
        beginAttempt(stats, now);
        endAttempt(
          stats,
          { ...OK, status: index === turn ? 500 : 200, latencyMs: 5 + (attempt % 7) },
          stats.epoch,
          policy,
          now,
        );
      }
    }
    turn++;
    const at = advance(10_000);
    const start = performance.now();
    mesh.sweep(at);
    return performance.now() - start;
  });
}

const OK = {
  kind: 'response',
  retryAfterMs: 0,
  stalledMs: 0,
  isSent: true,
  isReusedConnection: true,
  isHeadRelayed: true,
} as const;

function measureUpdate(count: number): number {
  const { mesh, advance } = meshOf(count);
  let weight = 1;
  return best(() => {
    weight++;
    const endpoints = Array.from({ length: count }, (_, index) => endpointAt(index, index === 17 ? weight : 1));
    advance(1000);
    const start = performance.now();
    mesh.applyEndpoints({ service: 'svc', source: 'consul', endpoints });
    return performance.now() - start;
  });
}

console.log(`hash of a key of 32 bytes: ${best(hashNs).toFixed(0)} ns`);
console.log(
  '\n| pick over 1000 endpoints, recorded | ns | bytes | ns, five weights | bytes |\n| --- | --- | --- | --- | --- |',
);
for (const policy of BALANCER_POLICIES) {
  const [even, weighted] = [measurePick(policy, false), measurePick(policy, true)];
  const cells = [even.ns.toFixed(0), even.bytes.toFixed(1), weighted.ns.toFixed(0), weighted.bytes.toFixed(1)];
  console.log(`| ${policy} | ${cells.join(' | ')} |`);
}
console.log(
  `\nsweep of 5000 endpoints, 40 attempts each, one ejected: ${measureSweep(5000, 40).toFixed(2)} ms (goal 5)`,
);
console.log(`discovery update, 1 of 10,000 endpoints changed: ${measureUpdate(10_000).toFixed(2)} ms (goal 5)`);

function hashNs(): number {
  const key = 'session-0123456789abcdef01234567';
  let sum = 0;
  const start = performance.now();
  for (let turn = 0; turn < 200_000; turn++) sum ^= hash32(key, turn);
  const ns = ((performance.now() - start) * 1e6) / 200_000;
  return sum === -1 ? 0 : ns;
}
