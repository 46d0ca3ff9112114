// What the control plane asks of the place where policies are kept. Every promise here settles after the change is durable.
// No rule about policies lives here: documents arrive parsed, and whether a set is consistent was judged by the caller.

import type { PolicyDocument, PolicyId } from '#contract/policy/policy.ts';
import type { Rollout } from '../core/rollout.ts';

/** A document in force. */
export interface StoredPolicy {
  readonly document: PolicyDocument;
  /** Counts the accepted changes of this one document from 1; never reused, not even after a removal. */
  readonly revision: number;
  /** Version of the whole set that this revision created. */
  readonly version: number;
  readonly updatedAtEpochMs: number;
  /** Name of the token that wrote it, `anonymous` without authentication. */
  readonly author: string;
  /** Why, in the author's words; empty when nothing was said. */
  readonly message: string;
}

/** All documents in force at one version. Version 0: nothing was ever written. */
export interface PolicySet {
  readonly version: number;
  /**
   * Names this line of versions: another one from when the store is created, and from when a backup is restored into it. '' before
   * the first change.
   */
  readonly generation: string;
  readonly policies: readonly StoredPolicy[];
  /** The staged change that is under way, or the last one; null when there never was one. */
  readonly rollout: Rollout | null;
}

/** One line of a document's history; `document` is null where it was removed. */
export interface PolicyRevision {
  readonly revision: number;
  readonly version: number;
  readonly action: 'put' | 'remove';
  readonly document: PolicyDocument | null;
  readonly author: string;
  readonly message: string;
  readonly atEpochMs: number;
}

/** What must hold of the stored document for a write to happen. */
export type WriteCondition =
  | { readonly kind: 'any' }
  | { readonly kind: 'exists' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'revision'; readonly revision: number };

export interface WriteOptions {
  readonly ifMatch: WriteCondition;
  /**
   * Version of the set that the caller judged. The write is refused as `moved` when another write came between, so that
   * two writes, each consistent by itself, cannot make an inconsistent set together.
   */
  readonly ifVersion: number;
  readonly author: string;
  readonly message?: string;
  /** Kept with the change, in the same commit; absent: the one that is there stays. */
  readonly rollout?: Rollout;
}

export type WriteResult =
  /** Durable. `isChanged` is false when the document was already exactly this: nothing moved, no new version. */
  | {
      readonly kind: 'written';
      readonly revision: number;
      readonly version: number;
      readonly isChanged: boolean;
      readonly isCreated: boolean;
    }
  /** The condition does not hold; the revision in force, or null when there is no such document. */
  | { readonly kind: 'stale'; readonly revision: number | null }
  | { readonly kind: 'moved'; readonly version: number }
  | { readonly kind: 'missing' };

export type RolloutWriteResult =
  | { readonly kind: 'written'; readonly version: number }
  | { readonly kind: 'moved'; readonly version: number };

export interface BackupRevision extends PolicyRevision {
  readonly id: PolicyId;
}

/** All that a store holds. */
export interface Backup extends PolicySet {
  /** Oldest first. */
  readonly revisions: readonly BackupRevision[];
}

/** Revisions of one document that are kept; older ones go with the next write. */
export const HISTORY_LIMIT = 100;

/** Implementations reject with StoreError and nothing else. */
export interface Store {
  list(): Promise<PolicySet>;
  get(id: PolicyId): Promise<StoredPolicy | null>;
  put(document: PolicyDocument, options: WriteOptions): Promise<WriteResult>;
  remove(id: PolicyId, options: WriteOptions): Promise<WriteResult>;
  /** Keeps a new state of the rollout, as a version of its own. Only `written` and `moved` come back. */
  putRollout(rollout: Rollout, options: { readonly ifVersion: number }): Promise<RolloutWriteResult>;
  /** Newest first, at most HISTORY_LIMIT. Empty when the document never existed. */
  history(id: PolicyId): Promise<readonly PolicyRevision[]>;
  /** Asks the place itself, so that it fails while nothing can be written. */
  version(): Promise<number>;
  /**
   * Called after each durable change, whoever made it, with the new set; versions grow, except when the store was restored
   * from a backup. Returns how to stop listening.
   */
  onChange(listener: (set: PolicySet) => void): () => void;
  /** Everything as of one version. */
  backup(): Promise<Backup>;
  /** Only into a store in which nothing was ever written, and with no control plane running on it. */
  restore(backup: Backup): Promise<void>;
  close(): Promise<void>;
}

/**
 * Why the store cannot be opened or written.
 *
 * `full`: no space left. `unavailable`: input/output error or lock; nothing was changed, later writes reopen first.
 * `unknown`: the change was sent and no answer came back, so it may be there or still come.
 * `unusable`: damaged, foreign, newer or read-only; the process must not serve an empty set in its place.
 * `too_large`: this one document cannot be kept.
 */
export class StoreError extends Error {
  readonly kind: 'full' | 'unavailable' | 'unknown' | 'unusable' | 'too_large';

  constructor(kind: StoreError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
    this.kind = kind;
  }
}

/** `ServicePolicy/payments`. */
export function policyIdOf(document: PolicyDocument): PolicyId {
  return `${document.kind}/${document.metadata.name}`;
}
