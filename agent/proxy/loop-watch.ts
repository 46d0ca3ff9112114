// Whether the event loop falls behind by work of its own: fed with the lateness of the one timer that is there anyway. Pure;
// decides nothing about requests.

/** From this share of the time on the thread was busy itself; below, others had the processor. */
const OWN_SHARE = 0.75;
/** Late turns in a row after which it no longer matters whose fault it is: a container's quota looks like a busy neighbour. */
const LONG_RUN = 8;

/**
 * One late tick is a collection of garbage or a whim of the scheduler. Two in a row that grow by our own work are a queue, and the
 * third would be beyond the limit: work is turned away before that, until a tick comes in good time again.
 */
export class LoopWatch {
  isOverloaded = false;
  /** The last tick was late by half of the limit or more: what matters least goes first. */
  isStrained = false;
  readonly #limitMs: number;
  #formerMs = 0;
  #lateInARow = 0;

  /** @param limitMs  lateness that must not be reached */
  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /**
   * @param lateMs  how much later than planned a tick came
   * @param share   CPU time of the thread since the tick before, as a share of the time that passed, 0 to 1
   */
  note(lateMs: number, share: number): void {
    const formerMs = this.#formerMs;
    this.#formerMs = lateMs;
    this.isStrained = lateMs * 2 >= this.#limitMs;
    this.#lateInARow = lateMs * 2 >= this.#limitMs ? this.#lateInARow + 1 : 0;
    if (lateMs < this.#limitMs / 4) {
      this.isOverloaded = false;
      return;
    }
    const predictedMs = lateMs + Math.max(0, lateMs - formerMs);
    const isQueue = share >= OWN_SHARE && formerMs >= this.#limitMs / 4 && predictedMs > this.#limitMs;
    if (isQueue || this.#lateInARow >= LONG_RUN) this.isOverloaded = true;
  }

  /** After a time without ticks nothing is known. */
  reset(): void {
    this.isOverloaded = false;
    this.isStrained = false;
    this.#formerMs = 0;
    this.#lateInARow = 0;
  }
}
