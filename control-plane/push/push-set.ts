// What there is to push: the set in force and, while a change is rolled out in steps, the set with it for those that are in.

import type { PolicyDocument } from '#contract/policy/policy.ts';
import { isActive, isInCohort, stableDocuments } from '../core/rollout.ts';
import type { PolicySet } from '../store/store.ts';

export interface PushSet {
  readonly version: number;
  /** The store's, '' when it has none yet. */
  readonly generation: string;
  /** For everybody, or for everybody outside the trial. */
  readonly documents: readonly PolicyDocument[];
  readonly trial: Trial | null;
}

export interface Trial {
  readonly documents: readonly PolicyDocument[];
  readonly isIn: (agentId: string) => boolean;
}

/**
 * Lists that hold the same as before are the same arrays as before: by that the hub sees whom a step of a rollout leaves as they
 * are.
 */
export function pushSetOf({ version, generation, policies, rollout }: PolicySet, former: PushSet | null): PushSet {
  const known = former === null ? [] : [former.documents, ...(former.trial === null ? [] : [former.trial.documents])];
  const texts = known.map((documents) => textOf(documents));
  const keep = (documents: readonly PolicyDocument[]): readonly PolicyDocument[] => {
    const text = textOf(documents);
    return known[texts.indexOf(text)] ?? documents;
  };
  const documents = policies.map(({ document }) => document);
  if (!isActive(rollout)) return { version, generation, documents: keep(documents), trial: null };
  return {
    version,
    generation,
    documents: keep(stableDocuments(documents, rollout)),
    trial: { documents: keep(documents), isIn: (agentId) => isInCohort(rollout, agentId) },
  };
}

/** In one order: what was put back stands at the end of the list. */
function textOf(documents: readonly PolicyDocument[]): string {
  return documents
    .map((document) => JSON.stringify(document))
    .sort()
    .join('\n');
}
