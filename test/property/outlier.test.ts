// Outlier detection against a naive model: whatever requests do, nobody is out above the ceiling, every ejection ends, no
// ejection is longer than the cap, and outcomes of older epochs change nothing.

import fc from 'fast-check';
import t from 'tap';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Outcome } from '../../agent/core/outcome.ts';
import { applyDecision } from '../../agent/core/outlier/apply.ts';
import { beginAttempt, endAttempt } from '../../agent/core/outlier/record.ts';
import { decideSweep } from '../../agent/core/outlier/sweep.ts';
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
    const decisions = decideSweep(this.views, this.policy, model.now, this.#random);
    for (const decision of decisions) {
      const index = this.views.indexOf(decision.view);
      if (decision.kind === 'eject') {
        check(decision.durationMs <= maxEjectionTimeMs, 'an ejection is longer than the cap');
        model.outUntil[index] = model.now + decision.durationMs;
      }
      if (decision.kind === 'probe') {
        check((model.outUntil[index] ?? 0) <= model.now, 'a probe before the ejection time was over');
        model.outUntil[index] = null;
      }
      applyDecision(decision, model.now);
    }
    const n = this.views.length;
    const ceiling = Math.max(1, Math.floor((maxEjectionPercent * n) / 100));
    const out = this.#out();
    check(out <= Math.max(ceiling, before), `${out} of ${n} out, ceiling ${ceiling}`);
    check(out < n, 'nobody serves');
    for (const [index, { stats }] of this.views.entries()) {
      const end = model.outUntil[index] ?? null;
      check(end === null || stats.state === 'ejected', 'an ejection ended early');
      check(end === null || end > model.now, 'an ejection did not end');
    }
  }

  #out(): number {
    return this.views.filter(({ stats }) => stats.state !== 'serving').length;
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
const index = fc.nat(7);
const commands = fc.commands(
  [
    index.map((n) => new Begin(n)),
    fc.tuple(fc.nat(20), ends).map(([nth, end]) => new End(nth, end)),
    fc.tuple(index, failures).map(([n, end]) => new Fail(n, end)),
    fc.oneof(fc.nat(1000), fc.nat(60_000), fc.nat(400_000)).map((ms) => new Wait(ms)),
  ],
  { maxCommands: 60 },
);
const detection = fc.record({
  maxEjectionPercent: fc.integer({ min: 1, max: 100 }),
  baseEjectionTimeMs: fc.integer({ min: 1, max: 60_000 }),
  maxEjectionTimeMs: fc.integer({ min: 60_000, max: 300_000 }),
  intervalMs: fc.integer({ min: 100, max: 20_000 }),
});

t.test('any sequence of attempts, outcomes and sweeps keeps the promises', async (t) => {
  let ejections = 0;
  let reinstatements = 0;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), detection, commands, (size, outlierDetection, all) => {
      const service = new Service(size, policyWith({ outlierDetection }));
      const model: Model = { now: 0, open: [], outUntil: Array.from({ length: size }, () => null) };
      fc.modelRun(() => ({ model, real: service }), all);
      ejections += service.views.filter(({ stats }) => stats.ejectionText !== '').length;
      // With one good probe each, everybody is back: no ejection is for ever.
      model.now += 300_000;
      service.sweep(model);
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
    { seed: SEED, numRuns: 500 },
  );
  t.ok(ejections > 200 && reinstatements > 100, `the runs saw ${ejections} ejected endpoints, ${reinstatements} back`);
});
