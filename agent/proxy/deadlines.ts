// One coarse timer for every socket of the data plane. Setting a deadline is one field write, which is why no request ever
// creates a timer; the price is a scan of all sockets every TICK_MS (10,000 sockets: well under a millisecond).

import type { Clock } from '../clock.ts';
import { LoopWatch } from './loop-watch.ts';

const TICK_MS = 25;

export interface DeadlineHolder {
  /** Monotonic ms; Infinity for none. May be written at any time. */
  deadlineAt: number;
  /** Position in the table; written by Deadlines only, -1 outside. */
  deadlineSlot: number;
  /** Called at most once a tick while `deadlineAt` lies in the past; must move it or leave the table. */
  onDeadline(now: number): void;
}

export class Deadlines {
  readonly loop: LoopWatch;
  readonly #clock: Clock;
  /** Instant of the last tick; stands still while the table is empty. */
  #tickedAt: number;
  readonly #holders: DeadlineHolder[] = [];
  #timer: NodeJS.Timeout | null = null;
  #cpuMs = 0;

  /** @param maxLoopDelayMs  lateness of the tick from which on `loop` speaks of overload */
  constructor(clock: Clock, maxLoopDelayMs = Number.POSITIVE_INFINITY) {
    this.#clock = clock;
    this.loop = new LoopWatch(maxLoopDelayMs);
    this.#tickedAt = clock.now();
  }

  /**
   * Monotonic ms, at most a tick old: the time for deadlines, where 25 ms do not matter. With an empty table it is read from the
   * clock, because the first socket after a quiet hour sets its deadline before it is in the table.
   */
  get now(): number {
    return this.#timer === null ? this.#clock.now() : this.#tickedAt;
  }

  add(holder: DeadlineHolder): void {
    if (holder.deadlineSlot >= 0) return;
    holder.deadlineSlot = this.#holders.length;
    this.#holders.push(holder);
    if (this.#timer !== null) return;
    this.#tickedAt = this.#clock.now();
    this.#cpuMs = threadCpuMs();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    // Sockets keep the process alive, the watch over them does not.
    this.#timer.unref();
  }

  remove(holder: DeadlineHolder): void {
    const slot = holder.deadlineSlot;
    if (slot < 0) return;
    holder.deadlineSlot = -1;
    const last = this.#holders.pop();
    if (last !== undefined && last !== holder) {
      this.#holders[slot] = last;
      last.deadlineSlot = slot;
    }
    if (this.#holders.length > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    this.loop.reset();
  }

  /** Backwards, so that a holder which leaves is replaced by one that was already looked at. */
  #tick(): void {
    const passedMs = this.#clock.now() - this.#tickedAt;
    const cpuMs = threadCpuMs();
    this.#tickedAt += passedMs;
    this.loop.note(passedMs - TICK_MS, (cpuMs - this.#cpuMs) / passedMs);
    this.#cpuMs = cpuMs;
    for (let slot = this.#holders.length - 1; slot >= 0; slot -= 1) {
      const holder = this.#holders[slot];
      if (holder !== undefined && holder.deadlineAt <= this.#tickedAt) holder.onDeadline(this.#tickedAt);
    }
  }
}

/** CPU time of this thread alone: what the process's other threads do does not keep the event loop. */
function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
