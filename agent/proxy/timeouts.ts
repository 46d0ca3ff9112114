// The deadlines of one request, from its policy. All are counted from the moment the request is whole: an upload takes as long
// as it keeps moving, which the idle limit watches over.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Clock } from '../clock.ts';
import type { Deadlines } from './deadlines.ts';

const NEVER = Number.POSITIVE_INFINITY;

export class Timeouts {
  /** Monotonic ms at which the whole request has failed; Infinity before it is armed. */
  deadlineAt = NEVER;
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;

  constructor(clock: Clock, deadlines: Deadlines) {
    this.#clock = clock;
    this.#deadlines = deadlines;
  }

  /** The request is whole. */
  arm({ timeouts }: EffectivePolicy, now = this.#clock.now()): void {
    if (timeouts.requestMs > 0) this.deadlineAt = now + timeouts.requestMs;
  }

  get now(): number {
    return this.#clock.now();
  }

  /** Until a connection must be there. */
  connectAt(now: number, { timeouts }: EffectivePolicy): number {
    return Math.min(now + timeouts.connectMs, this.deadlineAt);
  }

  /** After sending: until the head must be there when the request is whole, else until something must move again. */
  sentAt(policy: EffectivePolicy, isAwaitingHead: boolean, now = this.#clock.now()): number {
    if (!isAwaitingHead) return this.idleAt(policy);
    const { backendRequestMs } = policy.timeouts;
    return Math.min(backendRequestMs > 0 ? now + backendRequestMs : NEVER, this.deadlineAt);
  }

  /** Until something must move again. */
  idleAt({ timeouts }: EffectivePolicy): number {
    return timeouts.idleMs > 0 ? this.#deadlines.now + timeouts.idleMs : NEVER;
  }
}
