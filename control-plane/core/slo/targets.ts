// What the policies in force promise, service by service, looked up once per set.

import type { PolicyDocument } from '#contract/policy/policy.ts';
import { type SloTarget, sloOf } from '#contract/policy/slo.ts';
import { BUDGET_LIMIT } from './part.ts';

export class SloTargets {
  #documents: readonly PolicyDocument[] = [];
  readonly #known = new Map<string, SloTarget>();

  use(documents: readonly PolicyDocument[]): void {
    if (documents === this.#documents) return;
    this.#documents = documents;
    this.#known.clear();
  }

  of(service: string): SloTarget {
    const known = this.#known.get(service);
    if (known !== undefined) return known;
    const found = sloOf(this.#documents, service);
    // Agents say the names, and may say any number of them.
    if (this.#known.size >= BUDGET_LIMIT) this.#known.clear();
    this.#known.set(service, found);
    return found;
  }
}
