// The retry budget of one service: retries as a share of recent requests, so that an outage is not multiplied by retrying.
// Owns counts only; the exchange asks it after decide.ts has said that a retry would be safe.

import type { EffectivePolicy } from '#contract/policy/policy.ts';

/** Slots of the sliding window; the window forgets in steps of a tenth of its interval. */
const SLOT_COUNT = 10;

/**
 * A window over the last `intervalMs`, to a tenth of it (nine whole slots and the one under way):
 *
 *   balance = percent / 100 × requests + minRetriesPerSecond × interval − retries
 *
 * so that within the window retries ≤ percent of the requests + the floor. An idle start with 10/s over 10 s holds 100 retries;
 * 100 requests a second at 20 % add 20 a second.
 *
 * @see Finagle RetryBudget (deposit, withdraw, reserve over a windowed adder)
 */
export class RetryBudget {
  #ratio = 0;
  #intervalMs = 10_000;
  #floor = 0;
  /** Absolute number of the slot that each position holds; a position with an old number counts as empty. */
  readonly #slots = new Float64Array(SLOT_COUNT).fill(-1);
  readonly #requests = new Float64Array(SLOT_COUNT);
  readonly #retries = new Float64Array(SLOT_COUNT);

  /** Takes over the numbers of a policy. What was counted stays, unless the interval changed its meaning. */
  configure(policy: EffectivePolicy): void {
    const { percent, intervalMs, minRetriesPerSecond } = policy.retries.budget;
    if (intervalMs !== this.#intervalMs) this.#slots.fill(-1);
    this.#ratio = percent / 100;
    this.#intervalMs = intervalMs;
    this.#floor = (minRetriesPerSecond * intervalMs) / 1000;
  }

  /** Counts one request of the application (not its retries). Constant time. */
  deposit(now: number): void {
    const at = this.#position(now);
    this.#requests[at] = (this.#requests[at] ?? 0) + 1;
  }

  /** Takes one retry if at least one is left. */
  tryWithdraw(now: number): boolean {
    // Sums of percents are inexact in binary: 5 × 0.2 must buy one retry.
    if (this.balance(now) < 1 - 1e-9) return false;
    const at = this.#position(now);
    this.#retries[at] = (this.#retries[at] ?? 0) + 1;
    return true;
  }

  /** Retries left at `now`; a fraction, negative only after a policy has lowered the budget. Changes nothing. */
  balance(now: number): number {
    const newest = this.#slotNumber(now);
    let requests = 0;
    let retries = 0;
    for (let at = 0; at < SLOT_COUNT; at++) {
      const slot = this.#slots[at] ?? -1;
      if (slot < 0 || slot <= newest - SLOT_COUNT) continue;
      requests += this.#requests[at] ?? 0;
      retries += this.#retries[at] ?? 0;
    }
    return this.#ratio * requests + this.#floor - retries;
  }

  #slotNumber(now: number): number {
    return Math.floor((now * SLOT_COUNT) / this.#intervalMs);
  }

  /** Position of the slot of `now`, emptied first if it held an older one. */
  #position(now: number): number {
    const slot = this.#slotNumber(now);
    const at = slot % SLOT_COUNT;
    if (this.#slots[at] !== slot) {
      this.#slots[at] = slot;
      this.#requests[at] = 0;
      this.#retries[at] = 0;
    }
    return at;
  }
}
