// Keeps the counts behind error budgets in one small file beside the policies, replaced whole. A file that cannot be read is put
// aside and said, and counting begins anew.

import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { KeptPart, SloStore } from './slo-store.ts';

const FORMAT = 2;

interface Kept extends KeptPart {
  readonly format: typeof FORMAT;
  readonly alerts: readonly unknown[];
}

export interface FileSloStoreOptions {
  /** Null: nothing is kept. */
  readonly path: string | null;
  readonly epochMs: () => number;
  /** Told in a sentence what an operator must know. */
  readonly onNotice: (text: string) => void;
}

export function createFileSloStore({ path, epochMs, onNotice }: FileSloStoreOptions): SloStore {
  let kept: Kept | null = null;
  let alerts: readonly unknown[] = [];
  return {
    isAlone: true,
    async load() {
      kept = path === null ? null : await readKept(path, onNotice);
      alerts = kept?.alerts ?? [];
      return kept;
    },
    async save(services) {
      if (path !== null) await replace(path, { format: FORMAT, atEpochMs: epochMs(), services, alerts });
      return 'saved';
    },
    others: async () => new Map(),
    adopt: async () => false,
    alerts: async () => kept?.alerts ?? null,
    // Written with the counts, which are at most seconds younger.
    async saveAlerts(firing) {
      alerts = firing;
    },
    close: () => undefined,
  };
}

async function readKept(path: string, onNotice: (text: string) => void): Promise<Kept | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const kept = keptOf(text);
  if (kept !== null) return kept;
  await rename(path, `${path}.unreadable`);
  onNotice(`${path} could not be read and was renamed to ${path}.unreadable; error budgets begin anew`);
  return null;
}

function keptOf(text: string): Kept | null {
  try {
    const kept = JSON.parse(text) as Partial<Kept> | null;
    const isKept = kept?.format === FORMAT && Array.isArray(kept.services) && typeof kept.atEpochMs === 'number';
    return isKept ? (kept as Kept) : null;
  } catch {
    // Half a file is as bad as one of another format.
    return null;
  }
}

async function replace(path: string, kept: Kept): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.new`;
  const file = await open(draft, 'w');
  try {
    await file.writeFile(JSON.stringify(kept));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
}
