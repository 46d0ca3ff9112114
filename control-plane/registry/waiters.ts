// Blocking queries: holds an answer back until the index it would carry passes the one the client has, or the time is up.
// A waiter leaves on its first reason (fresh, time, client gone, shutdown) and always leaves nothing behind.

import type { Change } from './state/model.ts';
import type { Store } from './state/store.ts';
import type { After, Random } from './time.ts';

export const DEFAULT_WAIT_MS = 300_000;
export const MAX_WAIT_MS = 600_000;
/** Up to a sixteenth is added to a wait, so that clients that asked together do not come back together. */
const JITTER_FRACTION = 16;
/** Each waiter is a socket; beyond this many the query is answered at once with what there is. */
const MAX_WAITERS = 4096;

export interface Wait {
  /** Asked again after every change that concerns the waiter. */
  isFresh(): boolean;
  concerns(change: Change): boolean;
  /** 0 for the default. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

export class Waiters {
  readonly #after: After;
  readonly #random: Random;
  readonly #waiting = new Map<Wait, () => void>();
  readonly #unsubscribe: () => void;
  #isClosed = false;

  constructor(store: Store, after: After, random: Random) {
    this.#after = after;
    this.#random = random;
    this.#unsubscribe = store.onChange((changes) => this.#look(changes));
  }

  get count(): number {
    return this.#waiting.size;
  }

  /** Resolves when the answer should be given; never rejects. */
  wait(wait: Wait): Promise<void> {
    if (this.#isClosed || wait.signal.aborted || wait.isFresh() || this.#waiting.size >= MAX_WAITERS) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        wait.signal.removeEventListener('abort', end);
        this.#waiting.delete(wait);
        resolve();
      };
      const cancel = this.#after(waitWithJitter(wait.waitMs, this.#random), end);
      wait.signal.addEventListener('abort', end, { once: true });
      this.#waiting.set(wait, end);
    });
  }

  /** Lets everybody go; later waits end at once. */
  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    for (const end of [...this.#waiting.values()]) end();
  }

  #look(changes: readonly Change[]): void {
    for (const [wait, end] of [...this.#waiting]) {
      if (changes.some((change) => wait.concerns(change)) && wait.isFresh()) end();
    }
  }
}

/** `wait` bounded to 10 minutes (0: 5 minutes) plus a random share of up to a sixteenth. */
export function waitWithJitter(waitMs: number, random: Random): number {
  const bounded = Math.min(waitMs > 0 ? waitMs : DEFAULT_WAIT_MS, MAX_WAIT_MS);
  return bounded + (random() * bounded) / JITTER_FRACTION;
}
