// Maglev hashing: a table of prime size in which every endpoint takes turns at claiming slots in an order of its own. One read
// a lookup, shares within about a hundredth while there are a hundred slots or more for each endpoint.

import { hash32 } from '../hash.ts';
import type { HashTable, TableMember } from './hash-table.ts';

/** The paper's and Envoy's size; a hundred slots each for 655 endpoints. */
export const MAGLEV_SIZE = 65_537;

const OFFSET_SEED = 0x9e37_79b9;
const SKIP_SEED = 0x85eb_ca77;

export class MaglevTable implements HashTable {
  readonly size: number;
  readonly #owners: Uint32Array;

  /**
   * O(size), whatever the number of members: some 5 ms for 65,537 slots. The order of `members` does not matter for who owns a
   * slot, only their ids and weights do.
   *
   * @param members  at least one, ids unique, in order of id
   * @param size     prime
   */
  constructor(members: readonly TableMember[], size = MAGLEV_SIZE) {
    this.size = size;
    this.#owners = fill(members, size);
  }

  start(hash: number): number {
    return hash % this.size;
  }

  ownerAt(position: number): number {
    return this.#owners[position] ?? 0; // a position is always below size
  }
}

/**
 * Members claim in turn; one of the largest weight in every round, the others in the share of rounds that their weight is of
 * it. Envoy's way of giving Maglev weights.
 */
function fill(members: readonly TableMember[], size: number): Uint32Array {
  const weights = Float64Array.from(members, ({ weight }) => weight);
  const next = Int32Array.from(members, ({ id }) => hash32(id, OFFSET_SEED) % size);
  const skip = Int32Array.from(members, ({ id }) => (hash32(id, SKIP_SEED) % (size - 1)) + 1);
  const maxWeight = weights.reduce((max, weight) => Math.max(max, weight), 1);
  const due = new Float64Array(members.length);
  const owners = new Uint32Array(size);
  const isTaken = new Uint8Array(size);
  let filled = 0;
  // Every index below is one of an array of that length.
  for (let round = 1; filled < size; round += 1) {
    for (let index = 0; index < members.length && filled < size; index += 1) {
      if (round * (weights[index] as number) < (due[index] as number)) continue;
      due[index] = (due[index] as number) + maxWeight;
      const step = skip[index] as number;
      let slot = next[index] as number;
      while (isTaken[slot] === 1) slot = slot + step < size ? slot + step : slot + step - size;
      isTaken[slot] = 1;
      owners[slot] = index;
      next[index] = slot + step < size ? slot + step : slot + step - size;
      filled += 1;
    }
  }
  return owners;
}
