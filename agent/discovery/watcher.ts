// Watches one service in Consul with blocking queries and hands on every change of what is to be served. It never gives up
// and never asks in a tight loop; pacing.ts, decode.ts and guard.ts decide, this file only waits and asks.

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock, Random } from '../clock.ts';
import { backOffMs } from '../core/back-off.ts';
import type { Endpoint } from '../core/endpoint.ts';
import type { ConsulAnswer, ConsulClient } from './consul-client.ts';
import { type DecodedHealth, decodeHealth } from './decode.ts';
import { type Answer, DEFAULT_GUARD, decideAnswer, type GuardLimits, type GuardState, INITIAL_GUARD } from './guard.ts';
import { Pacer, stepIndex } from './pacing.ts';

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
}

export interface WatcherOptions {
  readonly service: string;
  readonly client: ConsulClient;
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
  #bodyHash = '';
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
    };
  }

  get status(): WatchStatus {
    return this.#status;
  }

  /** Runs until stop(); resolves then and never rejects. */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const delayMs = this.#judgeSafely(await this.#ask());
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

  #ask(): Promise<ConsulAnswer> {
    const { client, service, timing } = this.#options;
    // While a doubtful answer is held, Consul must answer in time for the hold to end.
    const waitMs = Math.ceil(Math.max(1, Math.min(timing.waitMs, this.#recheckMs ?? Number.POSITIVE_INFINITY)));
    const isBlocking = this.#index !== null;
    return client.call({
      method: 'GET',
      path: `/v1/health/service/${encodeURIComponent(service)}`,
      ...(isBlocking ? { query: { index: String(this.#index), wait: `${waitMs}ms` } } : {}),
      signal: this.#stop.signal,
      timeoutMs: isBlocking ? (waitMs * 17) / 16 + timing.slackMs : timing.readTimeoutMs,
    });
  }

  /** An answer that makes us throw is a fault of the source like any other: what is served stays, and we ask again. */
  #judgeSafely(answer: ConsulAnswer): number {
    try {
      return this.#judge(answer);
    } catch (error) {
      return this.#fail(`an answer that could not be taken in: ${String(error)}`);
    }
  }

  /** Takes in one answer; returns how long to wait before the next question, ms. */
  #judge(answer: ConsulAnswer): number {
    if (answer.kind === 'failure') {
      if (answer.reason === 'stopped') return 0;
      if (answer.reason === 'unreachable' || answer.reason === 'closed') this.#wasGone = true;
      return this.#fail(answer.text);
    }
    if (answer.status !== 200) return this.#fail(`Consul answered ${answer.status}: ${firstLine(answer.text)}`);
    const step = stepIndex(this.#seenIndex, answer.headers['x-consul-index']);
    if (step.kind === 'missing') {
      return this.#fail(`an answer without X-Consul-Index, so not from Consul: ${firstLine(answer.text)}`);
    }
    const health = parseHealth(answer.text, this.#options.service);
    if (health === null) return this.#fail(`an answer that is not a list of instances: ${firstLine(answer.text)}`);
    return this.#take(answer, health, step.index, step.wentBackwards);
  }

  #take(
    answer: ConsulAnswer & { kind: 'answer' },
    health: DecodedHealth,
    index: bigint,
    wentBackwards: boolean,
  ): number {
    const { clock, timing } = this.#options;
    const now = clock.now();
    this.#failures = 0;
    this.#seenIndex = index;
    if (this.#wasGone || wentBackwards) {
      this.#guard = { ...this.#guard, recoveredAt: now };
      this.#wasGone = false;
    }
    const hash = createHash('sha1').update(answer.text).digest('base64');
    const hasChanged = hash !== this.#bodyHash;
    this.#bodyHash = hash;
    const wasHolding = this.#guard.hold !== null;
    let recheckMs: number | null = null;
    let holding = this.#status.holding;
    let serving = this.#status.serving;
    // An identical body says nothing new, unless an earlier doubt is waiting for exactly that, or the first answer is due.
    if (hasChanged || wasHolding || !this.#status.hasAnswered || wentBackwards) {
      const decision = decideAnswer(this.#guard, toAnswer(answer, health), now, timing.guard);
      this.#guard = decision.state;
      recheckMs = decision.recheckMs;
      serving = decision.serve;
      holding = decision.holding ?? panicSentence(health);
    }
    this.#recheckMs = recheckMs;
    const confirmedAt = this.#guard.hold === null ? now : this.#status.confirmedAt;
    this.#update({ hasAnswered: true, confirmedAt, holding, failure: null, health, serving });
    const delayMs = this.#pacer.delayAfterAnswer(now, hasChanged);
    const isConfirming = this.#guard.hold?.reason === 'shrinking' && recheckMs !== null;
    // A confirming read asks for the state as it is, not for news; so does the read after the index went backwards.
    this.#index = isConfirming || wentBackwards ? null : index;
    return isConfirming ? Math.max(delayMs, recheckMs ?? 0) : delayMs;
  }

  #fail(text: string): number {
    const { clock, random, timing } = this.#options;
    this.#failures++;
    // After any fault the index may belong to a state that is gone: a question with it would block for the whole wait.
    this.#index = null;
    this.#update({ ...this.#status, failure: text });
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

function parseHealth(text: string, service: string): DecodedHealth | null {
  try {
    return decodeHealth(JSON.parse(text), service);
  } catch {
    // Not JSON: the caller quotes its first line.
    return null;
  }
}

/** LastContact above this means a server that was cut off from its leader, ms. */
const LONG_CONTACT_MS = 10_000;

function toAnswer(answer: ConsulAnswer & { kind: 'answer' }, health: DecodedHealth): Answer {
  const { headers } = answer;
  return {
    endpoints: health.endpoints,
    isFiltered: headers['x-consul-results-filtered-by-acls'] === 'true',
    isUncertain:
      headers['x-consul-knownleader'] === 'false' || Number(headers['x-consul-lastcontact'] ?? 0) > LONG_CONTACT_MS,
    isAllMaintenance: health.endpoints.length === 0 && health.maintenanceCount > 0,
  };
}

function panicSentence(health: DecodedHealth): string | null {
  if (!health.isPanicSet) return null;
  return `all ${health.criticalCount} endpoints are critical in Consul; using all of them rather than none`;
}

function dropsDiffer(a: WatchStatus, b: WatchStatus): boolean {
  return JSON.stringify(a.health?.dropped ?? {}) !== JSON.stringify(b.health?.dropped ?? {});
}

function firstLine(text: string): string {
  const line = text.trim().split('\n', 1)[0] ?? '';
  return line.length > 120 ? `${line.slice(0, 120)}…` : line;
}
