// Decisions of a staged change: who is in, when it goes on, when it goes back. Vectors by hand.

import t from 'tap';
import { type LatencySketch, mergeSketches, SketchRecorder } from '#contract/latency-sketch.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import {
  afterStep,
  type Baseline,
  baselineOf,
  chooseFirst,
  decideStep,
  isInCohort,
  isWorse,
  MIN_REQUESTS,
  placeOf,
  type Rollout,
  SLOW_FOR_MS,
  STAGES,
  stableDocuments,
} from '../../../control-plane/core/rollout.ts';
import {
  type GroupHealth,
  mergeHealth,
  type RolloutHealth,
  servicesConcerned,
} from '../../../control-plane/core/rollout-health.ts';
import { pushSetOf } from '../../../control-plane/push/push-set.ts';

const policy = (name: string, spec = {}): PolicyDocument => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServicePolicy',
  metadata: { name },
  spec,
});

const ROLLOUT: Rollout = {
  id: 'r1',
  policy: 'ServicePolicy/payments',
  stableDocument: policy('payments', { old: true }),
  version: 7,
  author: 'ann',
  state: 'running',
  stage: 0,
  firstAgents: ['orders-1'],
  soakMs: 1_000,
  startedAtEpochMs: 0,
  stageSinceEpochMs: 0,
  baseline: null,
  reason: '',
};

const GROUP: GroupHealth = {
  agents: 1,
  settled: 1,
  rejected: [],
  silent: [],
  requests: 0,
  failures: 0,
  latencies: {},
};
const health = (cohort: Partial<GroupHealth>, rest: Partial<GroupHealth> = {}): RolloutHealth => ({
  connected: ['orders-1', 'orders-2'],
  busy: [],
  cohort: { ...GROUP, ...cohort },
  rest: { ...GROUP, ...rest },
});
const step = (changes: Partial<Rollout>, of: RolloutHealth, epochMs = 1_000, slowForMs = 0) =>
  decideStep({ ...ROLLOUT, ...changes }, of, epochMs, slowForMs);

t.test('places are spread evenly and are other ones for the next rollout', async (t) => {
  const AGENTS = 10_000;
  const ids = Array.from({ length: AGENTS }, (_, index) => `orders-${index}`);
  for (const [stage, share] of STAGES.entries()) {
    const rollout = { ...ROLLOUT, stage, firstAgents: [] };
    const inside = ids.filter((id) => isInCohort(rollout, id)).length;
    t.ok(Math.abs(inside / AGENTS - share / 100) < 0.02, `${share} %: ${inside}`);
    const later = { ...rollout, stage: stage + 1 };
    if (share < 100)
      t.ok(
        ids.every((id) => !isInCohort(rollout, id) || isInCohort(later, id)),
        'nobody falls out again',
      );
  }
  const both = ids.filter((id) => placeOf('r1', id) < 0.1 && placeOf('r2', id) < 0.1).length;
  t.ok(both < AGENTS * 0.03, `${both} of a tenth are in the next tenth`);
  t.equal(placeOf('r1', 'orders-1'), placeOf('r1', 'orders-1'));
});

t.test('the first agent has traffic, when one has', async (t) => {
  const many = { ...health({}), connected: ['a', 'b', 'c', 'd'], busy: ['c'] };
  t.equal(chooseFirst(ROLLOUT, many), 'c');
  t.match(chooseFirst(ROLLOUT, { ...many, busy: [] }), /^[abcd]$/);
  t.equal(chooseFirst(ROLLOUT, { ...many, connected: [], busy: [] }), null);
  t.same(step({ firstAgents: [] }, many, 0), { kind: 'begin', agentId: 'c' });
});

t.test('it goes on after the rest, once all have answered, and a pause holds it', async (t) => {
  t.same(step({}, health({}), 999), { kind: 'wait' });
  t.same(step({}, health({}), 1_000), { kind: 'advance' });
  t.same(step({}, health({ agents: 2, settled: 1 })), { kind: 'wait' });
  t.same(step({ state: 'paused' }, health({})), { kind: 'wait' });
  t.same(step({ stage: 3 }, health({})), { kind: 'complete' });
  for (const state of ['completed', 'halted', 'aborted'] as const) {
    t.same(step({ state }, health({ silent: ['x'] })), { kind: 'wait' }, `${state} is over`);
  }
  t.match(afterStep(ROLLOUT, { kind: 'advance' }, 5), {
    stage: 1,
    stageSinceEpochMs: 5,
    reason: '10 % of the agents have it.',
  });
  t.match(afterStep(ROLLOUT, { kind: 'complete' }, 5), { state: 'completed' });
});

t.test('it goes back for a refusal, for silence, for failures and for lasting slowness, paused or not', async (t) => {
  const rejected = [{ agentId: 'a', text: 'spec is wrong' }];
  for (const state of ['running', 'paused'] as const) {
    t.same(step({ state }, health({ rejected })), { kind: 'halt', reason: 'a refused it: spec is wrong.' });
    t.match(step({ state }, health({ silent: ['a'] })), { kind: 'halt', reason: /^a has been silent/ });
    const bad = health({ requests: 100, failures: 30 }, { requests: 1_000, failures: 10 });
    t.same(step({ state }, bad), {
      kind: 'halt',
      reason: '30.0 % of 100 requests failed where it is in force, 1.0 % elsewhere.',
    });
  }
  t.same(
    step({}, health({ requests: MIN_REQUESTS - 1, failures: MIN_REQUESTS - 1 }), 0),
    { kind: 'wait' },
    'too few to tell',
  );
  const sick = { requests: 1_000, failures: 300 };
  t.same(step({}, health({ requests: 100, failures: 30 }, sick), 0), { kind: 'wait' }, 'they fail everywhere');
  t.match(
    step(
      { stage: 3, baseline: { requests: 500, failures: 0 } },
      health({ requests: 100, failures: 10 }, { requests: 0 }),
    ),
    { kind: 'halt', reason: /in the minute before\.$/ },
    'with nobody left outside the time before is compared with',
  );
  t.match(step({}, health({ requests: 100, failures: 10 }, { requests: 3 })), { kind: 'halt', reason: /allowed\.$/ });
  const took = (ms: number, requests: number, source = 'orders') => ({ [source]: sketchOfMs(ms, requests) });
  const slow = health({ latencies: took(55, 50) }, { latencies: took(22, 50) });
  t.same(step({}, slow, 0, SLOW_FOR_MS - 1), { kind: 'wait' }, 'a peak passes');
  t.match(step({}, slow, 0, SLOW_FOR_MS), {
    kind: 'halt',
    reason:
      /^Half of the requests of orders takes more than 5[45]\.\d ms where it is in force, 2[12]\.\d ms elsewhere\.$/,
  });
  const is = (
    cohort: Record<string, LatencySketch>,
    rest: Record<string, LatencySketch>,
    baseline: Baseline | null = null,
  ) => step({ baseline }, health({ latencies: cohort }, { latencies: rest }), 0, SLOW_FOR_MS).kind;
  t.equal(is(took(53, 50), took(22, 50)), 'wait', 'hardly slower');
  t.equal(is(took(55, MIN_REQUESTS - 1), took(22, 50)), 'wait', 'too few to tell');
  t.equal(is(took(500, 50), took(5, 50, 'reports')), 'wait', 'other services may be quick by nature');
  const tail = (count: number) => {
    return { orders: mergeSketches([sketchOfMs(5, (count * 9) / 10), sketchOfMs(300, count / 10)]) };
  };
  t.equal(is(tail(100), took(5, 100)), 'halt', 'a tenth takes much longer');
  t.equal(is(tail(90), took(5, 100)), 'wait');
  t.equal(is(tail(100), tail(100)), 'wait', 'everywhere');
  const before = baselineOf({ ...GROUP, requests: 100, latencies: took(5, 100) });
  t.equal(is(took(300, 100), {}, before), 'halt', 'with nobody left outside the time before is compared with');
  t.equal(is(took(8, 100), {}, before), 'wait');
  t.equal(is(took(300, 100), {}, { requests: 100, failures: 0 }), 'wait', 'a record from before latencies');
});

function sketchOfMs(ms: number, count: number): LatencySketch {
  const recorder = new SketchRecorder();
  for (let nth = 0; nth < count; nth++) recorder.record(ms);
  return recorder.sketch();
}

t.test('a rise must be sure and noticeable', async (t) => {
  t.equal(isWorse({ requests: 20, failures: 20 }, { requests: 20, failures: 0 }), true);
  t.equal(isWorse({ requests: 20, failures: 2 }, { requests: 1_000, failures: 50 }), false, '10 % of 20 can be chance');
  t.equal(
    isWorse({ requests: 100_000, failures: 900 }, { requests: 100_000, failures: 0 }),
    false,
    '0.9 points are let pass',
  );
  t.equal(isWorse({ requests: 100_000, failures: 1_100 }, { requests: 100_000, failures: 0 }), true);
  t.equal(isWorse({ requests: 50, failures: 0 }, { requests: 50, failures: 50 }), false);
});

t.test('health of replicas is added up; who moved to another one is not silent', async (t) => {
  const here = { ...health({ silent: ['moved', 'lost'], requests: 3 }), connected: ['a'] };
  const there = { ...health({ requests: 4, failures: 1 }), connected: ['moved'] };
  const sum = mergeHealth([here, there]);
  t.same(sum.cohort.silent, ['lost']);
  t.match(sum, { connected: ['a', 'moved'], cohort: { requests: 7, failures: 1, agents: 2 }, rest: { agents: 2 } });
});

t.test('whose traffic counts', async (t) => {
  t.equal(servicesConcerned([{ ...policy('global'), kind: 'MeshDefaults' }]), null);
  t.same(servicesConcerned([policy('a'), null]), new Set(['a']));
  const rules = [{ backendRefs: [{ name: 'a-v2' }, { name: 'a-v1' }] }];
  t.same(servicesConcerned([{ ...policy('a', { rules }), kind: 'HTTPRoute' }]), new Set(['a', 'a-v2', 'a-v1']));
});

t.test('two sets are pushed, and lists that hold the same stay the same', async (t) => {
  const stored = (document: PolicyDocument) => ({
    document,
    revision: 1,
    version: 1,
    updatedAtEpochMs: 0,
    author: '',
    message: '',
  });
  const candidate = policy('payments', { old: false });
  const set = { version: 7, generation: 'g', policies: [stored(policy('a')), stored(candidate)], rollout: ROLLOUT };
  t.same(stableDocuments([policy('a'), candidate], { ...ROLLOUT, stableDocument: null }), [policy('a')]);
  const before = pushSetOf(
    {
      version: 6,
      generation: 'g',
      policies: [stored(policy('a')), stored(policy('payments', { old: true }))],
      rollout: null,
    },
    null,
  );
  const during = pushSetOf(set, before);
  t.equal(during.documents, before.documents, 'the others are left alone');
  t.same(during.trial?.documents, [policy('a'), candidate]);
  t.same([during.trial?.isIn('orders-1'), during.trial?.isIn('orders-2')], [true, false]);
  const after = pushSetOf({ ...set, version: 8, rollout: { ...ROLLOUT, state: 'completed' } }, during);
  t.equal(after.documents, during.trial?.documents);
  t.equal(after.trial, null);
});
