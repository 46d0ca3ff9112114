// Trying again: how long to wait after a fault, and when to give up. Time and chance are given.

import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from './store.ts';

const FIRST_BACK_OFF_MS = 100;
const LONGEST_BACK_OFF_MS = 5_000;

export interface PatienceOptions {
  readonly now: () => number;
  readonly random: () => number;
  /** Ends every wait. */
  readonly signal: AbortSignal;
}

/** When a piece of work must be over: for those who look at the clock, and for those who wait. */
export interface Deadline {
  readonly at: number;
  readonly signal: AbortSignal;
}

export class Patience {
  readonly #options: PatienceOptions;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  deadline(afterMs: number): Deadline {
    const { now, signal } = this.#options;
    return {
      at: now() + afterMs,
      signal: AbortSignal.any([signal, AbortSignal.timeout(Math.max(0, Math.ceil(afterMs)))]),
    };
  }

  /**
   * Runs until it succeeds. What runs should pass the deadline's signal on, or it may end later by as long as it takes.
   *
   * @throws the last StoreError once the time is over, and at once what waiting does not cure; of kind `unknown` when any of
   *         the attempts may have done what it should
   */
  async until<T>({ at, signal }: Deadline, run: () => Promise<T>): Promise<T> {
    let isInDoubt = false;
    for (let failures = 1; ; failures++) {
      try {
        return await run();
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        isInDoubt ||= error.kind === 'unknown';
        const isPassing = error.kind === 'unavailable' || error.kind === 'unknown';
        const backOffMs = this.#backOff(failures);
        if (!isPassing || signal.aborted || this.#options.now() + backOffMs >= at) {
          throw isInDoubt ? new StoreError('unknown', error.message, { cause: error.cause }) : error;
        }
        await this.pause(backOffMs);
      }
    }
  }

  async afterFailure(failures: number): Promise<void> {
    await this.pause(this.#backOff(failures));
  }

  /** Half fixed, half chance: replicas that lost one Consul must not come back in the same instant. */
  #backOff(failures: number): number {
    const full = Math.min(LONGEST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** Math.min(16, failures - 1));
    return full / 2 + (full / 2) * this.#options.random();
  }

  /** Waits, or returns early when stopped. */
  async pause(ms: number): Promise<void> {
    // The only rejection is our own signal, after which every loop looks at it.
    if (ms > 0) await sleep(ms, undefined, { signal: this.#options.signal }).catch(() => undefined);
  }
}
