// Which store the configuration asks for, and who leads among those that share it.

import { hostname } from 'node:os';
import type { StoreConfig } from '../config.ts';
import type { Clock } from '../core/clock.ts';
import type { AccessStore } from './access-store.ts';
import { type Board, createConsulBoard, createLoneBoard } from './board.ts';
import { createConsulAccessStore } from './consul-access-store.ts';
import { ConsulKv } from './consul-kv.ts';
import { createConsulStore } from './consul-store.ts';
import { createConsulLeadership, createLoneLeadership, type Leadership } from './leader.ts';
import { openSloStore, type SloStore } from './slo-store.ts';
import { createSqliteAccessStore } from './sqlite-access-store.ts';
import { createSqliteStore } from './sqlite-store.ts';
import type { Store } from './store.ts';

export interface OpenStore {
  readonly store: Store;
  readonly leadership: Leadership;
  readonly board: Board;
  readonly slo: SloStore;
}

export interface OpenStoreOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** Told in a sentence what an operator must know. */
  readonly onNotice: (text: string) => void;
}

/** @throws StoreError when there is none to be had; then the control plane must not start */
export async function openStore(config: StoreConfig, options: OpenStoreOptions): Promise<OpenStore> {
  const store = await openPolicies(config, options);
  const { clock, random, onNotice } = options;
  const name = `${hostname()}:${process.pid}`;
  const replica = `${name}:${Math.floor(random() * 2 ** 40).toString(36)}`;
  const slo = await openSloStore(config, { clock, replica, onNotice });
  if (config.kind === 'sqlite') return { store, leadership: createLoneLeadership(), board: createLoneBoard(), slo };
  const { prefix } = config;
  // Clients of their own, because each is closed by its owner.
  const kv = await ConsulKv.open(config);
  const leadership = createConsulLeadership({ kv, key: `${prefix}leader`, name, now: () => clock.now(), random });
  const boardKv = await ConsulKv.open(config);
  const board = createConsulBoard({ kv: boardKv, prefix, replica, epochMs: () => clock.epochMs(), onNotice });
  return { store, leadership, board, slo };
}

/** The policies alone. @throws StoreError as openStore */
export async function openPolicies(config: StoreConfig, { clock, random, onNotice }: OpenStoreOptions): Promise<Store> {
  const epochMs = (): number => clock.epochMs();
  if (config.kind === 'sqlite') return createSqliteStore({ path: config.path, epochMs });
  const kv = await ConsulKv.open(config);
  try {
    const { prefix } = config;
    return await createConsulStore({ kv, prefix, epochMs, now: () => clock.now(), random, onNotice });
  } catch (error) {
    kv.close();
    throw error;
  }
}

/** Tokens and audit log: a file beside that of the policies, or in the same Consul. @throws StoreError as openStore */
export async function openAccessStore(
  config: StoreConfig,
  { clock, random }: { clock: Clock; random: () => number },
): Promise<AccessStore> {
  if (config.kind === 'sqlite') return createSqliteAccessStore({ path: accessPathOf(config.path) });
  return createConsulAccessStore({
    kv: await ConsulKv.open(config),
    prefix: config.prefix,
    now: () => clock.now(),
    random,
  });
}

/** `policies.db` → `policies-access.db` beside it. */
function accessPathOf(path: string): string {
  return path === ':memory:' ? path : `${path.replace(/\.db$/, '')}-access.db`;
}
