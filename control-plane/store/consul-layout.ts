// How policies lie in Consul, and how they are read from there. Everything that changes is under `set/`, small, and read in one
// call as of one moment; documents lie beside it under keys that are written once and never changed.
//
//   set/index                              {version, commit}: compared and swapped by every change
//   set/generation                         {generation}: new with the first change and with a restored backup
//   set/rollout                            the staged change
//   set/policies/KIND/NAME                 {revision, version, sha256, author, message, at}
//   history/KIND/NAME/000000000007         the same of one revision, with {action, commit}
//   documents/KIND/NAME/000000000007/SHA   the text

import { createHash, randomBytes } from 'node:crypto';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { Rollout } from '../core/rollout.ts';
import type { KvEntry, KvOperation } from './consul-kv.ts';
import { type PolicyRevision, type StoredPolicy, StoreError } from './store.ts';

/** What is kept about a document besides its text. */
export interface PolicyRecord {
  readonly revision: number;
  readonly version: number;
  readonly sha256: string;
  readonly author: string;
  readonly message: string;
  readonly at: number;
}

export interface RevisionRecord extends Omit<PolicyRecord, 'sha256'> {
  readonly action: 'put' | 'remove';
  /** Null where the document was removed. */
  readonly sha256: string | null;
  /** Names the write, so that a writer without an answer can see whether it was the one. */
  readonly commit: string;
}

export interface IndexRecord {
  readonly version: number;
  readonly commit: string;
}

/** What `set/` holds at one moment. */
export interface Snapshot {
  readonly index: IndexRecord | null;
  /** For compare-and-swap; 0 when there is no index, which to Consul means "must not exist". */
  readonly indexModifyIndex: number;
  /** Null: nothing was written since there are generations. */
  readonly generation: string | null;
  /** By `KIND/NAME`. */
  readonly policies: ReadonlyMap<string, PolicyRecord>;
  readonly rollout: Rollout | null;
}

export class Layout {
  readonly #prefix: string;

  /** @param prefix  with its slash at the end */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get set(): string {
    return `${this.#prefix}set/`;
  }

  get index(): string {
    return `${this.set}index`;
  }

  get generation(): string {
    return `${this.set}generation`;
  }

  get rollout(): string {
    return `${this.set}rollout`;
  }

  policy(id: string): string {
    return `${this.set}policies/${id}`;
  }

  histories(): string {
    return `${this.#prefix}history/`;
  }

  history(id: string): string {
    return `${this.histories()}${id}/`;
  }

  historyOf(id: string, revision: number): string {
    return this.history(id) + padded(revision);
  }

  allDocuments(): string {
    return `${this.#prefix}documents/`;
  }

  documents(id: string): string {
    return `${this.allDocuments()}${id}/`;
  }

  /** Also what losing writers of the same revision left; all of it goes when the revision goes. */
  documentsOf(id: string, revision: number): string {
    return `${this.documents(id)}${padded(revision)}/`;
  }

  document(id: string, revision: number, sha256: string): string {
    return this.documentsOf(id, revision) + sha256;
  }

  /** Names the next version, provided that the index is still the one of the snapshot. */
  indexTo(version: number, commit: string, { indexModifyIndex }: Snapshot): KvOperation {
    return { verb: 'cas', key: this.index, value: JSON.stringify({ version, commit }), index: indexModifyIndex };
  }

  generationTo(generation: string): KvOperation {
    return { verb: 'set', key: this.generation, value: JSON.stringify({ generation }) };
  }

  rolloutTo(rollout: Rollout): KvOperation {
    return { verb: 'set', key: this.rollout, value: JSON.stringify(rollout) };
  }

  /** Takes a revision out of the history. */
  expire(id: string, revision: number): KvOperation[] {
    if (revision < 1) return [];
    return [
      { verb: 'delete', key: this.historyOf(id, revision) },
      { verb: 'delete-tree', key: this.documentsOf(id, revision) },
    ];
  }

  /** @throws StoreError `unusable` when something else was written there */
  snapshot(entries: readonly KvEntry[]): Snapshot {
    const policies = new Map<string, PolicyRecord>();
    let index: IndexRecord | null = null;
    let indexModifyIndex = 0;
    let generation: string | null = null;
    let rollout: Rollout | null = null;
    const folder = this.policy('');
    for (const { key, value, modifyIndex } of entries) {
      if (key === this.index) {
        index = record<IndexRecord>(key, value, ['version', 'commit']);
        indexModifyIndex = modifyIndex;
      } else if (key === this.generation) {
        generation = record<{ readonly generation: string }>(key, value, ['generation']).generation;
      } else if (key === this.rollout) rollout = record<Rollout>(key, value, ['id', 'policy', 'state', 'stage']);
      else if (key.startsWith(folder)) {
        const policy = record<PolicyRecord>(key, value, ['revision', 'version', 'sha256', 'author', 'message', 'at']);
        policies.set(key.slice(folder.length), policy);
      }
    }
    return { index, indexModifyIndex, generation, policies, rollout };
  }

  revisions(entries: readonly KvEntry[]): RevisionRecord[] {
    return entries.map(({ key, value }) =>
      record<RevisionRecord>(key, value, ['revision', 'version', 'action', 'commit']),
    );
  }
}

/** @throws StoreError `unusable` when the text is not what was written */
export function documentFrom(key: string, text: string, sha256: string): PolicyDocument {
  if (digestOf(text) !== sha256) throw damaged(key, 'does not have the checksum that was written with it');
  // Its checksum says that this is the text which `put` wrote.
  return JSON.parse(text) as PolicyDocument;
}

export function policyFrom(
  document: PolicyDocument,
  { revision, version, author, message, at }: PolicyRecord,
): StoredPolicy {
  return { document, revision, version, updatedAtEpochMs: at, author, message };
}

export function revisionFrom(document: PolicyDocument | null, of: RevisionRecord): PolicyRevision {
  const { revision, version, action, author, message, at } = of;
  return { revision, version, action, document, author, message, atEpochMs: at };
}

/** A name that no other store has. */
export function newGeneration(): string {
  return randomBytes(6).toString('hex');
}

export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Padded, so that keys sort as numbers do. */
function padded(revision: number): string {
  return String(revision).padStart(12, '0');
}

/** Only this program writes here; still a hand may have, and then it is better to stop than to push half a set. */
function record<T>(key: string, value: string, fields: readonly (keyof T & string)[]): T {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    parsed = null;
  }
  const missing = fields.find(
    (field) => typeof parsed !== 'object' || parsed === null || !Object.hasOwn(parsed, field),
  );
  if (missing !== undefined) throw damaged(key, `has no ${missing}`);
  return parsed as T;
}

function damaged(key: string, what: string): StoreError {
  return new StoreError('unusable', `policy store in Consul is damaged: ${key} ${what}; restore it from a backup`);
}
