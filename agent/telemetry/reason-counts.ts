// Counters by destination and reason, for what happens to endpoints: bounded in both, what does not fit counts as `other`.

import { OTHER } from './edge-table.ts';
import type { SeriesBudget } from './series-budget.ts';

/** Reasons that one destination tells apart. */
const MAX_REASONS = 16;

export class ReasonCounts {
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #maxDestinations: number;
  readonly #budget: SeriesBudget;

  constructor(maxDestinations: number, budget: SeriesBudget) {
    this.#maxDestinations = maxDestinations;
    this.#budget = budget;
  }

  add(destination: string, reason: string): void {
    const hasRoom = this.#counts.size < this.#maxDestinations && this.#budget.used < this.#budget.limit;
    const name = this.#counts.has(destination) || hasRoom ? destination : OTHER;
    const reasons = this.#counts.get(name) ?? new Map<string, number>();
    const isOwn = reasons.has(reason) || (reasons.size < MAX_REASONS && this.#budget.take(1));
    const word = isOwn ? reason : OTHER;
    if (name !== destination || !isOwn) this.#budget.fold();
    reasons.set(word, (reasons.get(word) ?? 0) + 1);
    this.#counts.set(name, reasons);
  }

  /** Forgets the series of a destination that left the mesh. */
  drop(destination: string): void {
    const reasons = this.#counts.get(destination);
    if (reasons === undefined) return;
    this.#counts.delete(destination);
    this.#budget.give(reasons.size - (reasons.has(OTHER) ? 1 : 0));
  }

  samples(): { readonly labels: { readonly destination: string; readonly reason: string }; readonly value: number }[] {
    return [...this.#counts].flatMap(([destination, reasons]) =>
      [...reasons].map(([reason, value]) => ({ labels: { destination, reason }, value })),
    );
  }
}
