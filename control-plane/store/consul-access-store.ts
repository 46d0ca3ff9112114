// Tokens and the audit log in Consul's key-value store, for several control planes at once. The chain stays one chain, because
// each entry goes in with a compare-and-swap of the head that it follows.
//
//   access/stamp                   another text after each change of a token
//   access/tokens/ID               the token, with its digest and without its secret
//   access/head                    {sequence, hash} of the last audit entry: compared and swapped by every append
//   access/audit/000000000000042   the entry

import { randomUUID } from 'node:crypto';
import { type AuditDraft, type AuditEntry, CHAIN_START, chain } from '../core/audit.ts';
import { ROLES } from '../core/roles.ts';
import type { StoredToken } from '../core/tokens.ts';
import type { AccessStore } from './access-store.ts';
import type { ConsulKv, KvOperation } from './consul-kv.ts';
import { type Deadline, Patience, type PatienceOptions } from './patience.ts';
import { digest } from './sqlite-file.ts';
import { StoreError } from './store.ts';

export interface ConsulAccessStoreOptions extends Omit<PatienceOptions, 'signal'> {
  readonly kv: ConsulKv;
  /** With its slash at the end. */
  readonly prefix: string;
}

/** How long a change is tried: longer than an election takes. */
const WRITE_DEADLINE_MS = 5_000;
const DIGITS = 15;
/** Entries of one read: keys that differ in their last two digits. */
const BLOCK = 100;

interface Head {
  readonly sequence: number;
  readonly hash: string;
  /** For compare-and-swap; 0 means "must not exist" to Consul. */
  readonly modifyIndex: number;
}

export function createConsulAccessStore(options: ConsulAccessStoreOptions): AccessStore {
  return new ConsulAccessStore(options);
}

class ConsulAccessStore implements AccessStore {
  readonly #kv: ConsulKv;
  readonly #root: string;
  readonly #stop = new AbortController();
  readonly #patience: Patience;
  #appending: Promise<unknown> = Promise.resolve();

  constructor({ kv, prefix, now, random }: ConsulAccessStoreOptions) {
    this.#kv = kv;
    this.#root = `${prefix}access/`;
    this.#patience = new Patience({ now, random, signal: this.#stop.signal });
  }

  async tokensStamp(): Promise<string> {
    const key = `${this.#root}stamp`;
    return (await this.#kv.values([key])).get(key) ?? '';
  }

  async tokens(): Promise<readonly StoredToken[]> {
    const { entries } = await this.#kv.read(`${this.#root}tokens/`);
    const tokens = entries.map(({ value }) => tokenFrom(value));
    return tokens.sort((a, b) => a.createdAtEpochMs - b.createdAtEpochMs || (a.id < b.id ? -1 : 1));
  }

  async addToken(token: StoredToken): Promise<void> {
    const deadline = this.#patience.deadline(WRITE_DEADLINE_MS);
    const isAdded = await this.#patience.until(deadline, () => this.#change(token, 0, deadline));
    // An answer that was lost may have been a success.
    const stored = isAdded ? null : (await this.#find(token.id, deadline.signal))?.token;
    if (!isAdded && stored?.sha256 !== token.sha256) {
      throw new StoreError('unavailable', `token ${token.id} is there already`);
    }
  }

  async revokeToken(id: string, by: string, atEpochMs: number): Promise<StoredToken | null> {
    const deadline = this.#patience.deadline(WRITE_DEADLINE_MS);
    return this.#patience.until(deadline, async () => {
      const found = await this.#find(id, deadline.signal);
      if (found === null) return null;
      if (found.token.revokedAtEpochMs !== null) return found.token;
      const token: StoredToken = { ...found.token, revokedAtEpochMs: atEpochMs, revokedBy: by };
      if (await this.#change(token, found.modifyIndex, deadline)) return token;
      throw new StoreError('unavailable', `token ${id} changed while it was revoked; try again`);
    });
  }

  /** One at a time: two of one replica could only make each other fail. */
  append(draft: AuditDraft, withinMs = WRITE_DEADLINE_MS): Promise<AuditEntry> {
    const turn = this.#appending.then(() => this.#append(draft, this.#patience.deadline(withinMs)));
    this.#appending = turn.catch(() => undefined);
    return turn;
  }

  async newest(before: number | null, limit: number): Promise<readonly AuditEntry[]> {
    const head = await this.#head();
    const from = Math.min(before === null ? head.sequence : before - 1, head.sequence);
    const found: AuditEntry[] = [];
    for (let block = Math.floor(from / BLOCK); block >= 0 && found.length < limit; block--) {
      found.push(...(await this.#block(block)).filter(({ sequence }) => sequence <= from).reverse());
    }
    return found.slice(0, limit);
  }

  async oldest(after: number, limit: number): Promise<readonly AuditEntry[]> {
    const head = await this.#head();
    const found: AuditEntry[] = [];
    for (let block = Math.floor((after + 1) / BLOCK); block * BLOCK <= head.sequence && found.length < limit; block++) {
      found.push(...(await this.#block(block)).filter(({ sequence }) => sequence > after && sequence <= head.sequence));
    }
    return found.slice(0, limit);
  }

  async close(): Promise<void> {
    await this.#appending;
    this.#stop.abort();
    this.#kv.close();
  }

  async #append(draft: AuditDraft, deadline: Deadline): Promise<AuditEntry> {
    // Two replicas can have the same to say of the same moment; this tells whose entry it is.
    const commit = randomUUID();
    let tried: AuditEntry | null = null;
    const { signal } = deadline;
    return this.#patience.until(deadline, async () => {
      for (;;) {
        // After a fault the entry may be there all the same.
        if (tried !== null && (await this.#commitOf(tried.sequence, signal)) === commit) return tried;
        const head = await this.#head(signal);
        const entry = chain(draft, head.sequence === 0 ? null : head, digest);
        tried = entry;
        const value = JSON.stringify({ sequence: entry.sequence, hash: entry.hash });
        const operations: KvOperation[] = [
          { verb: 'cas', key: `${this.#root}head`, value, index: head.modifyIndex },
          { verb: 'set', key: this.#keyOf(entry.sequence), value: JSON.stringify({ ...entry, commit }) },
        ];
        const isDone = await this.#kv.transact(operations, signal);
        if (isDone) return entry;
      }
    });
  }

  /** @returns false when the token is not as it was at `modifyIndex` */
  #change(token: StoredToken, modifyIndex: number, { signal }: Deadline): Promise<boolean> {
    const operations: KvOperation[] = [
      { verb: 'cas', key: `${this.#root}tokens/${token.id}`, value: JSON.stringify(token), index: modifyIndex },
      { verb: 'set', key: `${this.#root}stamp`, value: randomUUID() },
    ];
    return this.#kv.transact(operations, signal);
  }

  async #find(
    id: string,
    signal: AbortSignal,
  ): Promise<{ readonly token: StoredToken; readonly modifyIndex: number } | null> {
    // What is no id of ours must not become a path in Consul.
    if (!/^[\w-]{1,64}$/.test(id)) return null;
    const key = `${this.#root}tokens/${id}`;
    const entry = (await this.#kv.read(key, null, signal)).entries.find((one) => one.key === key);
    return entry === undefined ? null : { token: tokenFrom(entry.value), modifyIndex: entry.modifyIndex };
  }

  async #head(signal: AbortSignal | null = null): Promise<Head> {
    const entry = (await this.#kv.read(`${this.#root}head`, null, signal)).entries[0];
    if (entry === undefined) return { sequence: 0, hash: CHAIN_START, modifyIndex: 0 };
    const { sequence, hash } = parse(entry.key, entry.value) as Partial<Head>; // checked below
    if (typeof sequence !== 'number' || typeof hash !== 'string') throw damaged(entry.key);
    return { sequence, hash, modifyIndex: entry.modifyIndex };
  }

  async #block(block: number): Promise<AuditEntry[]> {
    const prefix = this.#keyOf(block * BLOCK).slice(0, -2);
    const { entries } = await this.#kv.read(prefix);
    // In order of keys, which is that of the numbers.
    return entries.map(({ key, value }) => entryFrom(key, value));
  }

  async #commitOf(sequence: number, signal: AbortSignal): Promise<unknown> {
    const key = this.#keyOf(sequence);
    const value = (await this.#kv.values([key], signal)).get(key);
    return value === undefined ? null : (parse(key, value) as { commit?: unknown }).commit;
  }

  #keyOf(sequence: number): string {
    return `${this.#root}audit/${String(sequence).padStart(DIGITS, '0')}`;
  }
}

function tokenFrom(text: string): StoredToken {
  const token = parse('access/tokens', text) as StoredToken; // written by addToken; a role is what matters
  if (!ROLES.includes(token.role) || !/^[0-9a-f]{64}$/.test(token.sha256)) throw damaged('access/tokens');
  return token;
}

/** As it stands there: a member that was changed breaks the chain and is named by the verification. */
function entryFrom(key: string, text: string): AuditEntry {
  const { commit: _commit, ...entry } = parse(key, text) as AuditEntry & { commit?: unknown };
  return entry;
}

function parse(key: string, text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Said below in the same words.
  }
  throw damaged(key);
}

function damaged(key: string): StoreError {
  return new StoreError('unusable', `${key} in Consul is not what was written there; restore it from a snapshot`);
}
