import t from 'tap';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Outcome } from '../../../../agent/core/outcome.ts';
import { applyDecision } from '../../../../agent/core/outlier/apply.ts';
import { beginAttempt, endAttempt } from '../../../../agent/core/outlier/record.ts';
import { type Decision, decideSweep, ejectionLimit } from '../../../../agent/core/outlier/sweep.ts';
import type { EndpointView } from '../../../../agent/core/snapshot.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointViews, outcome, policyWith } from '../../../support/views.ts';

/** One attempt from beginning to end; true when it asks for a sweep. */
function attempt({ stats }: EndpointView, end: Outcome, policy: EffectivePolicy, now = 0): boolean {
  const { epoch } = stats;
  beginAttempt(stats, now);
  return endAttempt(stats, end, epoch, policy, now);
}

function fail(
  view: EndpointView,
  times: number,
  policy: EffectivePolicy,
  now = 0,
  end = outcome({ status: 503 }),
): boolean {
  let isAsking = false;
  for (let time = 0; time < times; time++) isAsking = attempt(view, end, policy, now);
  return isAsking;
}

function sweep(views: readonly EndpointView[], policy: EffectivePolicy, now: number): Decision[] {
  const decisions = decideSweep(views, policy, now, seededRandom(1));
  for (const decision of decisions) applyDecision(decision, now);
  return decisions;
}

function first(views: readonly EndpointView[]): EndpointView {
  const [view] = views;
  if (view === undefined) throw new Error('no endpoint');
  return view;
}

t.test('endAttempt()', async (t) => {
  const policy = policyWith();
  t.test('asks for a sweep at the threshold of each detector and at its multiples', async (t) => {
    for (const end of [outcome({ status: 500 }), outcome({ status: 503 }), outcome({ kind: 'reset' })]) {
      const view = first(endpointViews(1));
      const asked = Array.from({ length: 12 }, () => attempt(view, end, policy));
      t.same(
        asked.flatMap((isAsking, index) => (isAsking ? [index + 1] : [])),
        [5, 10],
        `${end.kind} ${end.status}`,
      );
    }
  });
  t.test('keeps runs apart: what ends which', async (t) => {
    const { stats } = first(endpointViews(1));
    const runs = (): number[] => [stats.consecutive5xx, stats.consecutiveGateway, stats.consecutiveLocalOrigin];
    const view = { endpoint: first(endpointViews(1)).endpoint, stats };
    fail(view, 2, policy);
    t.same(runs(), [2, 2, 0]);
    attempt(view, outcome({ kind: 'timeout' }), policy);
    t.same(runs(), [2, 2, 1], 'no answer says nothing about answers');
    attempt(view, outcome({ status: 500 }), policy);
    t.same(runs(), [3, 0, 0], 'a 500 is an answer and not a gateway error');
    attempt(view, outcome({ status: 404 }), policy);
    t.same(runs(), [0, 0, 0], 'any answer below 500 ends every run');
    t.equal(stats.failures, 4);
    t.equal(stats.attempts, 5);
  });
  t.test('does not hold an overflow, a canceled attempt or a stale connection against the endpoint', async (t) => {
    const view = first(endpointViews(1));
    for (let time = 0; time < 20; time++) {
      t.notOk(attempt(view, outcome({ kind: 'overflow', isSent: false }), policy));
      t.notOk(attempt(view, outcome({ kind: 'canceled' }), policy));
      t.notOk(attempt(view, outcome({ kind: 'reset', isReusedConnection: true }), policy));
    }
    t.equal(view.stats.failures, 0);
    t.equal(view.stats.attempts, 40, 'an overflow never reached it');
    t.equal(view.stats.penaltyMs, 0);
    t.equal(
      fail(view, 5, policy, 0, outcome({ kind: 'reset', isReusedConnection: true, status: 200 })),
      true,
      'but a body that broke off',
    );
  });
  t.test('counts an outcome from before a change of state and judges nothing', async (t) => {
    const view = first(endpointViews(1));
    beginAttempt(view.stats, 0);
    view.stats.epoch++;
    const before = { ...view.stats };
    t.equal(endAttempt(view.stats, outcome({ status: 503 }), before.epoch - 1, policy, 5), false);
    t.same(view.stats, { ...before, inFlight: 0, attempts: 1, failures: 1 });
    Object.assign(view.stats, { ewmaMs: 5, ewmaAt: 0 });
    endAttempt(view.stats, outcome({ kind: 'canceled', latencyMs: 900 }), before.epoch - 1, policy, 5);
    t.equal(view.stats.ewmaMs, 5, 'not even for its latency');
    endAttempt(view.stats, outcome({ kind: 'canceled', latencyMs: 900 }), before.epoch, policy, 5);
    t.equal(view.stats.ewmaMs, 900, 'a canceled attempt of this epoch was at least that slow');
  });
  t.test('a 429 is a success that costs', async (t) => {
    const view = first(endpointViews(1));
    t.equal(fail(view, 20, policy, 0, outcome({ status: 429, retryAfterMs: 2000 })), false);
    t.equal(view.stats.failures, 0);
    t.equal(view.stats.penaltyAt, 2000);
  });
  t.test('a threshold of 0 turns a detector off', async (t) => {
    const off = policyWith({ outlierDetection: { consecutive5xxErrors: 0, consecutiveGatewayErrors: 0 } });
    const views = endpointViews(1, 1);
    t.equal(fail(first(views), 50, off), false);
    t.same(sweep(views, off, 0), []);
  });
});

t.test('ejectionLimit()', async (t) => {
  const cases = [
    [1, 50, 0],
    [2, 50, 1],
    [3, 50, 1],
    [4, 50, 2],
    [9, 34, 3],
    [3, 10, 1],
    [20, 10, 2],
    [4, 100, 3],
    [0, 50, 0],
    [10, 0, 0],
  ] as const;
  for (const [count, percent, expected] of cases)
    t.equal(ejectionLimit(count, percent), expected, `${count} at ${percent} %`);
});

t.test('decideSweep()', async (t) => {
  const policy = policyWith();
  t.test('says an ejection in one sentence', async (t) => {
    const views = endpointViews(1, 1, 1, 1);
    fail(first(views), 5, policy);
    t.match(sweep(views, policy, 0), [
      {
        kind: 'eject',
        reason: 'consecutive_5xx',
        durationMs: 30_000,
        text: 'svc@10.0.0.1:8080 ejected for 30 s (1st time): 5 consecutive 5xx answers, last 503; 1 of 4 endpoints out, limit 2',
      },
    ]);
  });
  t.test('ejects, probes after the time, and reinstates after one success', async (t) => {
    const views = endpointViews(1, 1);
    const view = first(views);
    fail(view, 5, policy, 0, outcome({ kind: 'connect_failure', isSent: false }));
    Object.assign(view.stats, { isProbeInFlight: true });
    t.match(sweep(views, policy, 0)[0]?.kind, 'eject');
    t.equal(view.stats.ejectionText.includes('last connect failure'), true);
    t.same(sweep(views, policy, 29_999), []);
    t.match(sweep(views, policy, 30_000), [{ kind: 'probe' }]);
    t.match(view.stats, { state: 'probing', isProbeInFlight: false });
    t.same(sweep(views, policy, 90_000), [], 'without a request it waits');
    t.equal(attempt(view, outcome(), policy, 90_000), true);
    t.match(sweep(views, policy, 90_000), [
      {
        kind: 'reinstate',
        text: 'svc@10.0.0.1:8080 reinstated 90 s after its last ejection: the probe succeeded; 0 of 2 endpoints out',
      },
    ]);
    t.match(view.stats, {
      state: 'serving',
      epoch: 3,
      reinstatedAt: 90_000,
      ejectedUntil: 0,
      penaltyMs: 0,
    });
  });
  t.test('a failed probe ejects for longer each time, up to the maximum', async (t) => {
    const views = endpointViews(1, 1);
    const view = first(views);
    fail(view, 5, policy);
    let now = 0;
    const times: number[] = [];
    for (let round = 0; round < 13; round++) {
      for (const decision of sweep(views, policy, now)) if (decision.kind === 'eject') times.push(decision.durationMs);
      now = view.stats.ejectedUntil;
      sweep(views, policy, now);
      attempt(view, outcome({ status: 500 }), policy, now);
    }
    t.same(times.slice(0, 3), [30_000, 60_000, 90_000]);
    t.same(times.slice(9), [300_000, 300_000, 300_000, 300_000]);
    t.equal(view.stats.ejectionMultiplier, 10, 'the multiplier stops where the time does');
    t.match(view.stats.ejectionText, /\(10th time\): the probe was answered 500; 1 of 2 endpoints out, limit 1$/);
  });
  t.test('an overflow, a cancel or a stale connection leaves the probe open for the next request', async (t) => {
    const views = endpointViews(1, 1);
    const view = first(views);
    view.stats.state = 'probing';
    t.equal(attempt(view, outcome({ kind: 'canceled' }), policy), false);
    t.match(view.stats, { state: 'probing', isProbeInFlight: false, probeVerdict: 'none' });
  });
  t.test('quiet intervals bring the ejection time down again', async (t) => {
    const views = endpointViews(1, 1);
    const { stats } = first(views);
    Object.assign(stats, { ejectionMultiplier: 3, quietSince: 1000, reinstatedAt: 1000 });
    t.same(sweep(views, policy, 10_999), []);
    t.match(sweep(views, policy, 11_000), [{ kind: 'calm', multiplier: 2 }]);
    t.match(sweep(views, policy, 35_000), [{ kind: 'calm', multiplier: 0, quietSince: 31_000 }]);
    Object.assign(stats, { ejectionMultiplier: 3, quietSince: 0 });
    fail(first(views), 5, policy, 12_000);
    t.match(sweep(views, policy, 12_000), [
      { kind: 'calm', multiplier: 2 },
      { kind: 'eject', multiplier: 3 },
    ]);
  });
  t.test('the ceiling holds, and is said once in a run of failures', async (t) => {
    const views = endpointViews(1, 1, 1);
    for (const view of views) fail(view, 5, policy);
    const kinds = sweep(views, policy, 0).map(({ kind }) => kind);
    t.same(kinds, ['eject', 'overflow', 'overflow']);
    t.same(sweep(views, policy, 1), []);
    const kept = views.find(({ stats }) => stats.state === 'serving');
    if (kept === undefined) throw new Error('nobody serves');
    attempt(kept, outcome(), policy);
    fail(kept, 5, policy);
    t.match(sweep(views, policy, 2), [
      {
        kind: 'overflow',
        text: /kept in spite of 5 consecutive 5xx answers, last 503; 1 of 3 endpoints out, limit 1$/,
      },
    ]);
  });
  t.test('an endpoint that only the ceiling kept is ejected when there is room', async (t) => {
    const views = endpointViews(1, 1);
    for (const view of views) fail(view, 5, policy);
    sweep(views, policy, 0);
    const out = views.find(({ stats }) => stats.state === 'ejected');
    if (out === undefined) throw new Error('nobody is out');
    sweep(views, policy, 30_000);
    attempt(out, outcome(), policy, 30_000);
    t.same(
      sweep(views, policy, 30_000).map(({ kind }) => kind),
      ['reinstate', 'eject'],
    );
  });
  t.test('which of several is ejected under the ceiling is left to chance', async (t) => {
    const ejected = new Set<string>();
    for (let seed = 0; seed < 30; seed++) {
      const views = endpointViews(1, 1, 1);
      for (const view of views) fail(view, 5, policy);
      for (const decision of decideSweep(views, policy, 0, seededRandom(seed))) {
        if (decision.kind === 'eject') ejected.add(decision.view.endpoint.id);
      }
    }
    t.equal(ejected.size, 3);
  });
  t.test('the only endpoint is never ejected', async (t) => {
    const views = endpointViews(1);
    fail(first(views), 500, policy);
    t.match(sweep(views, policyWith({ outlierDetection: { maxEjectionPercent: 100 } }), 0), [{ kind: 'overflow' }]);
  });
});
