// Which store the configuration asks for.

import type { StoreConfig } from '../config.ts';
import type { Clock } from '../core/clock.ts';
import { ConsulKv } from './consul-kv.ts';
import { createConsulStore } from './consul-store.ts';
import { createSqliteStore } from './sqlite-store.ts';
import type { Store } from './store.ts';

/** @throws StoreError when there is none to be had; then the control plane must not start */
export async function openStore(
  config: StoreConfig,
  { clock, random, onNotice }: { clock: Clock; random: () => number; onNotice: (text: string) => void },
): Promise<Store> {
  const epochMs = (): number => clock.epochMs();
  if (config.kind === 'sqlite') return createSqliteStore({ path: config.path, epochMs });
  const kv = await ConsulKv.open(config);
  try {
    return await createConsulStore({ kv, prefix: config.prefix, epochMs, now: () => clock.now(), random, onNotice });
  } catch (error) {
    kv.close();
    throw error;
  }
}
