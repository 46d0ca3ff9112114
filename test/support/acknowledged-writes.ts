// Writers that remember what was acknowledged, and the question afterwards whether all of it is there, whole.

import type { PolicyRevision, Store } from '../../control-plane/store/store.ts';

/** An acknowledged change. */
export interface Ack {
  readonly name: string;
  readonly revision: number;
  readonly version: number;
  /** The number that only this write has; it is in the document. */
  readonly wrote: number;
}

export const DOCUMENTS_EACH = 4;
/** Versions whose every revision must still be in the histories, whatever the documents that made them. */
const CHECKED_VERSIONS = 100;

/** Puts one document of a writer. @returns the acknowledgement, or the status of a refusal. Rejects without an answer */
export async function writeOnce(url: string, writer: number, count: number, wrote: number): Promise<Ack | number> {
  const name = `w${writer}-${count % DOCUMENTS_EACH}`;
  const metadata = { name };
  const spec = { timeouts: { request: `${wrote}ms` } };
  const response = await fetch(`${url}/v1/policies/ServicePolicy/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata, spec }),
    signal: AbortSignal.timeout(15_000),
  });
  const answer = (await response.json()) as { revision: number; version: number };
  if (!response.ok) return response.status;
  return { name, revision: answer.revision, version: answer.version, wrote };
}

/** @returns what is wrong with the store after `acks` were given to so many writers; `others` are further documents with versions */
export async function faultsOf(
  store: Store,
  writers: number,
  acks: readonly Ack[],
  others: readonly string[] = [],
): Promise<string[]> {
  const faults: string[] = [];
  const { version, policies } = await store.list();
  const revisions = new Map<string, readonly PolicyRevision[]>();
  const makers = new Map<number, number>();
  for (const name of namesOf(writers)) {
    const history = await store.history(`ServicePolicy/${name}`);
    revisions.set(name, history);
    for (const one of history) makers.set(one.version, (makers.get(one.version) ?? 0) + 1);
    const current = policies.find(({ document }) => document.metadata.name === name);
    const isWhole = current?.revision === history[0]?.revision && current?.version === history[0]?.version;
    if (!isWhole) faults.push(`${name} is at ${current?.revision}, its history at ${history[0]?.revision}`);
  }
  for (const name of others) {
    for (const one of await store.history(`ServicePolicy/${name}`)) {
      makers.set(one.version, (makers.get(one.version) ?? 0) + 1);
    }
  }
  for (let one = Math.max(1, version - CHECKED_VERSIONS + 1); one <= version; one++) {
    if (makers.get(one) !== 1) faults.push(`version ${one} of ${version} was made ${makers.get(one) ?? 0} times`);
  }
  for (const { name, revision, version: acked, wrote } of acks) {
    if (acked > version) faults.push(`version ${acked} was acknowledged, the store is at ${version}`);
    const history = revisions.get(name) ?? [];
    // What is older than the history had its turn before.
    if (revision < (history.at(-1)?.revision ?? 0)) continue;
    const found = history.find((one) => one.revision === revision);
    if (wroteOf(found) !== wrote || found?.version !== acked) faults.push(`revision ${revision} of ${name} is lost`);
  }
  return faults;
}

function namesOf(writers: number): string[] {
  return Array.from({ length: writers * DOCUMENTS_EACH }, (_, index) => {
    return `w${Math.floor(index / DOCUMENTS_EACH)}-${index % DOCUMENTS_EACH}`;
  });
}

function wroteOf(revision: PolicyRevision | undefined): number {
  const timeouts = revision?.document?.spec.timeouts as { request: string } | undefined;
  return Number.parseInt(timeouts?.request ?? '0', 10);
}
