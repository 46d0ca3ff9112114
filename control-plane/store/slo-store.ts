// Where the counts behind error budgets are kept over restarts. Losing them loses a measurement and no policy.

import type { StoreConfig } from '../config.ts';
import type { Clock } from '../core/clock.ts';
import { ConsulKv } from './consul-kv.ts';
import { createConsulSloStore } from './consul-slo-store.ts';
import { createFileSloStore } from './file-slo-store.ts';

/** One control plane's counts as they were written; `services` is what SloPart.archive gave, through JSON. */
export interface KeptPart {
  readonly services: readonly unknown[];
  readonly atEpochMs: number;
}

/** The parts of other control planes. */
export interface OtherPart extends KeptPart {
  /** How often it has written; grows with every writing. */
  readonly writings: number;
  /** It ended in good order and writes no more. */
  readonly isEnded: boolean;
}

export type SaveResult =
  | 'saved'
  /** Another control plane took over what was kept here, so it must not be counted here any more. Nothing was written. */
  | 'taken';

/** Implementations reject with an Error while nothing can be read or written; what was kept then stands. */
export interface SloStore {
  /** Nobody else counts, so agents need not be waited for. */
  readonly isAlone: boolean;
  /** What an earlier life of this control plane kept, to go on from; null when there is none, or others have it. */
  load(): Promise<KeptPart | null>;
  /** All or nothing. @param isEnd  it is the last time */
  save(services: readonly unknown[], isEnd: boolean): Promise<SaveResult>;
  /** By control plane. */
  others(): Promise<ReadonlyMap<string, OtherPart>>;
  /**
   * Makes another one's part, as `others` gave it last, part of what is kept here, at once or not at all.
   *
   * @returns false when it moved meanwhile, or somebody else was quicker
   */
  adopt(other: string): Promise<boolean>;
  /** Alerts that fire, as SloBook.alerts gave them; null when none were kept. */
  alerts(): Promise<unknown>;
  saveAlerts(alerts: readonly unknown[]): Promise<void>;
  close(): void;
}

export interface SloStoreOptions {
  readonly clock: Clock;
  /** Unlike that of every other control plane and every earlier life. */
  readonly replica: string;
  /** Told in a sentence what an operator must know. */
  readonly onNotice: (text: string) => void;
}

export async function openSloStore(config: StoreConfig, options: SloStoreOptions): Promise<SloStore> {
  const { clock, replica, onNotice } = options;
  const epochMs = (): number => clock.epochMs();
  if (config.kind === 'sqlite') return createFileSloStore({ path: pathOf(config.path), epochMs, onNotice });
  return createConsulSloStore({ kv: await ConsulKv.open(config), prefix: config.prefix, replica, epochMs });
}

/** `policies.db` → `policies-slo.json` beside it; null for a store in memory. */
function pathOf(path: string): string | null {
  return path === ':memory:' ? null : `${path.replace(/\.db$/, '')}-slo.json`;
}
