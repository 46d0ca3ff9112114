// How often Consul is asked and what its index means: the rules that keep a misbehaving server, or a busy one, from being asked
// in a tight loop. Pure; agents and control plane follow the same.

/**
 * Token bucket over the answers of one watch: a burst of two, then one a second for answers that changed nothing and two a
 * second for answers that did. Sustained, no server makes us ask more than twice a second.
 */
export class Pacer {
  readonly #minGapMs: number;
  readonly #unit: number;
  #tokens = 2;
  #refilledAt: number;

  /** @param secondMs  what counts as one second; a test makes it shorter */
  constructor(now: number, minGapMs = 100, secondMs = 1000) {
    this.#refilledAt = now;
    this.#minGapMs = minGapMs;
    this.#unit = secondMs;
  }

  /** Records one answer and says how long to wait before the next question, ms. */
  delayAfterAnswer(now: number, hasChanged: boolean): number {
    this.#tokens = Math.min(2, this.#tokens + (now - this.#refilledAt) / this.#unit);
    this.#refilledAt = now;
    this.#tokens -= hasChanged ? 0.5 : 1;
    return Math.max(this.#minGapMs, this.#tokens < 0 ? -this.#tokens * this.#unit : 0);
  }
}

/** What the X-Consul-Index header of an answer means for the next question. Indexes are 64-bit. */
export interface IndexStep {
  readonly index: bigint;
  readonly wentBackwards: boolean;
}

/**
 * Zero, negative or non-numeric counts as 1, because a question with index 0 never blocks. An index that goes backwards
 * means that Consul lost or restored its state: the next question carries none. An answer without the header is not Consul's
 * (a proxy's page, a captive portal) and must not come here.
 */
export function stepIndex(former: bigint | null, header: string | string[]): IndexStep {
  const value = typeof header === 'string' && /^\d{1,20}$/.test(header) ? BigInt(header) : 0n;
  const index = value < 1n ? 1n : value;
  return { index, wentBackwards: former !== null && index < former };
}
