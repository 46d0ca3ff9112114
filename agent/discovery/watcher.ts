// Watches one service and hands on every change of what is to be served. It never gives up and never asks in a tight loop;
// blocking.ts and guard.ts decide, a source answers, this file only waits and asks.

import { setTimeout as sleep } from 'node:timers/promises';
import { Pacer, stepIndex } from '#contract/consul/blocking.ts';
import type { DecodedHealth } from '#contract/consul/health.ts';
import type { HealthFacts } from '#contract/endpoint-frames.ts';
import type { Clock, Random } from '../clock.ts';
import { backOffMs } from '../core/back-off.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { type Answer, DEFAULT_GUARD, decideAnswer, type GuardLimits, type GuardState, INITIAL_GUARD } from './guard.ts';
import type { HealthAnswer, HealthSource, Origin } from './health-source.ts';

/** Every duration of the watch, ms; tests make them small. */
export interface WatchTiming {
  /** How long Consul may hold a question; the client waits 17/16 of it plus the slack. */
  readonly waitMs: number;
  readonly slackMs: number;
  /** Deadline of a question without an index, which Consul answers at once. */
  readonly readTimeoutMs: number;
  readonly minGapMs: number;
  /** The second of "one question a second". */
  readonly pacerSecondMs: number;
  readonly backOffBaseMs: number;
  readonly backOffCapMs: number;
  readonly guard: GuardLimits;
}

export const DEFAULT_WATCH_TIMING: WatchTiming = {
  waitMs: 60_000,
  slackMs: 5_000,
  readTimeoutMs: 10_000,
  minGapMs: 100,
  pacerSecondMs: 1_000,
  backOffBaseMs: 200,
  backOffCapMs: 10_000,
  guard: DEFAULT_GUARD,
};

/** What a watch knows; read by status() at any time. */
export interface WatchStatus {
  /** Whether there was an answer that could be judged, believed or not. */
  readonly hasAnswered: boolean;
  /** Monotonic ms of the last answer that was believed: what is served is as old as that. Null before the first. */
  readonly confirmedAt: number | null;
  /** Why the newest answer is not served as it is, or null. */
  readonly holding: string | null;
  /** Last failure while the source does not answer properly, or null. */
  readonly failure: string | null;
  readonly health: DecodedHealth | null;
  readonly serving: readonly Endpoint[];
  /** Who answered last, and who gave the answer that is served; null before the first. */
  readonly asked: Origin | null;
  readonly origin: Origin | null;
  /** The service is denied to this agent, which is therefore not told who serves it. */
  readonly isDenied: boolean;
}

export interface WatcherOptions {
  readonly service: string;
  readonly source: HealthSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly timing: WatchTiming;
  /** Endpoints known from the disk, served already; the first answer is judged against them. */
  readonly initial: readonly Endpoint[];
  /** Called when the served set differs from the former one, and on the first answer. */
  onEndpoints(endpoints: readonly Endpoint[]): void;
  /** Called when `holding` or `failure` changes its words. */
  onStatus(status: WatchStatus): void;
  /** Called once, after the first answer or the first failure. */
  onFirst(): void;
}

type Judged = Exclude<HealthAnswer, { readonly kind: 'moved' }>;
type Health = Extract<HealthAnswer, { readonly kind: 'health' }>;

export class Watcher {
  readonly #options: WatcherOptions;
  readonly #stop = new AbortController();
  readonly #pacer: Pacer;
  #guard: GuardState;
  #index: bigint | null = null;
  /** Index of the newest answer, kept over faults: a lower one means that Consul lost its state in the meantime. */
  #seenIndex: bigint | null = null;
  #failures = 0;
  /** Set by a fault after which Consul may have lost its state; the next answer begins a settling time. */
  #wasGone = false;
  #hasReported = false;
  #digest = '';
  #servedKey: string | null = null;
  /** While holding: when to judge again, ms; null otherwise. */
  #recheckMs: number | null = null;
  #status: WatchStatus;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#pacer = new Pacer(options.clock.now(), options.timing.minGapMs, options.timing.pacerSecondMs);
    this.#guard = { ...INITIAL_GUARD, accepted: options.initial };
    this.#status = {
      hasAnswered: false,
      confirmedAt: null,
      holding: null,
      failure: null,
      health: null,
      serving: options.initial,
      asked: null,
      origin: null,
      isDenied: false,
    };
  }

  get status(): WatchStatus {
    return this.#status;
  }

  /** Runs until stop(); resolves then and never rejects. */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const answer = await this.#ask();
      if (answer.kind === 'moved') {
        this.#begin();
        continue;
      }
      const delayMs = this.#judgeSafely(answer);
      if (!this.#hasReported) {
        this.#hasReported = true;
        this.#options.onFirst();
      }
      await this.#pause(delayMs);
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Another source counts for itself: its index may be another one, and it has failed nobody yet. */
  #begin(): void {
    this.#index = null;
    this.#seenIndex = null;
    this.#failures = 0;
  }

  #ask(): Promise<HealthAnswer> {
    const { source, service, timing } = this.#options;
    // While a doubtful answer is held, there must be an answer in time for the hold to end.
    const waitMs = Math.ceil(Math.max(1, Math.min(timing.waitMs, this.#recheckMs ?? Number.POSITIVE_INFINITY)));
    const timeoutMs = this.#index === null ? timing.readTimeoutMs : (waitMs * 17) / 16 + timing.slackMs;
    return source.ask({ service, index: this.#index, waitMs, timeoutMs, signal: this.#stop.signal });
  }

  /** An answer that makes us throw is a fault of the source like any other: what is served stays, and we ask again. */
  #judgeSafely(answer: Judged): number {
    try {
      return this.#judge(answer);
    } catch (error) {
      return this.#fail(`an answer that could not be taken in: ${String(error)}`, this.#status.asked);
    }
  }

  /** Takes in one answer; returns how long to wait before the next question, ms. */
  #judge(answer: Judged): number {
    if (answer.kind === 'stopped') return 0;
    if (answer.kind === 'health') return this.#take(answer);
    this.#wasGone ||= answer.wasGone;
    return this.#fail(answer.text, answer.origin);
  }

  #take({ origin, facts, digest, index: header, ageMs, recoveredMs, isDenied }: Health): number {
    const { health } = facts;
    const { index, wentBackwards } = stepIndex(this.#seenIndex, header);
    const { clock, timing } = this.#options;
    const now = clock.now();
    this.#failures = 0;
    this.#seenIndex = index;
    const toldAt = recoveredMs === null ? Number.NEGATIVE_INFINITY : now - recoveredMs;
    const recoveredAt = this.#wasGone || wentBackwards ? now : Math.max(this.#guard.recoveredAt, toldAt);
    if (recoveredAt !== this.#guard.recoveredAt) this.#guard = { ...this.#guard, recoveredAt };
    this.#wasGone = false;
    const hasChanged = digest !== this.#digest;
    this.#digest = digest;
    const wasHolding = this.#guard.hold !== null;
    let recheckMs: number | null = null;
    let holding = this.#status.holding;
    let serving = this.#status.serving;
    // An identical body says nothing new, unless an earlier doubt is waiting for exactly that, or the first answer is due.
    if (hasChanged || wasHolding || !this.#status.hasAnswered || wentBackwards) {
      const decision = decideAnswer(this.#guard, toAnswer(facts, isDenied), now, timing.guard);
      this.#guard = decision.state;
      recheckMs = decision.recheckMs;
      serving = decision.serve;
      holding = decision.holding ?? panicSentence(health);
    }
    this.#recheckMs = recheckMs;
    const isBelieved = this.#guard.hold === null;
    const confirmedAt = isBelieved ? now - ageMs : this.#status.confirmedAt;
    const served = { serving, isDenied, origin: isBelieved ? origin : this.#status.origin };
    this.#update({ hasAnswered: true, confirmedAt, holding, failure: null, health, asked: origin, ...served });
    const delayMs = this.#pacer.delayAfterAnswer(now, hasChanged);
    const isConfirming = this.#guard.hold?.reason === 'shrinking' && recheckMs !== null;
    // A confirming read asks for the state as it is, not for news; so does the read after the index went backwards.
    this.#index = isConfirming || wentBackwards ? null : index;
    return isConfirming ? Math.max(delayMs, recheckMs ?? 0) : delayMs;
  }

  #fail(text: string, asked: Origin | null): number {
    const { clock, random, timing } = this.#options;
    this.#failures++;
    // After any fault the index may belong to a state that is gone: a question with it would block for the whole wait.
    this.#index = null;
    this.#update({ ...this.#status, failure: text, asked });
    const pacedMs = this.#pacer.delayAfterAnswer(clock.now(), true);
    return Math.max(
      pacedMs,
      backOffMs(this.#failures, random, { baseMs: timing.backOffBaseMs, capMs: timing.backOffCapMs }),
    );
  }

  #update(status: WatchStatus): void {
    const former = this.#status;
    this.#status = status;
    const key = JSON.stringify([...status.serving].sort((a, b) => (a.id < b.id ? -1 : 1)));
    if (status.hasAnswered && key !== this.#servedKey) {
      this.#servedKey = key;
      this.#options.onEndpoints(status.serving);
    }
    if (former.holding !== status.holding || former.failure !== status.failure || dropsDiffer(former, status)) {
      this.#options.onStatus(status);
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#stop.signal.aborted) return;
    // The only rejection is our own signal, which ends the loop above.
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}

function toAnswer({ health, isFiltered, isUncertain }: HealthFacts, isDenied: boolean): Answer {
  const isAllMaintenance = isDenied || (health.endpoints.length === 0 && health.maintenanceCount > 0);
  return { endpoints: health.endpoints, isFiltered, isUncertain, isAllMaintenance };
}

function panicSentence(health: DecodedHealth): string | null {
  if (!health.isPanicSet) return null;
  return `all ${health.criticalCount} endpoints are critical in Consul; using all of them rather than none`;
}

function dropsDiffer(a: WatchStatus, b: WatchStatus): boolean {
  return JSON.stringify(a.health?.dropped ?? {}) !== JSON.stringify(b.health?.dropped ?? {});
}
