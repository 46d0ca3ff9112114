// Ring hash: every endpoint has many points on a circle, and a key belongs to the first point at or after its own. When an
// endpoint comes or goes only keys of its own points move.

import { hash32, mix32 } from '../hash.ts';
import type { HashTable, TableMember } from './hash-table.ts';

/** Points for each endpoint of mean weight: shares then differ by some 6 %. */
const POINTS_PER_MEMBER = 256;
/** What is built in some 70 ms; beyond 512 endpoints each has fewer points, and Maglev serves better. */
const MAX_POINTS = 131_072;

/** Points are sorted as hash × this + index, a whole number below 2⁵³. */
const INDEX_SPACE = 2 ** 20;

export class RingTable implements HashTable {
  readonly size: number;
  readonly #points: Uint32Array;
  readonly #owners: Uint32Array;

  /**
   * O(points × log points).
   *
   * @param members  at least one, ids unique, in order of id
   */
  constructor(members: readonly TableMember[]) {
    const sorted = placePoints(members);
    this.size = sorted.length;
    this.#points = new Uint32Array(sorted.length);
    this.#owners = new Uint32Array(sorted.length);
    for (const [at, packed] of sorted.entries()) {
      this.#points[at] = Math.floor(packed / INDEX_SPACE);
      this.#owners[at] = packed % INDEX_SPACE;
    }
  }

  /** Binary search. */
  start(hash: number): number {
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#points[middle] ?? 0) >= hash) high = middle;
      else low = middle + 1;
    }
    return low === this.size ? 0 : low;
  }

  ownerAt(position: number): number {
    return this.#owners[position] ?? 0; // a position is always below size
  }
}

/**
 * Points per unit of weight come in powers of two, so that one endpoint more, which hardly changes the mean weight, does not
 * move the points of all others.
 */
function placePoints(members: readonly TableMember[]): Float64Array {
  const totalWeight = members.reduce((sum, { weight }) => sum + weight, 0);
  const wanted = Math.min(MAX_POINTS, members.length * POINTS_PER_MEMBER);
  const perWeight = 2 ** Math.round(Math.log2(wanted / totalWeight));
  const packed: number[] = [];
  for (const [index, { id, weight }] of members.entries()) {
    const base = hash32(id);
    const count = Math.max(1, Math.round(weight * perWeight));
    for (let point = 0; point < count; point += 1) packed.push(mix32(base ^ mix32(point + 1)) * INDEX_SPACE + index);
  }
  return Float64Array.from(packed).sort();
}
