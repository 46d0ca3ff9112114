// A rate limit as a bucket of tokens that fills evenly. Owns its level; knows no clock.

import type { EffectivePolicy } from '#contract/policy/policy.ts';

/**
 * Holds `burst` tokens at most and gains `requests` every `perMs`, evenly: within any time t at most burst + t × rate requests
 * pass. Constant time, allocates nothing.
 */
export class TokenBucket {
  #perMs = 0;
  #burst = 0;
  #tokens = 0;
  /** Monotonic ms at which #tokens held; -1 before the first use, when it is full. */
  #at = -1;

  /** Takes over the numbers of a policy; what was taken stays taken. */
  configure({ rateLimit }: EffectivePolicy): void {
    const { requests, perMs, burst } = rateLimit;
    const rate = perMs === 0 ? 0 : requests / perMs;
    if (rate === this.#perMs && burst === this.#burst) return;
    // Whoever raises a limit expects it to work at once.
    this.#tokens = Math.min(burst, this.#tokens + Math.max(0, burst - this.#burst));
    this.#perMs = rate;
    this.#burst = burst;
  }

  /** Takes a token if there is one. Time that runs backwards fills nothing. */
  tryTake(now: number): boolean {
    this.#fill(now);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Until there is a token again; 0 when there is one, Infinity when none will come. */
  msUntilNext(now: number): number {
    this.#fill(now);
    if (this.#tokens >= 1) return 0;
    return this.#perMs === 0 ? Number.POSITIVE_INFINITY : (1 - this.#tokens) / this.#perMs;
  }

  #fill(now: number): void {
    if (this.#at < 0) this.#tokens = this.#burst;
    else if (now > this.#at) this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
    if (now > this.#at) this.#at = now;
  }
}
