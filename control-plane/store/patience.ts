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

export class Patience {
  readonly #options: PatienceOptions;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  /** Runs until it succeeds. @throws the last StoreError once the time is over, and at once what waiting does not cure */
  async until<T>(deadlineMs: number, run: () => Promise<T>): Promise<T> {
    const { now, signal } = this.#options;
    const deadline = now() + deadlineMs;
    for (let failures = 1; ; failures++) {
      try {
        return await run();
      } catch (error) {
        const isPassing = error instanceof StoreError && error.kind === 'unavailable';
        if (!isPassing || now() >= deadline || signal.aborted) throw error;
        await this.afterFailure(failures);
      }
    }
  }

  /** Half fixed, half chance: replicas that lost one Consul must not come back in the same instant. */
  async afterFailure(failures: number): Promise<void> {
    const full = Math.min(LONGEST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** Math.min(16, failures - 1));
    await this.pause(full / 2 + (full / 2) * this.#options.random());
  }

  /** Waits, or returns early when stopped. */
  async pause(ms: number): Promise<void> {
    // The only rejection is our own signal, after which every loop looks at it.
    if (ms > 0) await sleep(ms, undefined, { signal: this.#options.signal }).catch(() => undefined);
  }
}
