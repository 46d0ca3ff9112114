// Problems that only show when documents are seen together.

import type { PolicyDocument } from './policy.ts';
import type { Problem } from './problem.ts';

/** Problems between documents that are valid each for itself; paths begin with `Kind/name: `. */
export function checkConsistency(documents: readonly PolicyDocument[]): Problem[] {
  const seen = new Set<string>();
  const problems: Problem[] = [];
  for (const { kind, metadata } of documents) {
    const id = `${kind}/${metadata.name}`;
    if (seen.has(id)) {
      problems.push({ code: 'OTR_DUPLICATE', path: `${id}: metadata.name`, message: `${id} is there twice` });
    }
    seen.add(id);
  }
  return problems;
}
