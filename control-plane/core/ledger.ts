// Who was sent which version and what they made of it: the memory behind `GET /v1/agents`. No stream and no clock here;
// push and api tell it what happened and when. Instants are monotonic ms.

import type { PolicyVerdict } from '#contract/frames.ts';
import type { Problem } from '#contract/problem.ts';

/** An agent that was silent this long is shown as stale. */
export const STALE_AFTER_MS = 10_000;
/** An agent without a stream that was silent this long is forgotten. */
export const FORGOTTEN_AFTER_MS = 600_000;
/** Agents that are remembered at most; beyond it new names are refused, so that a loop of random names cannot fill memory. */
export const AGENT_LIMIT = 10_000;

/** What is known about one agent's policies. */
export interface LedgerEntry {
  readonly agentId: string;
  readonly isConnected: boolean;
  /** Since when it is connected, or was last. */
  readonly connectedAt: number | null;
  /** Last version pushed and the nonce of that push; null before the first. */
  readonly wantedVersion: number | null;
  readonly nonce: string | null;
  readonly pushedAt: number | null;
  /** The last push held a staged change that not everybody has. */
  readonly isTrial: boolean;
  /** Version in force according to the agent; null until it said so. */
  readonly appliedVersion: number | null;
  /** The store that the agent's policies came from, while that is another one; null otherwise. */
  readonly foreignGeneration: string | null;
  /** Answer to the push named by `nonce`; null while it is awaited. */
  readonly verdict: 'ACK' | 'NACK' | null;
  readonly verdictAt: number | null;
  readonly problems: readonly Problem[];
  /** Last sign of life of any kind. */
  readonly lastSeenAt: number;
}

export type AgentState = 'live' | 'stale' | 'gone';

/** How the connected agents stand towards one version. */
export interface Tally {
  /** Agents with an open stream. */
  readonly wanted: number;
  readonly applied: number;
  readonly rejected: number;
}

export class Ledger {
  readonly #entries = new Map<string, LedgerEntry>();

  get(agentId: string): LedgerEntry | null {
    return this.#entries.get(agentId) ?? null;
  }

  list(): LedgerEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.agentId < b.agentId ? -1 : 1));
  }

  /** False when the agent is new and the table is full. */
  hasRoomFor(agentId: string): boolean {
    return this.#entries.has(agentId) || this.#entries.size < AGENT_LIMIT;
  }

  connected(agentId: string, now: number): void {
    this.#change(agentId, now, { isConnected: true, connectedAt: now });
  }

  disconnected(agentId: string, now: number): void {
    if (this.#entries.has(agentId)) this.#change(agentId, now, { isConnected: false });
  }

  pushed(agentId: string, version: number, nonce: string, now: number, isTrial = false): void {
    const push = { wantedVersion: version, nonce, pushedAt: now, isTrial };
    this.#change(agentId, now, { ...push, verdict: null, verdictAt: null }, false);
  }

  seen(agentId: string, now: number): void {
    this.#change(agentId, now, {});
  }

  /** A report says which version is in force, which matters after a restart of the control plane. */
  reported(agentId: string, appliedVersion: number, now: number): void {
    this.#change(agentId, now, { appliedVersion, foreignGeneration: null });
  }

  /**
   * An agent has policies of another store: its version says nothing here. @returns whether that is news
   */
  foreign(agentId: string, generation: string, now: number): boolean {
    const isNews = this.#entries.get(agentId)?.foreignGeneration !== generation;
    this.#change(agentId, now, { appliedVersion: null, foreignGeneration: generation });
    return isNews;
  }

  /**
   * Takes a verdict. One that carries another nonce than the last push is about something superseded and changes
   * nothing (xDS: a request with a stale nonce is ignored).
   *
   * @returns whether it counted
   */
  judged(agentId: string, verdict: PolicyVerdict, now: number): boolean {
    const entry = this.#entries.get(agentId);
    if (entry === undefined || entry.nonce !== verdict.nonce || entry.wantedVersion !== verdict.version) return false;
    this.#change(agentId, now, {
      verdict: verdict.verdict,
      verdictAt: now,
      // After a refusal what is in force may still be another store's.
      ...(verdict.verdict === 'NACK' && entry.foreignGeneration !== null
        ? {}
        : { appliedVersion: verdict.appliedVersion, foreignGeneration: null }),
      problems: verdict.verdict === 'NACK' ? verdict.problems : [],
    });
    return true;
  }

  stateOf(agentId: string, now: number): AgentState {
    const entry = this.#entries.get(agentId);
    if (entry === undefined) return 'gone';
    const silentMs = now - entry.lastSeenAt;
    if (silentMs >= FORGOTTEN_AFTER_MS && !entry.isConnected) return 'gone';
    return silentMs >= STALE_AFTER_MS ? 'stale' : 'live';
  }

  /** Forgets whoever is gone. O(agents). @returns the ids that were forgotten */
  sweep(now: number): string[] {
    const gone = [...this.#entries.keys()].filter((agentId) => this.stateOf(agentId, now) === 'gone');
    for (const agentId of gone) this.#entries.delete(agentId);
    return gone;
  }

  /** How the connected agents answered `version` or a newer one. */
  tally(version: number): Tally {
    let wanted = 0;
    let applied = 0;
    let rejected = 0;
    for (const entry of this.#entries.values()) {
      if (!entry.isConnected) continue;
      wanted++;
      if ((entry.wantedVersion ?? -1) < version) continue;
      if (entry.verdict === 'ACK') applied++;
      else if (entry.verdict === 'NACK') rejected++;
    }
    return { wanted, applied, rejected };
  }

  #change(agentId: string, now: number, changes: Partial<LedgerEntry>, isSignOfLife = true): void {
    const entry = this.#entries.get(agentId) ?? newEntry(agentId, now);
    this.#entries.set(agentId, { ...entry, ...changes, lastSeenAt: isSignOfLife ? now : entry.lastSeenAt });
  }
}

function newEntry(agentId: string, now: number): LedgerEntry {
  return {
    agentId,
    isConnected: false,
    connectedAt: null,
    wantedVersion: null,
    nonce: null,
    pushedAt: null,
    isTrial: false,
    appliedVersion: null,
    foreignGeneration: null,
    verdict: null,
    verdictAt: null,
    problems: [],
    lastSeenAt: now,
  };
}
