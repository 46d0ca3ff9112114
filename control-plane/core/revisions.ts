// Pure arithmetic of conditional writes: what an If-Match means, and what the set would be after a change.

import type { PolicyDocument, PolicyId } from '#contract/policy/policy.ts';

/** What must hold of the document in force; the same union as the store's WriteCondition. */
export type Condition =
  | { readonly kind: 'any' }
  | { readonly kind: 'exists' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'revision'; readonly revision: number };

/** `"7"`, the strong entity tag of revision 7. */
export function etagOf(revision: number): string {
  return `"${revision}"`;
}

/**
 * Reads the two conditional headers of RFC 9110 §13.1.
 *
 * `If-Match: "7"` revision 7 · `If-Match: *` any revision, but one · `If-None-Match: *` only when there is none.
 *
 * @returns null when a header has a form that can never hold here: a weak tag, a list, both headers at once
 */
export function parseCondition(ifMatch: string | undefined, ifNoneMatch: string | undefined): Condition | null {
  if (ifMatch !== undefined && ifNoneMatch !== undefined) return null;
  if (ifNoneMatch !== undefined) return ifNoneMatch.trim() === '*' ? { kind: 'absent' } : null;
  if (ifMatch === undefined) return { kind: 'any' };
  if (ifMatch.trim() === '*') return { kind: 'exists' };
  const revision = /^"([1-9]\d{0,14})"$/.exec(ifMatch.trim())?.[1];
  return revision === undefined ? null : { kind: 'revision', revision: Number(revision) };
}

/** The documents after `document` was put. */
export function withDocument(documents: readonly PolicyDocument[], document: PolicyDocument): PolicyDocument[] {
  return [...withoutDocument(documents, `${document.kind}/${document.metadata.name}`), document];
}

/** The documents after the one named `id` was removed. */
export function withoutDocument(documents: readonly PolicyDocument[], id: PolicyId): PolicyDocument[] {
  return documents.filter((other) => `${other.kind}/${other.metadata.name}` !== id);
}
