// How many time series the agent may have. Everything whose names can come from traffic takes its series here before it
// counts under its own name; what gets none counts under `other`, so that sums stay right.

export class SeriesBudget {
  readonly limit: number;
  #used = 0;
  #folded = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** Events counted under `other` so far. */
  get folded(): number {
    return this.#folded;
  }

  /** False, and nothing taken, when that many are not left. */
  take(count: number): boolean {
    if (this.#used + count > this.limit) return false;
    this.#used += count;
    return true;
  }

  /** Takes even what is not left: for the few series of `other` themselves. */
  overdraw(count: number): void {
    this.#used += count;
  }

  give(count: number): void {
    this.#used -= count;
  }

  /** An event is counted under `other`. */
  fold(): void {
    this.#folded += 1;
  }
}
