// Keys and values with check-and-set, locks and Consul's per-prefix indexes. Pure state: indexes and `now` are handed in.

import type { Change, KvEntry, Result } from './model.ts';
import { refused } from './model.ts';

/** Deletions remembered one by one; beyond this the oldest only raise a floor under every prefix (a spurious wake, never a lost one). */
const TOMBSTONE_CAP = 4096;

export interface KvWrite {
  readonly key: string;
  readonly value: Buffer;
  readonly flags: number;
}

export class Kv {
  readonly #touch: (change: Change) => void;
  readonly #entries = new Map<string, KvEntry>();
  /** Deleted key or prefix → index of the deletion, oldest first. */
  readonly #tombstones = new Map<string, number>();
  #tombstoneFloor = 0;
  #tableIndex = 0;
  /** Key → monotonic ms until which nobody may take its lock. */
  readonly #lockDelays = new Map<string, number>();

  constructor(touch: (change: Change) => void) {
    this.#touch = touch;
  }

  get(key: string): KvEntry | null {
    return this.#entries.get(key) ?? null;
  }

  /** Entries under a prefix in byte order of their keys. O(all keys). */
  list(prefix: string): KvEntry[] {
    const found = [...this.#entries.values()].filter((entry) => entry.Key.startsWith(prefix));
    return found.sort((a, b) => (a.Key < b.Key ? -1 : 1));
  }

  /** Keys under a prefix; with a separator, cut after its first occurrence past the prefix, each cut once. */
  keys(prefix: string, separator: string): string[] {
    const all = this.list(prefix).map((entry) => entry.Key);
    if (separator === '') return all;
    const cut = all.map((key) => {
      const at = key.indexOf(separator, prefix.length);
      return at === -1 ? key : key.slice(0, at + separator.length);
    });
    return [...new Set(cut)];
  }

  /** Index of one key: its own last change, or the whole table's when the key is not there. */
  keyIndex(key: string): number {
    return this.#entries.get(key)?.ModifyIndex ?? this.#tableIndex;
  }

  /** Index of a prefix: the newest change or deletion under it, or the whole table's when nothing ever was. */
  prefixIndex(prefix: string): number {
    if (prefix === '') return this.#tableIndex;
    let newest = 0;
    for (const entry of this.#entries.values()) {
      if (entry.Key.startsWith(prefix)) newest = Math.max(newest, entry.ModifyIndex);
    }
    if (newest === 0) return this.#tableIndex;
    for (const [key, index] of this.#tombstones) if (key.startsWith(prefix)) newest = Math.max(newest, index);
    return Math.max(newest, this.#tombstoneFloor);
  }

  /** A plain write: keeps the holder of the lock, and like Consul forgets the count of locks. */
  set(index: number, write: KvWrite): KvEntry {
    return this.#put(index, write, this.#entries.get(write.key)?.Session ?? '', 0);
  }

  /** @returns null when the key is not at `expected`; 0 means that it must not exist */
  setIf(index: number, write: KvWrite, expected: number): KvEntry | null {
    const former = this.#entries.get(write.key);
    if ((former?.ModifyIndex ?? 0) !== expected) return null;
    return this.set(index, write);
  }

  /** @returns null when another session holds the lock */
  acquire(index: number, write: KvWrite, session: string): KvEntry | null {
    const former = this.#entries.get(write.key);
    if (former !== undefined && former.Session !== '' && former.Session !== session) return null;
    const isHeld = former?.Session === session;
    return this.#put(index, write, session, (former?.LockIndex ?? 0) + (isHeld ? 0 : 1));
  }

  /** @returns null when `session` does not hold the lock */
  release(index: number, write: KvWrite, session: string): KvEntry | null {
    const former = this.#entries.get(write.key);
    if (former === undefined || former.Session !== session) return null;
    return this.#put(index, write, '', former.LockIndex);
  }

  delete(index: number, key: string): void {
    if (!this.#entries.delete(key)) return;
    this.#bury(index, key);
    this.#move(index, key, false);
  }

  /** @returns false when the key exists at another index; a key that is not there counts as deleted */
  deleteIf(index: number, key: string, expected: number): boolean {
    const former = this.#entries.get(key);
    if (former === undefined) return true;
    if (former.ModifyIndex !== expected) return false;
    this.delete(index, key);
    return true;
  }

  deleteTree(index: number, prefix: string): void {
    const gone = this.list(prefix);
    if (gone.length === 0) return;
    for (const entry of gone) this.#entries.delete(entry.Key);
    this.#bury(index, prefix);
    this.#move(index, prefix, true);
  }

  /** The end of a session: its locks are released or their keys deleted, and stay unlockable until `delayUntil` (monotonic ms). */
  endSession(index: number, session: string, behavior: 'release' | 'delete', delayUntil: number | null): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.Session !== session) continue;
      if (delayUntil !== null) this.#lockDelays.set(entry.Key, delayUntil);
      if (behavior === 'delete') this.delete(index, entry.Key);
      else this.#put(index, { key: entry.Key, value: entry.Value, flags: entry.Flags }, '', entry.LockIndex);
    }
  }

  isLockDelayed(key: string, now: number): boolean {
    const until = this.#lockDelays.get(key);
    if (until === undefined) return false;
    if (until > now) return true;
    this.#lockDelays.delete(key);
    return false;
  }

  /** Takes a copy that `restore` brings back: a transaction is all or nothing. O(keys), values are shared. */
  save(): () => void {
    const entries = [...this.#entries];
    const tombstones = [...this.#tombstones];
    const [floor, table] = [this.#tombstoneFloor, this.#tableIndex];
    return () => {
      this.#entries.clear();
      for (const [key, entry] of entries) this.#entries.set(key, entry);
      this.#tombstones.clear();
      for (const [key, index] of tombstones) this.#tombstones.set(key, index);
      this.#tombstoneFloor = floor;
      this.#tableIndex = table;
    };
  }

  #put(index: number, write: KvWrite, session: string, lockIndex: number): KvEntry {
    const former = this.#entries.get(write.key);
    const entry: KvEntry = {
      LockIndex: lockIndex,
      Key: write.key,
      Flags: write.flags,
      Value: write.value,
      Session: session,
      CreateIndex: former?.CreateIndex ?? index,
      ModifyIndex: index,
    };
    // A write that changes nothing wakes nobody.
    if (former !== undefined && isSame(former, entry)) return former;
    this.#entries.set(write.key, entry);
    this.#move(index, write.key, false);
    return entry;
  }

  #bury(index: number, key: string): void {
    this.#tombstones.delete(key);
    this.#tombstones.set(key, index);
    if (this.#tombstones.size <= TOMBSTONE_CAP) return;
    const oldest = this.#tombstones.entries().next().value;
    if (oldest === undefined) return;
    this.#tombstones.delete(oldest[0]);
    this.#tombstoneFloor = Math.max(this.#tombstoneFloor, oldest[1]);
  }

  #move(index: number, key: string, isTree: boolean): void {
    this.#tableIndex = index;
    this.#touch({ table: 'kv', key, isTree });
  }
}

function isSame(a: KvEntry, b: KvEntry): boolean {
  return (
    a.LockIndex === b.LockIndex &&
    a.Flags === b.Flags &&
    a.Session === b.Session &&
    Buffer.compare(a.Value, b.Value) === 0
  );
}

/** An unsigned decimal as Go parses it, for `flags=`, `cas=` and `index=`. */
export function parseUint(text: string): Result<number> {
  if (!/^\d{1,20}$/.test(text)) return refused(`strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`);
  return { ok: true, value: Number(text) };
}
