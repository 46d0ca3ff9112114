// What a write comes to, given what is stored: the same answer whatever the place. Pure; each store calls it inside its own
// transaction.

import type { StoredPolicy, WriteCondition, WriteOptions, WriteResult } from './store.ts';

/** A change about to be made; `document` null removes. */
export interface Change {
  readonly kind: string;
  readonly name: string;
  /** As JSON. */
  readonly document: string | null;
}

/**
 * Conditions first, then the version: whoever holds an old revision hears that, and not that somebody was quicker.
 *
 * @returns the answer when nothing is to be written, else null
 */
export function decideWrite(
  change: Change,
  current: StoredPolicy | null,
  version: number,
  { ifMatch, ifVersion }: WriteOptions,
): WriteResult | null {
  if (!holds(ifMatch, current)) return { kind: 'stale', revision: current?.revision ?? null };
  if (current === null && change.document === null) return { kind: 'missing' };
  if (version !== ifVersion) return { kind: 'moved', version };
  if (current !== null && JSON.stringify(current.document) === change.document) {
    return { kind: 'written', revision: current.revision, version, isChanged: false, isCreated: false };
  }
  return null;
}

function holds(condition: WriteCondition, current: StoredPolicy | null): boolean {
  switch (condition.kind) {
    case 'any':
      return true;
    case 'exists':
      return current !== null;
    case 'absent':
      return current === null;
    case 'revision':
      return current?.revision === condition.revision;
  }
}
