// The edges that have series. Owns their bound: names can come from requests, so the table must not grow with them.

import { EdgeCounters, SERIES_PER_EDGE } from './edge.ts';
import type { Direction } from './metrics.ts';
import type { SeriesBudget } from './series-budget.ts';

/** The name that further edges are counted under. */
export const OTHER = 'other';
/** Edges named `other` on one side only, before both sides are. */
const MAX_HALF_NAMED = 8;

/**
 * At most `maxEdges` edges by name and a few more for the rest, so that sums over all edges stay right. The varying side is
 * folded: the destination of an outbound edge, the source of an inbound one.
 */
export class EdgeTable {
  readonly #maxEdges: number;
  readonly #budget: SeriesBudget;
  /** Nested, because a joined key would be a new string per request. */
  readonly #byDirection: Record<Direction, Map<string, Map<string, EdgeCounters>>> = {
    outbound: new Map(),
    inbound: new Map(),
  };
  readonly #departed = new Set<EdgeCounters>();
  #size = 0;

  constructor(maxEdges: number, budget: SeriesBudget) {
    this.#maxEdges = maxEdges;
    this.#budget = budget;
  }

  get(direction: Direction, source: string, destination: string): EdgeCounters {
    const known = this.#byDirection[direction].get(source)?.get(destination);
    if (known !== undefined) {
      if (this.#departed.size > 0) this.#departed.delete(known);
      return known;
    }
    if (this.#size < this.#maxEdges && this.#budget.take(SERIES_PER_EDGE)) {
      return this.#add(direction, source, destination);
    }
    this.#budget.fold();
    const folded: [string, string] = direction === 'outbound' ? [source, OTHER] : [OTHER, destination];
    const [foldedSource, foldedDestination] = this.#size < this.#maxEdges + MAX_HALF_NAMED ? folded : [OTHER, OTHER];
    return (
      this.#byDirection[direction].get(folded[0])?.get(folded[1]) ??
      this.#byDirection[direction].get(foldedSource)?.get(foldedDestination) ??
      this.#addOther(direction, foldedSource, foldedDestination)
    );
  }

  all(): EdgeCounters[] {
    return [...this.#tables()].flatMap((table) => [...table.values()]);
  }

  /** Edges to the destination go at once, or as soon as nothing is in flight on them (see `prune`). */
  drop(destination: string): void {
    for (const edge of this.all()) if (edge.destination === destination) this.#departed.add(edge);
    this.prune();
  }

  /** Called before each reading: forgets departed edges that have come to rest. */
  prune(): void {
    for (const edge of this.#departed) {
      if (edge.inFlight > 0) continue;
      this.#departed.delete(edge);
      const bySource = this.#byDirection[edge.direction];
      const table = bySource.get(edge.source);
      if (table?.delete(edge.destination)) {
        this.#size--;
        this.#budget.give(SERIES_PER_EDGE + edge.seriesTaken);
      }
      if (table?.size === 0) bySource.delete(edge.source);
    }
  }

  /** An edge for the rest: there are a few at most, and they get their series even when none are left. */
  #addOther(direction: Direction, source: string, destination: string): EdgeCounters {
    this.#budget.overdraw(SERIES_PER_EDGE);
    return this.#add(direction, source, destination);
  }

  #add(direction: Direction, source: string, destination: string): EdgeCounters {
    const edge = new EdgeCounters(direction, source, destination, this.#budget);
    const bySource = this.#byDirection[direction];
    const table = bySource.get(source) ?? new Map<string, EdgeCounters>();
    table.set(destination, edge);
    bySource.set(source, table);
    this.#size++;
    return edge;
  }

  *#tables(): Iterable<Map<string, EdgeCounters>> {
    yield* this.#byDirection.outbound.values();
    yield* this.#byDirection.inbound.values();
  }
}
