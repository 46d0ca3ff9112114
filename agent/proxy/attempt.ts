// One attempt at one endpoint: what was begun there, and the one Outcome that ends it. Keeps the books of core/outlier; does
// not decide what follows.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Clock } from '../clock.ts';
import type { Outcome, OutcomeKind } from '../core/outcome.ts';
import { beginAttempt, endAttempt } from '../core/outlier/record.ts';
import { isOwnFailure, type Stalls } from '../core/self/stalls.ts';
import type { EndpointView } from '../core/snapshot.ts';
import type { ResponseHead } from './http1/response-head.ts';

/** A pause that an upstream asks for is believed up to this long. */
const MAX_RETRY_AFTER_MS = 300_000;

export class Attempt {
  readonly endpoint: EndpointView;
  isReused = false;
  isSent = false;
  /** It failed because of this process or its machine: it stood still, or had no socket to give. */
  isOwnFault = false;
  /** Status of the response head, 0 before it. */
  status = 0;
  readonly #epoch: number;
  #sentAt: number;
  #headLatencyMs = 0;
  #headStalledMs = 0;
  readonly #stalls: Stalls | null;
  #retryAfterMs = 0;
  #isEnded = false;

  /** @param stalls  when this process stood still; null where nobody looks */
  constructor(endpoint: EndpointView, now: number, stalls: Stalls | null) {
    this.endpoint = endpoint;
    this.#stalls = stalls;
    beginAttempt(endpoint.stats, now);
    this.#epoch = endpoint.stats.epoch;
    this.#sentAt = now;
  }

  get address(): string {
    return `${this.endpoint.endpoint.address}:${this.endpoint.endpoint.port}`;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** The response head went downstream. */
  get isHeadRelayed(): boolean {
    return false;
  }

  noteSent(now: number): void {
    this.isSent = true;
    this.#sentAt = now;
  }

  noteHead(head: ResponseHead, clock: Clock): void {
    this.status = head.status;
    const now = clock.now();
    this.#headLatencyMs = now - this.#sentAt;
    this.#headStalledMs = this.#stalls?.overlap(this.#sentAt, now) ?? 0;
    if (head.retryAfter !== null) this.#retryAfterMs = readRetryAfter(head.retryAfter, clock.epochMs());
  }

  outcome(kind: OutcomeKind, now: number): Outcome {
    return {
      kind,
      status: this.status,
      latencyMs: this.status === 0 ? now - this.#sentAt : this.#headLatencyMs,
      stalledMs: this.status === 0 ? (this.#stalls?.overlap(this.#sentAt, now) ?? 0) : this.#headStalledMs,
      retryAfterMs: this.#retryAfterMs,
      isSent: this.isSent,
      isReusedConnection: this.isReused,
      isHeadRelayed: this.isHeadRelayed,
    };
  }

  /**
   * Books the end; further calls do nothing.
   *
   * @returns true when the service should be swept now
   */
  end(outcome: Outcome, policy: EffectivePolicy, now: number): boolean {
    if (this.#isEnded) return false;
    this.#isEnded = true;
    if (isOwnFailure(outcome)) {
      this.isOwnFault = true;
      this.#stalls?.noteOwnFailure();
    }
    return endAttempt(this.endpoint.stats, outcome, this.#epoch, policy, now);
  }
}

/** RFC 9110 10.2.3: seconds, or a date. */
function readRetryAfter(value: string, epochMs: number): number {
  const ms = /^[0-9]{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - epochMs;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : 0;
}
