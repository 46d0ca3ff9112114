// Everything out of Consul and everything in again.

import { randomUUID } from 'node:crypto';
import type { PolicyId } from '#contract/policy/policy.ts';
import { refuseUsedStore, sortRevisions } from './backup.ts';
import type { ConsulKv, KvOperation } from './consul-kv.ts';
import {
  digestOf,
  documentFrom,
  type Layout,
  newGeneration,
  type RevisionRecord,
  revisionFrom,
} from './consul-layout.ts';
import { type Backup, type BackupRevision, type PolicySet, policyIdOf, StoreError } from './store.ts';

/** Consul's limit is 64. */
const OPERATIONS_AT_ONCE = 60;

/** The histories that belong to a set. Rejects when a write came between; then read the set again. */
export async function readConsulBackup(kv: ConsulKv, layout: Layout, set: PolicySet): Promise<Backup> {
  const folder = layout.histories();
  const [histories, documents] = await Promise.all([kv.read(folder), kv.read(layout.allDocuments())]);
  const texts = new Map(documents.entries.map(({ key, value }) => [key, value]));
  const revisions = histories.entries.flatMap((entry): BackupRevision[] => {
    const [record] = layout.revisions([entry]);
    if (record === undefined) return [];
    const id = entry.key.slice(folder.length, entry.key.lastIndexOf('/')) as PolicyId;
    if (record.sha256 === null) return [{ id, ...revisionFrom(null, record) }];
    const key = layout.document(id, record.revision, record.sha256);
    const text = texts.get(key);
    if (text === undefined) throw new StoreError('unavailable', `${id} changed while it was read; try again`);
    return [{ id, ...revisionFrom(documentFrom(key, text, record.sha256), record) }];
  });
  if (revisions.some(({ version }) => version > set.version)) {
    throw new StoreError('unavailable', 'a write came between; try again');
  }
  return { ...set, revisions: sortRevisions(revisions) };
}

/**
 * The index comes last: until then there is no set. A control plane that runs would take policies without an index for a lost
 * index, so none may run.
 */
export async function writeConsulBackup(kv: ConsulKv, layout: Layout, backup: Backup): Promise<void> {
  const { entries } = await kv.read(layout.set);
  const found = layout.snapshot(entries);
  refuseUsedStore(found.index?.version ?? found.policies.size);
  const operations: KvOperation[] = [];
  for (const { id, revision, version, action, document, author, message, atEpochMs } of backup.revisions) {
    const text = document === null ? null : JSON.stringify(document);
    const sha256 = text === null ? null : digestOf(text);
    if (text !== null && sha256 !== null) await kv.put(layout.document(id, revision, sha256), text);
    const record: RevisionRecord = {
      revision,
      version,
      action,
      sha256,
      author,
      message,
      at: atEpochMs,
      commit: 'restored',
    };
    operations.push({ verb: 'set', key: layout.historyOf(id, revision), value: JSON.stringify(record) });
  }
  for (const { document, revision, version, author, message, updatedAtEpochMs: at } of backup.policies) {
    const text = JSON.stringify(document);
    const id = policyIdOf(document);
    await kv.put(layout.document(id, revision, digestOf(text)), text);
    const value = JSON.stringify({ revision, version, sha256: digestOf(text), author, message, at });
    operations.push({ verb: 'set', key: layout.policy(id), value });
  }
  if (backup.rollout !== null) {
    operations.push({ verb: 'set', key: layout.rollout, value: JSON.stringify(backup.rollout) });
  }
  operations.push(layout.generationTo(newGeneration()));
  for (let from = 0; from < operations.length; from += OPERATIONS_AT_ONCE) {
    await kv.transact(operations.slice(from, from + OPERATIONS_AT_ONCE));
  }
  const value = JSON.stringify({ version: backup.version, commit: randomUUID() });
  if (await kv.transact([{ verb: 'cas', key: layout.index, value, index: 0 }])) return;
  throw new StoreError('unavailable', 'a control plane runs on this store; stop all of them and restore again');
}
