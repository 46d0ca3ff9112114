// Drives the staged change: looks once a second how the agents do, tells the other replicas, and, where this replica leads, takes
// the next step or takes the change back. What an operator asks for goes the same way through the store, so it holds everywhere.

import { randomUUID } from 'node:crypto';
import { EMPTY_SKETCH, type LatencySketch, subtractSketch } from '#contract/latency-sketch.ts';
import type { PolicyDocument, PolicyId } from '#contract/policy/policy.ts';
import type { Clock } from '../core/clock.ts';
import type { Fleet, Member } from '../core/fleet.ts';
import type { Ledger } from '../core/ledger.ts';
import { afterStep, baselineOf, decideStep, isActive, isInCohort, type Rollout, slownessOf } from '../core/rollout.ts';
import {
  type HealthQuestion,
  healthOf,
  mergeHealth,
  type RolloutHealth,
  servicesConcerned,
} from '../core/rollout-health.ts';
import type { Board } from '../store/board.ts';
import type { Leadership } from '../store/leader.ts';
import { type PolicySet, policyIdOf, type Store, StoreError } from '../store/store.ts';

export interface RolloutsOptions {
  readonly store: Store;
  readonly leadership: Leadership;
  readonly board: Board;
  readonly ledger: Ledger;
  readonly fleet: Fleet;
  readonly clock: Clock;
  /** Told in a sentence what happened to a rollout; `reason` is a word for events. */
  readonly tell: (reason: string, text: string) => void;
  /** Told when the store does not answer; the next look comes anyway. */
  readonly onFault: (text: string) => void;
}

export const LOOK_EVERY_MS = 1_000;
const BOARD = 'rollout';
/** A replica that was not heard of for this long has lost its agents to others. */
const NOTE_AGE_MS = 10_000;
const WRITE_ATTEMPTS = 64;
/** Author of what the rollout does by itself. */
const SELF = 'rollout';

/** What a change of the record came to. */
export type ControlResult = { readonly kind: 'done'; readonly rollout: Rollout } | { readonly kind: 'over' };

export class Rollouts {
  readonly #options: RolloutsOptions;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> = Promise.resolve();
  #isLooking = false;
  /** What the last look failed with, or null. */
  #fault: string | null = null;
  #health: { readonly id: string; readonly health: RolloutHealth } | null = null;
  /** Latencies by agent and edge, as they were when the stage began. */
  #bases: { readonly stage: string; readonly sketches: Map<string, LatencySketch> } = {
    stage: '',
    sketches: new Map(),
  };
  /** Since when the cohort has been slow, monotonic ms; null: it is not. */
  #slowSince: number | null = null;

  constructor(options: RolloutsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      // One look at a time: the store may take longer than a second.
      if (this.#isLooking) return;
      this.#isLooking = true;
      this.#looking = this.#look()
        .then(() => {
          this.#fault = null;
        })
        .catch((error: unknown) => {
          if (!(error instanceof StoreError)) throw error;
          // Once per fault, not once a second.
          if (error.message !== this.#fault) this.#options.onFault(error.message);
          this.#fault = error.message;
        })
        .finally(() => {
          this.#isLooking = false;
        });
    }, LOOK_EVERY_MS);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
    await this.#options.board.close();
  }

  /** The record for a change that is about to be written over `set`. */
  begin(set: PolicySet, id: PolicyId, document: PolicyDocument | null, author: string, soakMs: number): Rollout {
    const epochMs = this.#options.clock.epochMs();
    const stableDocument = set.policies.find((one) => policyIdOf(one.document) === id)?.document ?? null;
    const recent = (member: Member, edge: string): LatencySketch =>
      member.latencies.get(edge)?.recent() ?? EMPTY_SKETCH;
    const everybody = { isInCohort: () => false, version: set.version, sinceMs: Number.POSITIVE_INFINITY };
    const { rest } = this.#ownHealth([document, stableDocument], { ...everybody, latencyOf: recent });
    return {
      id: randomUUID(),
      policy: id,
      stableDocument,
      version: set.version + 1,
      author,
      state: 'running',
      stage: 0,
      firstAgents: [],
      soakMs,
      startedAtEpochMs: epochMs,
      stageSinceEpochMs: epochMs,
      baseline: baselineOf(rest),
      reason: 'It begins.',
    };
  }

  /** How the agents do, when this replica looked last; null when it did not look at this rollout yet. */
  healthOf(id: string): RolloutHealth | null {
    return this.#health?.id === id ? this.#health.health : null;
  }

  pause(id: string, operator: string): Promise<ControlResult> {
    return this.#change(id, (rollout) => ({ ...rollout, state: 'paused', reason: `Paused by ${operator}.` }));
  }

  /** The rest of the stage begins anew. */
  resume(id: string, operator: string): Promise<ControlResult> {
    const stageSinceEpochMs = this.#options.clock.epochMs();
    return this.#change(id, (rollout) => {
      return { ...rollout, state: 'running', stageSinceEpochMs, reason: `Resumed by ${operator}.` };
    });
  }

  /** Puts the former document back everywhere. */
  abort(id: string, operator: string): Promise<ControlResult> {
    return this.#takeBack(id, 'aborted', operator, `Aborted by ${operator}.`);
  }

  async #look(): Promise<void> {
    const { store, board, leadership, clock } = this.#options;
    const set = await store.list();
    const { rollout } = set;
    if (!isActive(rollout)) {
      this.#health = null;
      this.#slowSince = null;
      return;
    }
    const current = set.policies.find((one) => policyIdOf(one.document) === rollout.policy)?.document ?? null;
    const sinceMs = clock.epochMs() - rollout.stageSinceEpochMs;
    const own = this.#ownHealth([current, rollout.stableDocument], {
      isInCohort: (agentId) => isInCohort(rollout, agentId),
      version: rollout.version,
      sinceMs,
      latencyOf: this.#latencySince(`${rollout.id} ${rollout.stageSinceEpochMs}`),
    });
    const [notes] = await Promise.all([
      board.others(BOARD, NOTE_AGE_MS),
      board.post(BOARD, { id: rollout.id, health: own }),
    ]);
    const health = mergeHealth([own, ...healthsIn(notes, rollout.id)]);
    this.#health = { id: rollout.id, health };
    if (slownessOf(rollout, health) === null) this.#slowSince = null;
    else this.#slowSince ??= clock.now();
    if (leadership.isLeader()) await this.#step(rollout, health);
  }

  async #step(rollout: Rollout, health: RolloutHealth): Promise<void> {
    const { clock } = this.#options;
    const slowForMs = this.#slowSince === null ? 0 : clock.now() - this.#slowSince;
    const step = decideStep(rollout, health, clock.epochMs(), slowForMs);
    if (step.kind === 'wait') return;
    if (step.kind === 'halt') {
      await this.#takeBack(rollout.id, 'halted', SELF, step.reason);
      return;
    }
    this.#slowSince = null;
    const isSame = (one: Rollout): boolean =>
      one.stage === rollout.stage &&
      one.state === rollout.state &&
      one.firstAgents.length === rollout.firstAgents.length;
    await this.#change(rollout.id, (one) => (isSame(one) ? afterStep(one, step, clock.epochMs()) : null));
  }

  /** @param change  null leaves it as it is, because somebody was quicker */
  async #change(id: string, change: (rollout: Rollout) => Rollout | null): Promise<ControlResult> {
    const { store } = this.#options;
    for (let attempt = 0; attempt < WRITE_ATTEMPTS; attempt++) {
      const { version, rollout } = await store.list();
      if (!isActive(rollout) || rollout.id !== id) return { kind: 'over' };
      const next = change(rollout);
      if (next === null) return { kind: 'done', rollout };
      if ((await store.putRollout(next, { ifVersion: version })).kind === 'moved') continue;
      this.#tell(next);
      return { kind: 'done', rollout: next };
    }
    throw new StoreError('unavailable', 'other writes kept coming between; try again');
  }

  async #takeBack(id: string, state: 'halted' | 'aborted', author: string, reason: string): Promise<ControlResult> {
    const { store, clock } = this.#options;
    for (let attempt = 0; attempt < WRITE_ATTEMPTS; attempt++) {
      const { version, policies, rollout } = await store.list();
      if (!isActive(rollout) || rollout.id !== id) return { kind: 'over' };
      const next: Rollout = { ...rollout, state, reason, stageSinceEpochMs: clock.epochMs() };
      const { stableDocument, policy } = rollout;
      const current = policies.find((one) => policyIdOf(one.document) === policy)?.document ?? null;
      const isBack = JSON.stringify(current) === JSON.stringify(stableDocument);
      const options = { ifMatch: { kind: 'any' }, ifVersion: version, author, message: reason, rollout: next } as const;
      const result = isBack
        ? await store.putRollout(next, { ifVersion: version })
        : stableDocument === null
          ? await store.remove(policy, options)
          : await store.put(stableDocument, options);
      if (result.kind !== 'written') continue;
      this.#tell(next);
      return { kind: 'done', rollout: next };
    }
    throw new StoreError('unavailable', 'other writes kept coming between; try again');
  }

  #tell({ state, policy, reason }: Rollout): void {
    this.#options.tell(`rollout_${state}`, `The rollout of ${policy} is ${state}: ${reason}`);
  }

  /** What the latencies of an edge gained since this replica first looked in this stage. */
  #latencySince(stage: string): HealthQuestion['latencyOf'] {
    if (this.#bases.stage !== stage) this.#bases = { stage, sketches: new Map() };
    const { sketches } = this.#bases;
    return ({ agentId, latencies }, edge) => {
      const total = latencies.get(edge)?.total ?? EMPTY_SKETCH;
      const key = `${agentId}\n${edge}`;
      const base = sketches.get(key) ?? total;
      sketches.set(key, base);
      return subtractSketch(total, base);
    };
  }

  #ownHealth(
    documents: readonly (PolicyDocument | null)[],
    question: Pick<HealthQuestion, 'isInCohort' | 'version' | 'sinceMs' | 'latencyOf'>,
  ): RolloutHealth {
    const { ledger, fleet, clock } = this.#options;
    return healthOf({ ...question, ledger, fleet, concerned: servicesConcerned(documents), now: clock.now() });
  }
}

/** Notes about another rollout are of a replica that is behind. */
function healthsIn(notes: ReadonlyMap<string, unknown>, id: string): RolloutHealth[] {
  return [...notes.values()].flatMap((note) => {
    // Only control planes write here, in this form.
    const { id: about, health } = note as { readonly id: string; readonly health: RolloutHealth };
    return about === id ? [health] : [];
  });
}
