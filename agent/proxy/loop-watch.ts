// Whether the event loop falls behind: fed with the lateness of the one timer that is there anyway. Pure; decides nothing
// about requests.

/**
 * One late tick is a scheduler's whim or a collection of garbage. Two in a row that grow are a queue, and the third would be
 * beyond the limit: work is turned away before that, until a tick comes in good time again.
 */
export class LoopWatch {
  isOverloaded = false;
  readonly #limitMs: number;
  #formerMs = 0;

  /** @param limitMs  lateness that must not be reached */
  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** @param lateMs  how much later than planned a tick came */
  note(lateMs: number): void {
    const formerMs = this.#formerMs;
    this.#formerMs = lateMs;
    const isLow = lateMs < this.#limitMs / 4;
    const predictedMs = lateMs + Math.max(0, lateMs - formerMs);
    if (isLow) this.isOverloaded = false;
    else if (formerMs >= this.#limitMs / 4 && predictedMs > this.#limitMs) this.isOverloaded = true;
  }

  /** After a time without ticks nothing is known. */
  reset(): void {
    this.isOverloaded = false;
    this.#formerMs = 0;
  }
}
