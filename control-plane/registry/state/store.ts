// The whole state of the registry in memory, the one counter of indexes, and the sessions that tie checks to locks.
// Nothing here knows sockets or timers; `now` is handed in where a lock delay needs it.

import { Catalog } from './catalog.ts';
import { Kv } from './kv.ts';
import type { Change, Result, SessionRow } from './model.ts';
import { refused } from './model.ts';

const NS_PER_MS = 1e6;

export class Store {
  readonly catalog: Catalog;
  readonly kv: Kv;
  readonly #sessions = new Map<string, SessionRow>();
  readonly #listeners = new Set<(changes: readonly Change[]) => void>();
  readonly #now: () => number;
  #sessionIndex = 0;
  #index = 0;
  #changes: Change[] = [];

  /** @param now monotonic ms, read only to start a lock delay */
  constructor(now: () => number) {
    this.#now = now;
    this.kv = new Kv((change) => this.#changes.push(change));
    this.catalog = new Catalog({
      touched: () => this.#changes.push({ table: 'catalog' }),
      checkLost: (index, node, checkId) => this.#endSessions(index, node, checkId),
      nodeLost: (index, node) => this.#endSessions(index, node, null),
    });
  }

  /** Runs one write under the next index and tells the listeners what it touched, once, afterwards. `write` never nests. */
  write<T>(write: (index: number) => T): T {
    this.#index++;
    this.#changes = [];
    const result = write(this.#index);
    this.#publish();
    return result;
  }

  /** As `write`, but `ok: false` leaves no trace in the key-value table. */
  writeAll<T, F>(write: (index: number) => { ok: true; value: T } | { ok: false; error: F }): ReturnType<typeof write> {
    const restore = this.kv.save();
    this.#index++;
    this.#changes = [];
    const result = write(this.#index);
    if (!result.ok) {
      restore();
      this.#changes = [];
    }
    this.#publish();
    return result;
  }

  /** Says that the agent's own services or checks changed, which have no index. */
  touchAgent(): void {
    for (const listener of [...this.#listeners]) listener([{ table: 'agent' }]);
  }

  onChange(listener: (changes: readonly Change[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get sessionIndex(): number {
    return this.#sessionIndex;
  }

  session(id: string): SessionRow | null {
    return this.#sessions.get(id) ?? null;
  }

  sessions(): SessionRow[] {
    return [...this.#sessions.values()].sort((a, b) => (a.ID < b.ID ? -1 : 1));
  }

  /** A session may only begin on a known node, with checks that exist and are not critical. */
  createSession(index: number, input: Omit<SessionRow, 'CreateIndex' | 'ModifyIndex'>): Result<null> {
    const node = this.catalog.node(input.Node);
    if (node === null) return refused('Missing node registration');
    const checks = this.catalog.checksOf(input.Node);
    for (const id of checksOf(input)) {
      const check = checks.find(({ CheckID }) => CheckID === id);
      if (check === undefined) return refused(`Missing check '${id}' registration`);
      if (check.Status === 'critical') return refused(`Check '${id}' is in critical state`);
    }
    this.#sessions.set(input.ID, { ...input, Node: node.Node, CreateIndex: index, ModifyIndex: index });
    this.#moveSessions(index);
    return { ok: true, value: null };
  }

  /** Ends a session and lets go of its locks; unknown ids do nothing. */
  destroySession(index: number, id: string): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    this.#moveSessions(index);
    const delayUntil = session.LockDelay > 0 ? this.#now() + session.LockDelay / NS_PER_MS : null;
    this.kv.endSession(index, id, session.Behavior, delayUntil);
  }

  #endSessions(index: number, node: string, checkId: string | null): void {
    for (const session of this.sessions()) {
      if (session.Node !== node) continue;
      if (checkId === null || checksOf(session).includes(checkId)) this.destroySession(index, session.ID);
    }
  }

  #moveSessions(index: number): void {
    this.#sessionIndex = index;
    this.#changes.push({ table: 'sessions' });
  }

  #publish(): void {
    if (this.#changes.length === 0) return;
    for (const listener of [...this.#listeners]) listener(this.#changes);
  }
}

function checksOf(session: Pick<SessionRow, 'NodeChecks' | 'ServiceChecks'>): string[] {
  return [...session.NodeChecks, ...(session.ServiceChecks ?? []).map(({ ID }) => ID)];
}
