// How often an address may fail to authenticate.

/** Failed attempts of one address within FAILURE_WINDOW_MS before further ones are 429. A valid token always passes. */
export const FAILURE_LIMIT = 10;
export const FAILURE_WINDOW_MS = 60_000;
const ADDRESS_LIMIT = 10_000;

/** Counts failures per address in fixed windows; a full table forgets the oldest address first. */
export class FailureLimiter {
  readonly #now: () => number;
  readonly #windows = new Map<string, { since: number; count: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** How long the address has to wait, 0 when it has not failed too often. */
  waitMs(address: string): number {
    const window = this.#windows.get(address);
    if (window === undefined) return 0;
    const leftMs = window.since + FAILURE_WINDOW_MS - this.#now();
    if (leftMs > 0) return window.count >= FAILURE_LIMIT ? leftMs : 0;
    this.#windows.delete(address);
    return 0;
  }

  count(address: string): void {
    const window = this.#windows.get(address) ?? { since: this.#now(), count: 0 };
    window.count++;
    this.#windows.set(address, window);
    if (this.#windows.size <= ADDRESS_LIMIT) return;
    for (const oldest of this.#windows.keys()) {
      this.#windows.delete(oldest);
      break;
    }
  }
}
