// Outlier detection against a naive model: whatever requests do, nobody is out above the ceiling, every ejection ends, no
// ejection is longer than the cap, and outcomes of older epochs change nothing.

import fc from 'fast-check';
import t from 'tap';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Outcome } from '../../agent/core/outcome.ts';
import { applyDecision } from '../../agent/core/outlier/apply.ts';
import { forgetChecks, recordCheck } from '../../agent/core/outlier/checks.ts';
import { beginAttempt, endAttempt } from '../../agent/core/outlier/record.ts';
import { decideSweep } from '../../agent/core/outlier/sweep.ts';
import { closeWindows, createServiceWindows } from '../../agent/core/outlier/windows.ts';
import type { EndpointView } from '../../agent/core/snapshot.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { endpointViews, outcome, policyWith } from '../support/views.ts';

const SEED = 20_260_402;

/** The naive model: only what the promises are about. */
interface Model {
  now: number;
  /** Attempts under way: endpoint and the epoch they began in. */
  readonly open: { readonly index: number; readonly epoch: number }[];
  /** By endpoint: when the present ejection must end at the latest, or null. */
  readonly outUntil: (number | null)[];
}

class Service {
  readonly views: readonly EndpointView[];
  readonly policy: EffectivePolicy;
  readonly #random = seededRandom(1);
  readonly #windows = createServiceWindows();
  isFrozen = false;

  constructor(size: number, policy: EffectivePolicy) {
    this.views = endpointViews(...Array.from({ length: size }, () => 1));
    this.policy = policy;
  }

  at(index: number): EndpointView {
    const view = this.views[index % this.views.length];
    if (view === undefined) throw new Error('no endpoint');
    return view;
  }

  sweep(model: Model): void {
    const { maxEjectionPercent, maxEjectionTimeMs } = this.policy.outlierDetection;
    const before = this.#out();
    closeWindows(this.#windows, this.views, this.policy.outlierDetection, model.now, !this.isFrozen);
    const rules = { isFrozen: this.isFrozen, levelOf: this.levelOf };
    const decisions = decideSweep(this.views, this.policy, model.now, this.#random, rules);
    for (const decision of decisions) {
      const index = this.views.indexOf(decision.view);
      if (decision.kind === 'eject') {
        const { maxEjectionTimeJitterMs } = this.policy.outlierDetection;
        check(decision.durationMs <= maxEjectionTimeMs + maxEjectionTimeJitterMs, 'an ejection is longer than the cap');
        check(!this.isFrozen || decision.reason === 'probe_failed', 'ejected while frozen');
        model.outUntil[index] = model.now + decision.durationMs;
      }
      // An active health check that passes ends an ejection early; that is what it is for.
      if (decision.kind === 'reinstate') model.outUntil[index] = null;
      if (decision.kind === 'probe') {
        check((model.outUntil[index] ?? 0) <= model.now, 'a probe before the ejection time was over');
        model.outUntil[index] = null;
      }
      applyDecision(decision, model.now);
    }
    for (const [level, out] of this.#out().entries()) {
      const n = this.views.filter((view) => this.levelOf(view) === level).length;
      const ceiling = Math.max(1, Math.floor((maxEjectionPercent * n) / 100));
      check(out <= Math.max(ceiling, before[level] ?? 0), `${out} of ${n} out, ceiling ${ceiling}`);
      check(n === 0 || out < n, 'nobody serves');
    }
    for (const [index, { stats }] of this.views.entries()) {
      const end = model.outUntil[index] ?? null;
      check(end === null || stats.state === 'ejected', 'an ejection ended early');
      check(end === null || end > model.now || stats.health === 'failing', 'an ejection did not end');
    }
  }

  /** Two priority levels: the first five, and the rest. */
  readonly levelOf = (view: EndpointView): number => (this.views.indexOf(view) < 5 ? 0 : 1);

  /** Endpoints that are out, by level. */
  #out(): number[] {
    const out = this.views.filter(({ stats }) => stats.state !== 'serving');
    return [0, 1].map((level) => out.filter((view) => this.levelOf(view) === level).length);
  }
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

class Begin implements fc.Command<Model, Service> {
  readonly index: number;
  constructor(index: number) {
    this.index = index;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, service: Service): void {
    const { stats } = service.at(this.index);
    model.open.push({ index: this.index, epoch: stats.epoch });
    beginAttempt(stats, model.now);
  }
  toString(): string {
    return `begin ${this.index}`;
  }
}

class End implements fc.Command<Model, Service> {
  readonly nth: number;
  readonly end: Outcome;
  constructor(nth: number, end: Outcome) {
    this.nth = nth;
    this.end = end;
  }
  check(model: Readonly<Model>): boolean {
    return model.open.length > 0;
  }
  run(model: Model, service: Service): void {
    const [attempt] = model.open.splice(this.nth % model.open.length, 1);
    if (attempt === undefined) return;
    const { stats } = service.at(attempt.index);
    const before = { ...stats };
    const isAsking = endAttempt(stats, this.end, attempt.epoch, service.policy, model.now);
    if (attempt.epoch !== before.epoch) {
      const { inFlight, attempts, failures, ...rest } = stats;
      const { inFlight: _, attempts: __, failures: ___, ...restBefore } = before;
      check(!isAsking && JSON.stringify(rest) === JSON.stringify(restBefore), 'a late outcome changed something');
    }
    if (isAsking) service.sweep(model);
  }
  toString(): string {
    return `end ${this.nth} ${this.end.kind} ${this.end.status}`;
  }
}

class Fail implements fc.Command<Model, Service> {
  readonly index: number;
  readonly end: Outcome;
  constructor(index: number, end: Outcome) {
    this.index = index;
    this.end = end;
  }
  check(): boolean {
    return true;
  }
  /** A full run of failures, so that long sequences are not needed to see an ejection. */
  run(model: Model, service: Service): void {
    const { stats } = service.at(this.index);
    for (let time = 0; time < 5; time++) {
      const { epoch } = stats;
      beginAttempt(stats, model.now);
      if (endAttempt(stats, this.end, epoch, service.policy, model.now)) service.sweep(model);
    }
  }
  toString(): string {
    return `fail ${this.index} ${this.end.kind} ${this.end.status}`;
  }
}

class Wait implements fc.Command<Model, Service> {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, service: Service): void {
    model.now += this.ms;
    service.sweep(model);
  }
  toString(): string {
    return `wait ${this.ms}`;
  }
}

/** A window's worth of requests at every endpoint, some of them failing or slow, and its end. */
class Traffic implements fc.Command<Model, Service> {
  readonly bad: readonly number[];
  readonly end: Outcome;
  readonly windows: number;
  constructor(bad: readonly number[], end: Outcome, windows: number) {
    this.bad = bad;
    this.end = end;
    this.windows = windows;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, service: Service): void {
    for (let window = 0; window < this.windows; window++) {
      for (const [at, { stats }] of service.views.entries()) {
        for (let n = 0; n < 100; n++) {
          const { epoch } = stats;
          const end = this.bad.includes(at) && n % 3 === 0 ? this.end : outcome();
          beginAttempt(stats, model.now);
          if (endAttempt(stats, end, epoch, service.policy, model.now)) service.sweep(model);
        }
      }
      model.now += 2500;
      service.sweep(model);
    }
  }
  toString(): string {
    return `traffic ${this.bad} ${this.end.kind} ${this.end.status} ${this.end.latencyMs} x${this.windows}`;
  }
}

class Check implements fc.Command<Model, Service> {
  readonly index: number;
  readonly isPassed: boolean;
  constructor(index: number, isPassed: boolean) {
    this.index = index;
    this.isPassed = isPassed;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, service: Service): void {
    const { stats } = service.at(this.index);
    for (let n = 0; n < 3; n++) {
      const result = { isPassed: this.isPassed, text: 'answered 503' };
      if (recordCheck(stats, result, service.policy.healthCheck, model.now)) service.sweep(model);
    }
  }
  toString(): string {
    return `checks ${this.index} ${this.isPassed}`;
  }
}

class Freeze implements fc.Command<Model, Service> {
  readonly isFrozen: boolean;
  constructor(isFrozen: boolean) {
    this.isFrozen = isFrozen;
  }
  check(): boolean {
    return true;
  }
  run(_model: Model, service: Service): void {
    service.isFrozen = this.isFrozen;
  }
  toString(): string {
    return `frozen ${this.isFrozen}`;
  }
}

const ends = fc.constantFrom(
  outcome(),
  outcome({ status: 404 }),
  outcome({ status: 500 }),
  outcome({ status: 503, retryAfterMs: 1000 }),
  outcome({ kind: 'reset' }),
  outcome({ kind: 'reset', isReusedConnection: true }),
  outcome({ kind: 'timeout', latencyMs: 5000 }),
  outcome({ kind: 'canceled' }),
  outcome({ kind: 'overflow', isSent: false }),
);
const failures = fc.constantFrom(outcome({ status: 500 }), outcome({ status: 503 }), outcome({ kind: 'timeout' }));
const bad = fc.constantFrom(
  outcome({ status: 500 }),
  outcome({ kind: 'reset' }),
  outcome({ latencyMs: 400 }),
  outcome({ kind: 'timeout', latencyMs: 900, stalledMs: 800 }),
);
const REASONS = [
  'consecutive_5xx',
  'consecutive_gateway',
  'consecutive_local_origin',
  'health_check_failed',
  'latency',
  'local_origin_success_rate',
  'probe_failed',
  'robust_success_rate',
  'success_rate',
];
const index = fc.nat(7);
const commands = fc.commands(
  [
    index.map((n) => new Begin(n)),
    fc.tuple(fc.nat(20), ends).map(([nth, end]) => new End(nth, end)),
    fc.tuple(index, failures).map(([n, end]) => new Fail(n, end)),
    fc
      .tuple(fc.uniqueArray(index, { maxLength: 3 }), bad, fc.integer({ min: 1, max: 5 }))
      .map(([at, end, windows]) => new Traffic(at, end, windows)),
    fc.tuple(index, fc.boolean()).map(([n, isPassed]) => new Check(n, isPassed)),
    fc.boolean().map((isFrozen) => new Freeze(isFrozen)),
    fc.oneof(fc.nat(1000), fc.nat(60_000), fc.nat(400_000)).map((ms) => new Wait(ms)),
  ],
  { maxCommands: 60 },
);
const detection = fc.record({
  maxEjectionPercent: fc.integer({ min: 1, max: 100 }),
  baseEjectionTimeMs: fc.integer({ min: 1, max: 60_000 }),
  maxEjectionTimeMs: fc.integer({ min: 60_000, max: 300_000 }),
  maxEjectionTimeJitterMs: fc.constantFrom(0, 5_000),
  intervalMs: fc.integer({ min: 100, max: 20_000 }),
  enforcingConsecutive5xx: fc.constantFrom(0, 50, 100),
  robustSuccessRate: fc.constantFrom(0, 100).map((enforcing) => ({ enforcing, minimumHosts: 3, requestVolume: 20 })),
});

t.test('any sequence of attempts, outcomes and sweeps keeps the promises', async (t) => {
  let ejections = 0;
  let reinstatements = 0;
  const reasons = new Set<string>();
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), detection, commands, (size, outlierDetection, all) => {
      const service = new Service(size, policyWith({ outlierDetection }));
      const model: Model = { now: 0, open: [], outUntil: Array.from({ length: size }, () => null) };
      fc.modelRun(() => ({ model, real: service }), all);
      ejections += service.views.filter(({ stats }) => stats.ejectionText !== '').length;
      for (const { stats } of service.views) {
        reasons.add(stats.ejectionReason);
        forgetChecks(stats);
      }
      // With one good probe each, everybody is back: no ejection is for ever.
      // First the windows under way end, and what was held back while frozen is decided.
      service.isFrozen = false;
      for (const ms of [0, 20_000, 305_000]) {
        model.now += ms;
        service.sweep(model);
      }
      for (const { stats } of service.views) {
        if (stats.state === 'serving') continue;
        const { epoch } = stats;
        beginAttempt(stats, model.now);
        check(endAttempt(stats, outcome(), epoch, service.policy, model.now), 'a probe ended unnoticed');
        reinstatements++;
      }
      service.sweep(model);
      // Those whom only the ceiling kept may have been ejected in the room that the others left.
      for (const { stats } of service.views) {
        check(stats.state === 'serving' || stats.ejectedAt === model.now, `still ${stats.state}`);
      }
    }),
    { seed: SEED, numRuns: 1500 },
  );
  const unseen = REASONS.filter((reason) => !reasons.has(reason));
  t.same(unseen, [], 'every detector ejected someone');
  t.ok(ejections > 200 && reinstatements > 100, `the runs saw ${ejections} ejected endpoints, ${reinstatements} back`);
});
