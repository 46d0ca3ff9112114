// The comparing detectors from attempts to ejections: windows, enforcing, chance, levels, and slow endpoints in virtual time.

import t from 'tap';
import type { OutlierPolicy } from '#contract/policy/outlier.ts';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Outcome } from '../../../../agent/core/outcome.ts';
import { applyDecision } from '../../../../agent/core/outlier/apply.ts';
import { beginAttempt, endAttempt } from '../../../../agent/core/outlier/record.ts';
import { type Decision, decideSweep, type SweepRules } from '../../../../agent/core/outlier/sweep.ts';
import { closeWindows, createServiceWindows, windowsEndAt } from '../../../../agent/core/outlier/windows.ts';
import { pickEndpoint } from '../../../../agent/core/pick.ts';
import type { EndpointView } from '../../../../agent/core/snapshot.ts';
import { nextSweepAt, sweepService } from '../../../../agent/mesh/sweeper.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointViews, outcome, policyWith, viewOf } from '../../../support/views.ts';

const DEFAULTS = policyWith().outlierDetection;

/** Detection policy with parts of nested detectors replaced. */
function detection(
  changes: {
    [K in keyof OutlierPolicy]?: OutlierPolicy[K] extends number ? number : Partial<OutlierPolicy[K]>;
  },
): EffectivePolicy {
  const merged = Object.entries(changes).map(([key, value]) => {
    const base = DEFAULTS[key as keyof typeof DEFAULTS];
    return [key, typeof base === 'object' ? { ...base, ...(value as object) } : value];
  });
  return policyWith({ outlierDetection: Object.fromEntries(merged) });
}

/** `failed` of `total` attempts failed, never five in a row. */
function traffic(
  { stats }: EndpointView,
  failed: number,
  total: number,
  policy: EffectivePolicy,
  end: Partial<Outcome> = { status: 500 },
) {
  for (let n = 0; n < total; n++) {
    const isFailure = Math.floor(((n + 1) * failed) / total) > Math.floor((n * failed) / total);
    beginAttempt(stats, 0);
    endAttempt(stats, outcome(isFailure ? end : {}), stats.epoch, policy, 0);
  }
}

class Service {
  readonly views: readonly EndpointView[];
  readonly policy: EffectivePolicy;
  readonly windows = createServiceWindows();
  readonly random = seededRandom(11);

  constructor(size: number, policy: EffectivePolicy) {
    this.views = endpointViews(...Array.from({ length: size }, () => 1));
    this.policy = policy;
    this.sweep(0);
  }

  sweep(now: number, rules: SweepRules = {}): Decision[] {
    closeWindows(this.windows, this.views, this.policy.outlierDetection, now, rules.isFrozen !== true);
    const decisions = decideSweep(this.views, this.policy, now, this.random, rules);
    for (const decision of decisions) applyDecision(decision, now);
    return decisions;
  }

  /** Traffic of one window: failures of 100 attempts by endpoint. */
  window(now: number, failures: readonly number[], end: Partial<Outcome> = { status: 500 }): Decision[] {
    for (const [at, view] of this.views.entries()) traffic(view, failures[at] ?? 0, 100, this.policy, end);
    return this.sweep(now);
  }
}

function told(decisions: readonly Decision[]): string[] {
  return decisions.flatMap((decision) => ('reason' in decision ? [`${decision.kind} ${decision.reason}`] : []));
}

t.test('robust success rate ejects a bad minority at the end of the interval', async (t) => {
  const service = new Service(5, policyWith());
  t.same(service.window(9_999, [50, 50, 0, 1, 0]), [], 'not before');
  const decisions = service.sweep(10_000);
  t.same(told(decisions), ['eject robust_success_rate', 'eject robust_success_rate']);
  t.match(decisions[0], {
    text: 'svc@10.0.0.1:8080 ejected for 30 s (1st time): 50 of 100 attempts failed, median of 5 endpoints 1.0 %; 1 of 5 endpoints out, limit 2',
  });
  t.same(service.views[0]?.stats.suspicions, [], 'nothing is held against it when it comes back');
});

t.test('windows begin anew, and take turns', async (t) => {
  const service = new Service(5, policyWith({ outlierDetection: { maxEjectionPercent: 0 } }));
  t.same(told(service.window(10_000, [50])), ['overflow robust_success_rate'], '1 in 5 also fails the mean, told once');
  t.match(service.views[0]?.stats, { rates: { answers: 0 }, formerRates: { answers: 100, errors: 50, failures: 0 } });
  t.same(service.sweep(10_500), [], 'the finding stays until the next window, and is not told again');
  t.same(service.window(20_000, []), []);
  t.same(service.views[0]?.stats.suspicions, []);
});

t.test('failures to answer are compared apart from 5xx answers', async (t) => {
  const policy = detection({ robustSuccessRate: { enforcing: 0 }, successRate: { enforcing: 0 } });
  const service = new Service(5, policy);
  const decisions = service.window(10_000, [50], { kind: 'reset' });
  t.same(told(decisions), ['detect robust_success_rate', 'eject local_origin_success_rate']);
});

t.test('enforcing', async (t) => {
  t.test('0 only tells, once a window', async (t) => {
    const policy = detection({
      robustSuccessRate: { enforcing: 0 },
      successRate: { enforcing: 0 },
      consecutive5xxErrors: 0,
    });
    const service = new Service(5, policy);
    const decisions = service.window(10_000, [90]);
    t.same(told(decisions), ['detect robust_success_rate', 'detect success_rate', 'detect failure_percentage']);
    t.match(decisions[2], {
      text: 'svc@10.0.0.1:8080 is not ejected, failure_percentage is enforced at 0 %: 90 of 100 answers were 5xx, median of 5 endpoints 0.0 %',
    });
    t.same(service.sweep(10_100), []);
    t.equal(service.window(20_000, [90]).length, 3, 'and again after the next');
  });
  t.test('failurePercentage ejects when it is enforced', async (t) => {
    const policy = detection({
      consecutive5xxErrors: 0,
      robustSuccessRate: { enforcing: 0 },
      failurePercentage: { enforcing: 100 },
    });
    const found = told(new Service(6, policy).window(10_000, [90, 90]));
    t.same(
      found.filter((text) => text.startsWith('eject')),
      ['eject failure_percentage', 'eject failure_percentage'],
    );
  });
  t.test('a run that is not enforced begins anew', async (t) => {
    const policy = policyWith({ outlierDetection: { enforcingConsecutive5xx: 0 } });
    const service = new Service(2, policy);
    const [view] = service.views;
    if (view === undefined) throw new Error('no endpoint');
    const fail = () => {
      beginAttempt(view.stats, 0);
      endAttempt(view.stats, outcome({ status: 500 }), view.stats.epoch, policy, 0);
      return told(service.sweep(0));
    };
    const all = Array.from({ length: 10 }, fail).flat();
    t.same(all, ['detect consecutive_5xx', 'detect consecutive_5xx']);
  });
  t.test('between, chance decides once a finding', async (t) => {
    const policy = detection({ robustSuccessRate: { enforcing: 40 }, successRate: { enforcing: 0 } });
    let ejected = 0;
    const random = seededRandom(4);
    for (let run = 0; run < 400; run++) {
      const service = new Service(5, policy);
      for (const [at, view] of service.views.entries()) traffic(view, at === 0 ? 50 : 0, 100, policy);
      closeWindows(service.windows, service.views, policy.outlierDetection, 10_000, true);
      for (let sweep = 0; sweep < 5; sweep++) {
        for (const decision of decideSweep(service.views, policy, 10_000, random)) {
          if (decision.kind === 'eject') ejected++;
          applyDecision(decision, 10_000);
        }
      }
    }
    t.ok(ejected > 120 && ejected < 200, `${ejected} of 400, however often it is swept`);
  });
});

t.test('too few endpoints or requests are not compared', async (t) => {
  const two = new Service(2, policyWith());
  t.same(two.window(10_000, [60]), []);
  const quiet = new Service(5, policyWith());
  for (const [at, view] of quiet.views.entries()) traffic(view, at === 0 ? 12 : 0, 19, quiet.policy);
  t.same(quiet.sweep(10_000), []);
});

t.test('a bad majority ejects nobody: the service is ill, not its healthy endpoints', async (t) => {
  const service = new Service(5, policyWith());
  t.same(service.window(10_000, [50, 55, 60, 0, 0]), []);
});

t.test('while the agent does not trust itself windows end unjudged', async (t) => {
  const service = new Service(5, policyWith());
  for (const [at, view] of service.views.entries()) traffic(view, at === 0 ? 50 : 0, 100, service.policy);
  t.same(service.sweep(10_000, { isFrozen: true }), []);
  t.same(service.sweep(20_000), [], 'and are not judged afterwards');
});

t.test('jitter is added to the ejection, up to its bound', async (t) => {
  const durations = new Set<number>();
  for (let seed = 0; seed < 20; seed++) {
    const service = new Service(5, policyWith({ outlierDetection: { maxEjectionTimeJitterMs: 5_000 } }));
    for (let draw = 0; draw < seed; draw++) service.random();
    for (const decision of service.window(10_000, [50]))
      if (decision.kind === 'eject') durations.add(decision.durationMs);
  }
  for (const ms of durations) t.ok(ms >= 30_000 && ms < 35_000, `${ms}`);
  t.ok(durations.size > 10);
});

t.test('each priority level has its own ceiling', async (t) => {
  const service = new Service(8, policyWith());
  for (const view of service.views) {
    for (let time = 0; time < 5; time++) {
      beginAttempt(view.stats, 0);
      endAttempt(view.stats, outcome({ status: 503 }), view.stats.epoch, service.policy, 0);
    }
  }
  const levelOf = (view: EndpointView): number => (service.views.indexOf(view) < 6 ? 0 : 1);
  const decisions = service.sweep(0, { levelOf });
  const out = [0, 1].map((level) => decisions.filter((d) => d.kind === 'eject' && levelOf(d.view) === level).length);
  t.same(out, [3, 1], 'three of six and one of two');
  t.match(decisions.at(-1), { text: /of (6|2) endpoints out/ });
});

/** Open-loop requests to five endpoints of which the first is slower; 60 virtual seconds of it. */
function drive(balancer: 'peakEwma' | 'roundRobin', slowdown: number, seconds: number) {
  const random = seededRandom(21);
  const endpoints = endpointViews(1, 1, 1, 1, 1);
  const sections = { loadBalancer: { policy: balancer } };
  let view = viewOf(endpoints, sections);
  const windows = createServiceWindows();
  const open: { at: number; view: EndpointView; epoch: number; latencyMs: number }[] = [];
  const events: { at: number; text: string; endpoint: string | null; kind: string }[] = [];
  const picks = new Map<number, number[]>();
  let sweepAt = 0;
  for (let now = 0; now < seconds * 1000; now += 2) {
    for (let n = open.length - 1; n >= 0; n--) {
      const attempt = open[n];
      if (attempt === undefined || attempt.at > now) continue;
      open.splice(n, 1);
      const end = outcome({ latencyMs: attempt.latencyMs });
      if (endAttempt(attempt.view.stats, end, attempt.epoch, view.policy, now)) sweepAt = now;
    }
    if (now >= sweepAt) {
      const found: Parameters<typeof sweepService>[3] = [];
      const moment = { now, epochMs: now, random, isFrozen: false };
      if (sweepService(view, windows, moment, found)) view = viewOf(endpoints, sections, view.stats);
      for (const event of found) if (event !== null) events.push({ at: now, ...event });
      sweepAt = Math.max(now + 100, nextSweepAt(view, windows, now));
    }
    const picked = pickEndpoint(view, now, random, []);
    if (picked === null) continue;
    const at = endpoints.indexOf(picked);
    const second = picks.get(Math.floor(now / 1000)) ?? [0, 0, 0, 0, 0];
    second[at] = (second[at] ?? 0) + 1;
    picks.set(Math.floor(now / 1000), second);
    const isSlow = at === 0 && now >= 2_300;
    const latencyMs = (10 - 12 * Math.log(1 - random())) * (isSlow ? slowdown : 1);
    beginAttempt(picked.stats, now);
    open.push({ at: now + latencyMs, view: picked, epoch: picked.stats.epoch, latencyMs });
  }
  return { events, share: (second: number) => (picks.get(second)?.[0] ?? 0) / 500, endpoints };
}

t.test('one endpoint of five becomes three times as slow at 2.3 s', async (t) => {
  t.test('roundRobin: half its weight, then ejected, within 5.1 s', async (t) => {
    const { events, endpoints } = drive('roundRobin', 3, 15);
    const slow = endpoints[0]?.endpoint.id;
    t.same(
      events.filter(({ endpoint }) => endpoint !== slow),
      [],
      'no healthy one is touched',
    );
    t.match(events[0], { kind: 'detection', reason: 'weight_halved', text: /has half its weight/ });
    t.match(events[1], {
      kind: 'ejection',
      reason: 'latency',
      text: /90th percentile of latency \d+ ms, median of its peers \d+ ms, 4 windows in a row/,
    });
    t.ok((events[1]?.at ?? 1e9) <= 7_400, `ejected at ${events[1]?.at}`);
    t.comment(events.map(({ at, text }) => `${at} ${text}`).join('\n'));
  });
  t.test('peakEwma: starved below 5 % or ejected by 7.3 s', async (t) => {
    const { events, share, endpoints } = drive('peakEwma', 3, 15);
    const slow = endpoints[0]?.endpoint.id;
    t.same(
      events.filter(({ endpoint }) => endpoint !== slow),
      [],
    );
    t.comment(`shares by second ${Array.from({ length: 12 }, (_, second) => share(second).toFixed(3)).join(' ')}`);
    for (const second of [8, 9, 10, 11])
      t.ok(share(second) < 0.05, `${share(second)} of the requests in second ${second}`);
  });
  t.test('nobody is touched for five minutes while all are alike', async (t) => {
    t.same(drive('roundRobin', 1, 300).events, []);
  });
});

t.test('the weight comes back with good windows, and after ten without a judgement', async (t) => {
  const policy = policyWith();
  const service = new Service(3, policy);
  let now = 0;
  const window = (slowMs: number, count = 100): number => {
    now += 1000;
    for (const [at, { stats }] of service.views.entries()) {
      for (let n = 0; n < (at === 0 ? count : 100); n++) stats.latencies.record(at === 0 ? slowMs : 20);
    }
    return closeWindows(service.windows, service.views, policy.outlierDetection, now, true).length;
  };
  const factor = (): number | undefined => service.views[0]?.stats.weightFactor;
  t.same([window(100), factor()], [0, 1]);
  t.same([window(100), factor()], [1, 0.5]);
  t.same([window(20), factor()], [1, 1], 'one good window');
  t.same([window(100), window(100), factor()], [0, 1, 0.5]);
  const gathered = Array.from({ length: 3 }, () => window(100, 10));
  t.same([gathered, service.views[0]?.stats.slowWindows], [[0, 0, 0], 3], 'few requests gather until there are enough');
  const starved = Array.from({ length: 10 }, () => window(100, 1));
  t.same(starved, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  t.match(service.views[0]?.stats, { weightFactor: 1, slowWindows: 0, suspicions: [] });
  t.equal(windowsEndAt(service.windows, policy.outlierDetection), now + 1000 < 20_000 ? now + 1000 : 20_000);
});
