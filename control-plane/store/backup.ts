// A backup as a text: everything a store holds, in a form that any store takes, with a checksum so that half a file is noticed.

import { createHash } from 'node:crypto';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { type Backup, type BackupRevision, policyIdOf, type StoredPolicy, StoreError } from './store.ts';

const FORMAT = 'outrigger-backup/1';

/** One line of JSON. */
export function writeBackup(backup: Backup, atEpochMs: number): string {
  const content = JSON.stringify(backup);
  return `${JSON.stringify({ format: FORMAT, atEpochMs, sha256: digest(content), content: backup })}\n`;
}

/** @throws StoreError `unusable` that says what is wrong with the file */
export function readBackup(text: string): Backup {
  const file = parse(text);
  if (file.format !== FORMAT) throw unusable(`its format is ${JSON.stringify(file.format)}, expected "${FORMAT}"`);
  if (digest(JSON.stringify(file.content)) !== file.sha256) throw unusable('its checksum is another one');
  // The checksum says that writeBackup made it.
  const backup = file.content as Backup;
  for (const { document } of backup.policies) {
    // What was valid when it was written need not be valid for this version.
    const parsed = parsePolicy(document);
    const [problem] = parsed.ok ? [] : parsed.problems;
    if (problem !== undefined) throw unusable(`${policyIdOf(document)}: ${problem.path} ${problem.message}`);
  }
  return backup;
}

/** Newest last, so that what is put in after one another ends as it was. */
export function sortRevisions(revisions: readonly BackupRevision[]): BackupRevision[] {
  return [...revisions].sort((a, b) => a.version - b.version);
}

export function sortPolicies(policies: readonly StoredPolicy[]): StoredPolicy[] {
  return [...policies].sort((a, b) => (policyIdOf(a.document) < policyIdOf(b.document) ? -1 : 1));
}

/** @throws StoreError unless nothing was ever written */
export function refuseUsedStore(version: number): void {
  if (version === 0) return;
  const fix = 'a backup goes only into an empty one; move the file or choose another prefix';
  throw new StoreError('unusable', `this store is at version ${version}; ${fix}`);
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Not JSON is the same mistake as JSON that is no object.
  }
  throw unusable('it is not the JSON that `outrigger store backup` writes');
}

function unusable(what: string): StoreError {
  return new StoreError('unusable', `the backup cannot be used: ${what}`);
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
