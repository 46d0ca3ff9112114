// Requests that wait for room at a service: critical ones first, else in the order of their coming. Bounded by whoever asks;
// knows no clock.

import type { TrafficClass } from './traffic-class.ts';

export interface Waiter {
  readonly trafficClass: TrafficClass;
  /** It counts as a request in flight already and waits only for a connection. */
  readonly hasPlace: boolean;
  /** Called once, after the waiter has left the queue. */
  onRoom(): void;
}

/** Every operation takes constant time. */
export class PendingQueue {
  readonly #critical = new Set<Waiter>();
  readonly #others = new Set<Waiter>();

  get size(): number {
    return this.#critical.size + this.#others.size;
  }

  add(waiter: Waiter): void {
    this.#setOf(waiter).add(waiter);
  }

  /** Who gave up; nothing happens when it is not there. */
  remove(waiter: Waiter): void {
    this.#setOf(waiter).delete(waiter);
  }

  /** Whose turn it is, or null. */
  first(): Waiter | null {
    for (const waiter of this.#critical) return waiter;
    for (const waiter of this.#others) return waiter;
    return null;
  }

  #setOf({ trafficClass }: Waiter): Set<Waiter> {
    return trafficClass === 'critical' ? this.#critical : this.#others;
  }
}
