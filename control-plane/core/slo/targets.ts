// What the policies in force promise, service by service, looked up once per set.

import type { PolicyDocument } from '#contract/policy/policy.ts';
import { type SloTarget, sloOf } from '#contract/policy/slo.ts';

export class SloTargets {
  #documents: readonly PolicyDocument[] = [];
  readonly #known = new Map<string, SloTarget>();

  use(documents: readonly PolicyDocument[]): void {
    if (documents === this.#documents) return;
    this.#documents = documents;
    this.#known.clear();
  }

  of(service: string): SloTarget {
    const known = this.#known.get(service) ?? sloOf(this.#documents, service);
    this.#known.set(service, known);
    return known;
  }
}
