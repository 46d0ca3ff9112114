// The deadlines of one request: its policy's, counted from the moment the request is whole (an upload takes as long as it keeps
// moving, which the idle limit watches over), and its caller's, which holds from the beginning.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Clock } from '../clock.ts';
import type { Deadlines } from './deadlines.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** What a hop takes for itself of the time that its caller still waits: the answer has to travel back. */
export const HOP_MARGIN_MS = 5;

export class Timeouts {
  /** Monotonic ms at which the whole request has failed; the caller's before it is armed. */
  deadlineAt: number;
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;

  /** @param callerDeadlineAt  monotonic ms after which nobody waits any more; Infinity when nobody said */
  constructor(clock: Clock, deadlines: Deadlines, callerDeadlineAt: number) {
    this.#clock = clock;
    this.#deadlines = deadlines;
    this.deadlineAt = callerDeadlineAt;
  }

  /** The request is whole. */
  arm({ timeouts }: EffectivePolicy, now = this.#clock.now()): void {
    if (timeouts.requestMs > 0) this.deadlineAt = Math.min(this.deadlineAt, now + timeouts.requestMs);
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
