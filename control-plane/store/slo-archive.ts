// Keeps the counts behind error budgets over restarts: one small file beside the policies, replaced whole. Losing it loses a
// measurement and no policy, so a file that cannot be read is put aside and said, and counting begins anew.

import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { StoreConfig } from '../config.ts';

export interface SloArchive {
  /** Null when there is none. */
  load(): Promise<unknown>;
  /** Rejects when the disk refuses; the former file then stands. */
  save(payload: object): Promise<void>;
}

const FORMAT = 1;

/** @param onNotice  told in a sentence what an operator must know */
export function openSloArchive(config: StoreConfig, onNotice: (text: string) => void): SloArchive {
  // In Consul nothing is kept: each replica counts its own agents, and a value there is at most 512 KB.
  if (config.kind !== 'sqlite' || config.path === ':memory:') return NOWHERE;
  const path = `${config.path.replace(/\.db$/, '')}-slo.json`;
  return {
    async load() {
      let text: string;
      try {
        text = await readFile(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
      const payload = payloadOf(text);
      if (payload !== undefined) return payload;
      await rename(path, `${path}.unreadable`);
      onNotice(`${path} could not be read and was renamed to ${path}.unreadable; error budgets begin anew`);
      return null;
    },
    async save(payload) {
      await mkdir(dirname(path), { recursive: true });
      const draft = `${path}.new`;
      const file = await open(draft, 'w');
      try {
        await file.writeFile(JSON.stringify({ format: FORMAT, payload }));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, path);
    },
  };
}

const NOWHERE: SloArchive = { load: async () => null, save: async () => undefined };

function payloadOf(text: string): unknown {
  try {
    const { format, payload } = JSON.parse(text) as { readonly format?: unknown; readonly payload?: unknown };
    return format === FORMAT ? payload : undefined;
  } catch {
    // Half a file is as bad as one of another format.
    return undefined;
  }
}
