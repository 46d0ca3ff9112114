// Several control planes over one Consul that fails at will, agents that wander between them, control planes that die and come back,
// stall and are taken for dead: whatever happens, no event is counted twice; and once all is quiet, none is missing.

import fc from 'fast-check';
import t from 'tap';
import { NO_FAILURES } from '#contract/failures.ts';
import type { AgentReport } from '#contract/frames.ts';
import { Fleet } from '../../control-plane/core/fleet.ts';
import { Arrivals } from '../../control-plane/core/slo/arrivals.ts';
import { SloBook } from '../../control-plane/core/slo/book.ts';
import { SloIntake } from '../../control-plane/core/slo/intake.ts';
import { GONE_AFTER_MS, SloExchange } from '../../control-plane/push/slo-exchange.ts';
import { createConsulSloStore } from '../../control-plane/store/consul-slo-store.ts';
import { orderReport } from '../support/control-plane-client.ts';
import { type Fault, MemoryKv } from '../support/memory-kv.ts';
import { sloTarget } from '../support/slo-target.ts';

const PLANES = 3;
const AGENTS = 3;
const STEP_MS = 1_000;
const EXCHANGE_EVERY = 5;
const START = 1_700_000_000_000;
const TARGET = sloTarget();

type Step =
  | { readonly kind: 'move'; readonly agent: number; readonly to: number }
  | { readonly kind: 'crash'; readonly plane: number }
  | { readonly kind: 'stall'; readonly plane: number; readonly forSteps: number }
  | { readonly kind: 'consul'; readonly fault: Fault; readonly forSteps: number }
  | { readonly kind: 'lost-answer'; readonly agent: number; readonly to: number }
  | { readonly kind: 'quiet'; readonly steps: number };

const plane = fc.nat(PLANES - 1);
const agent = fc.nat(AGENTS - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('move' as const), agent, to: plane }),
  fc.record({ kind: fc.constant('lost-answer' as const), agent, to: plane }),
  fc.record({ kind: fc.constant('crash' as const), plane }),
  fc.record({ kind: fc.constant('stall' as const), plane, forSteps: fc.integer({ min: 1, max: 40 }) }),
  fc.record({
    kind: fc.constant('consul' as const),
    fault: fc.constantFrom<Fault>('refused', 'done-unanswered', 'lost-unanswered'),
    forSteps: fc.integer({ min: 1, max: 12 }),
  }),
  fc.record({ kind: fc.constant('quiet' as const), steps: fc.integer({ min: 1, max: 45 }) }),
);

class World {
  now = 0;
  fault: { kind: Fault; until: number } = { kind: null, until: 0 };
  readonly kv = new MemoryKv();
  readonly planes: Plane[] = Array.from({ length: PLANES }, (_, index) => new Plane(this, index));
  readonly agents = Array.from({ length: AGENTS }, () => ({ at: 0, good: 0, bad: 0, sequence: 0 }));

  get said(): { good: number; bad: number } {
    const sum = { good: 0, bad: 0 };
    for (const { good, bad } of this.agents) {
      sum.good += good;
      sum.bad += bad;
    }
    return sum;
  }

  /** One second: every agent has two good calls and a bad one, and reports; every fifth all control planes exchange. */
  async tick(): Promise<void> {
    this.now += STEP_MS;
    this.agents.forEach((one, index) => {
      one.good += 2;
      one.bad += 1;
      this.planes[one.at]?.hear(index, this.report(index));
    });
    for (const [index, one] of this.planes.entries()) {
      if ((this.now / STEP_MS + index) % EXCHANGE_EVERY === 0) await one.exchange();
    }
  }

  report(index: number): AgentReport {
    const one = this.agents[index] ?? { good: 0, bad: 0, sequence: 0 };
    const failures = { ...NO_FAILURES, answered: one.bad };
    const quiet = {
      retries: 0,
      inFlight: 0,
      direction: 'outbound',
      source: 'orders',
      destination: 'payments',
    } as const;
    return orderReport(++one.sequence, {
      startedAtEpochMs: START,
      edges: [{ ...quiet, requests: one.good + one.bad, successes: one.good, failures }],
    });
  }
}

class Plane {
  readonly #world: World;
  readonly #index: number;
  #lives = 0;
  #stalledUntil = 0;
  #fleet = new Fleet();
  book = new SloBook(() => TARGET);
  #intake = new SloIntake(this.#fleet, this.book, new Arrivals(false));
  #exchange: SloExchange | null = null;

  constructor(world: World, index: number) {
    this.#world = world;
    this.#index = index;
  }

  get isStalled(): boolean {
    return this.#world.now < this.#stalledUntil;
  }

  async start(): Promise<void> {
    const world = this.#world;
    this.#fleet = new Fleet();
    this.book = new SloBook(() => TARGET);
    const arrivals = new Arrivals(false);
    this.#intake = new SloIntake(this.#fleet, this.book, arrivals);
    const clock = { now: () => world.now, epochMs: () => START + world.now };
    const store = createConsulSloStore({
      kv: new MemoryKv(() => (world.now < world.fault.until ? world.fault.kind : null), world.kv),
      prefix: 'outrigger/',
      replica: `plane-${this.#index}-${++this.#lives}`,
      epochMs: clock.epochMs,
    });
    this.#exchange = new SloExchange({
      book: this.book,
      intake: this.#intake,
      arrivals,
      store,
      isLeader: () => this.#index === 0,
      clock,
      onNotice: () => undefined,
    });
    await this.#exchange.begin().catch(() => undefined);
  }

  /** It does not write and does not read, and what is sent to it is taken in all the same: the worst of both. */
  stall(forSteps: number): void {
    this.#stalledUntil = this.#world.now + forSteps * STEP_MS;
  }

  hear(index: number, report: AgentReport): void {
    const { now } = this.#world;
    if (this.#fleet.record(`orders-${index}`, report, now) === null) return;
    this.#intake.take(`orders-${index}`, report, now, START + now);
  }

  async exchange(): Promise<void> {
    if (this.isStalled) return;
    this.#intake.review(this.#world.now);
    await this.#exchange?.run().catch(() => undefined);
  }

  get counted(): { good: number; bad: number } {
    const view = this.book.view('payments', START + this.#world.now);
    return { good: view?.good ?? 0, bad: view?.bad ?? 0 };
  }
}

t.test('no event is in two parts, and after a quiet minute none is missing', async (t) => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
      runs++;
      const world = new World();
      for (const one of world.planes) await one.start();
      for (const one of steps) await take(world, one);
      for (let quiet = 0; quiet < 4 * (GONE_AFTER_MS / STEP_MS); quiet++) await world.tick();
      const { said } = world;
      const lag = { good: 2 * AGENTS * 3 * EXCHANGE_EVERY, bad: AGENTS * 3 * EXCHANGE_EVERY };
      for (const [index, { counted }] of world.planes.entries()) {
        const text = `plane ${index}: ${JSON.stringify({ counted, said })}`;
        if (counted.good > said.good || counted.bad > said.bad) throw new Error(`too much, ${text}`);
        if (counted.good < said.good - lag.good || counted.bad < said.bad - lag.bad)
          throw new Error(`too little, ${text}`);
      }
    }),
    { numRuns: 120 },
  );
  t.equal(runs, 120);
});

async function take(world: World, step: Step): Promise<void> {
  switch (step.kind) {
    case 'move': {
      const one = world.agents[step.agent];
      if (one !== undefined) one.at = step.to;
      return world.tick();
    }
    case 'lost-answer': {
      // The report arrives, its answer does not: the agent goes on elsewhere, with the next one.
      const one = world.agents[step.agent];
      if (one === undefined) return;
      one.bad += 1;
      world.planes[one.at]?.hear(step.agent, world.report(step.agent));
      one.at = step.to;
      return world.tick();
    }
    case 'crash':
      await world.planes[step.plane]?.start();
      return world.tick();
    case 'stall': {
      world.planes[step.plane]?.stall(step.forSteps);
      for (let at = 0; at < step.forSteps; at++) await world.tick();
      return;
    }
    case 'consul': {
      world.fault = { kind: step.fault, until: world.now + step.forSteps * STEP_MS };
      for (let at = 0; at < step.forSteps; at++) await world.tick();
      return;
    }
    case 'quiet':
      for (let at = 0; at < step.steps; at++) await world.tick();
  }
}
