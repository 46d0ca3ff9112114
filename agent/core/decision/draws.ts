// Chance that can be repeated: the numbers of one pick follow from a seed, so that a record of the seed is a record of every
// number drawn.

import type { Random } from '../../clock.ts';

/**
 * One object for all picks of an agent: a pick is synchronous, so nobody draws between `reseed` and its end. Allocates nothing.
 *
 * @see mulberry32, a 32-bit generator by Tommy Ettinger; its period of 2³² is more than a pick can use
 */
export class Draws {
  #state = 0;

  /** @param seed  unsigned 32-bit */
  reseed(seed: number): void {
    this.#state = seed;
  }

  readonly next: Random = () => {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A seed drawn from the agent's own chance. */
export function drawSeed(random: Random): number {
  return (random() * 2 ** 32) >>> 0;
}
