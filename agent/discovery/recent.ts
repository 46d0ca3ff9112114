// Which undeclared services are worth a watch: those used recently, and never too many of them. Pure.

/** Least recently used services with a ceiling; O(n) per call, n ≤ 32. */
export class RecentServices {
  readonly #limit: number;
  readonly #idleMs: number;
  readonly #usedAt = new Map<string, number>();

  constructor(limit: number, idleMs: number) {
    this.#limit = limit;
    this.#idleMs = idleMs;
  }

  has(service: string): boolean {
    return this.#usedAt.has(service);
  }

  /** Notes one use; returns the services that must go to make room. */
  use(service: string, now: number): string[] {
    // Deleting first keeps the map in order of use: its first key is the least recently used one.
    this.#usedAt.delete(service);
    this.#usedAt.set(service, now);
    const leavers: string[] = [];
    for (const candidate of this.#usedAt.keys()) {
      if (this.#usedAt.size <= this.#limit) break;
      this.#usedAt.delete(candidate);
      leavers.push(candidate);
    }
    return leavers;
  }

  /** Removes and returns the services that were not used for the idle time. */
  expire(now: number): string[] {
    const leavers: string[] = [];
    for (const [service, usedAt] of this.#usedAt) {
      if (now - usedAt < this.#idleMs) break;
      this.#usedAt.delete(service);
      leavers.push(service);
    }
    return leavers;
  }

  forget(service: string): void {
    this.#usedAt.delete(service);
  }
}
