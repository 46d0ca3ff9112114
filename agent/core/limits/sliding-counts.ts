// Two counters over the last stretch of time, to a tenth of it. Owns the slots and forgets the old ones by their numbers.

const SLOT_COUNT = 10;

/** Constant time, allocates nothing after construction. */
export class SlidingCounts {
  #windowMs: number;
  readonly #slots = new Float64Array(SLOT_COUNT).fill(-1);
  readonly #all = new Float64Array(SLOT_COUNT);
  readonly #some = new Float64Array(SLOT_COUNT);

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** Another window gives the slots another meaning: counting begins anew. */
  setWindow(windowMs: number): void {
    if (windowMs === this.#windowMs) return;
    this.#windowMs = windowMs;
    this.#slots.fill(-1);
  }

  /** Counts one, and one of those that count twice if `isSome`. */
  add(isSome: boolean, now: number): void {
    const slot = this.#slotNumber(now);
    const at = slot % SLOT_COUNT;
    if (this.#slots[at] !== slot) {
      this.#slots[at] = slot;
      this.#all[at] = 0;
      this.#some[at] = 0;
    }
    this.#all[at] = (this.#all[at] ?? 0) + 1;
    if (isSome) this.#some[at] = (this.#some[at] ?? 0) + 1;
  }

  all(now: number): number {
    return this.#sum(this.#all, now);
  }

  some(now: number): number {
    return this.#sum(this.#some, now);
  }

  #sum(counts: Float64Array, now: number): number {
    const newest = this.#slotNumber(now);
    let sum = 0;
    for (let at = 0; at < SLOT_COUNT; at++) {
      const slot = this.#slots[at] ?? -1;
      if (slot >= 0 && slot > newest - SLOT_COUNT && slot <= newest) sum += counts[at] ?? 0;
    }
    return sum;
  }

  #slotNumber(now: number): number {
    return Math.floor((Math.max(0, now) * SLOT_COUNT) / this.#windowMs);
  }
}
