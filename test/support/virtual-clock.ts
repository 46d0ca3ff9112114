// A clock that a test advances by hand. Timers set through it run in order of due time, then of creation.

import type { Clock } from '../../agent/clock.ts';

export class VirtualClock implements Clock {
  #now = 0;
  #nextId = 1;
  readonly #timers = new Map<number, { at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  epochMs(): number {
    return 1_700_000_000_000 + this.#now;
  }

  /** Runs `run` once when `advance` reaches `delayMs` from now; returns a function that takes it back. */
  after(delayMs: number, run: () => void): () => void {
    const id = this.#nextId++;
    this.#timers.set(id, { at: this.#now + delayMs, run });
    return () => this.#timers.delete(id);
  }

  /** Moves time forward, running due timers at their own instants. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      let next: { id: number; at: number; run: () => void } | null = null;
      for (const [id, timer] of this.#timers) {
        if (timer.at <= end && (next === null || timer.at < next.at)) next = { id, ...timer };
      }
      if (next === null) break;
      this.#timers.delete(next.id);
      this.#now = next.at;
      next.run();
    }
    this.#now = end;
  }
}
