// One request that waits for room at a service, as long as the policy lets it. Made only for those that have to wait.

import type { Waiter } from '../core/limits/pending-queue.ts';
import type { TrafficClass } from '../core/limits/traffic-class.ts';
import type { ServiceView } from '../core/snapshot.ts';
import type { ProxyScope } from './scope.ts';

export interface TurnOwner {
  /** There is room: the place is taken for the first time, or a connection may have become free. */
  onTurn(): void;
  /** The time in the queue is over. */
  onNoTurn(message: string): void;
}

export class Turn implements Waiter {
  readonly trafficClass: TrafficClass;
  hasPlace = false;
  /** ms in the queue, all waits together. */
  queuedMs = 0;
  readonly #scope: ProxyScope;
  readonly #view: ServiceView;
  readonly #owner: TurnOwner;
  readonly #callerDeadlineAt: number;
  #timer: NodeJS.Timeout | null = null;
  #waitsSince = 0;

  /** @param callerDeadlineAt  monotonic ms after which waiting is useless; Infinity when nobody said */
  constructor(
    scope: ProxyScope,
    view: ServiceView,
    trafficClass: TrafficClass,
    callerDeadlineAt: number,
    owner: TurnOwner,
  ) {
    this.#scope = scope;
    this.#view = view;
    this.trafficClass = trafficClass;
    this.#callerDeadlineAt = callerDeadlineAt;
    this.#owner = owner;
  }

  wait(now: number): void {
    const { stats, policy } = this.#view;
    this.#waitsSince = now;
    stats.pending.add(this);
    const leftMs = Math.min(policy.limits.queueTimeoutMs - this.queuedMs, this.#callerDeadlineAt - now);
    this.#timer = setTimeout(() => this.#giveUp(), Math.max(1, leftMs));
  }

  /** Holding a place, waits for a connection; false when the queue is full or its time is used up. */
  waitForConnection(): boolean {
    const { stats, policy } = this.#view;
    const { queueTimeoutMs, maxPendingRequests } = policy.limits;
    if (this.queuedMs >= queueTimeoutMs || stats.pending.size >= maxPendingRequests) return false;
    this.hasPlace = true;
    this.wait(this.#scope.clock.now());
    return true;
  }

  #giveUp(): void {
    this.leaveQueue();
    this.#owner.onNoTurn(`${this.#view.service} had no room within ${Math.round(this.queuedMs)} ms`);
  }

  onRoom(): void {
    this.leaveQueue();
    this.#owner.onTurn();
  }

  /** Nothing happens when it does not wait. */
  leaveQueue(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.queuedMs += this.#scope.clock.now() - this.#waitsSince;
    this.#view.stats.pending.remove(this);
  }
}
