// Policies in one SQLite file: write-ahead log, fsync at every commit, an answer only after the commit. The calls are
// synchronous inside, so two writes of this process never interleave; one write costs one fsync.

import type { DatabaseSync } from 'node:sqlite';
import type { PolicyDocument, PolicyId } from '#contract/policy/policy.ts';
import type { Rollout } from '../core/rollout.ts';
import { refuseUsedStore } from './backup.ts';
import { digest, NEW_GENERATION, openDatabase, sqliteCode } from './sqlite-file.ts';
import {
  type Backup,
  HISTORY_LIMIT,
  type PolicyRevision,
  type PolicySet,
  policyIdOf,
  type RolloutWriteResult,
  type Store,
  type StoredPolicy,
  StoreError,
  type WriteOptions,
  type WriteResult,
} from './store.ts';
import { type Change, decideWrite } from './write-decision.ts';

export interface SqliteStoreOptions {
  /** File, created with its folders when missing; `:memory:` keeps nothing. */
  readonly path: string;
  readonly epochMs: () => number;
  /** Size at which writes fail as `full`, bytes; default 1 GiB. */
  readonly maxBytes?: number;
}

const DEFAULT_MAX_BYTES = 1 << 30;
const FULL = 13;

type Row = Record<string, unknown>;
/** What both tables know of a change. */
interface NewRow {
  readonly kind: string;
  readonly name: string;
  readonly revision: number;
  readonly version: number;
  readonly author: string;
  readonly at: number;
  readonly message: string;
}

/** Opens or creates the store. @throws StoreError when the file must not be used */
export function createSqliteStore(options: SqliteStoreOptions): Store {
  return new SqliteStore(options);
}

class SqliteStore implements Store {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #epochMs: () => number;
  readonly #listeners = new Set<(set: PolicySet) => void>();
  #database: DatabaseSync;
  /** After an input/output error nobody knows what reached the disk: reopen (and judge) before the next acknowledgement. */
  #mustReopen = false;
  /** Version that the listeners know; what a reopened file holds may be another one. */
  #announced: number;

  constructor(options: SqliteStoreOptions) {
    this.#path = options.path;
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
    this.#epochMs = options.epochMs;
    this.#database = openDatabase(this.#path, this.#maxBytes);
    this.#announced = this.#version();
  }

  async list(): Promise<PolicySet> {
    return this.#guard(() => this.#set());
  }

  async get(id: PolicyId): Promise<StoredPolicy | null> {
    return this.#guard(() => this.#find(...split(id)));
  }

  async version(): Promise<number> {
    return this.#guard(() => this.#version());
  }

  async history(id: PolicyId): Promise<readonly PolicyRevision[]> {
    return this.#guard(() =>
      this.#database
        .prepare('SELECT * FROM revisions WHERE kind = ? AND name = ? ORDER BY revision DESC LIMIT ?')
        .all(...split(id), HISTORY_LIMIT)
        .map(revisionOf),
    );
  }

  async put(document: PolicyDocument, options: WriteOptions): Promise<WriteResult> {
    const [kind, name] = split(policyIdOf(document));
    return this.#write({ kind, name, document: JSON.stringify(document) }, options);
  }

  async remove(id: PolicyId, options: WriteOptions): Promise<WriteResult> {
    const [kind, name] = split(id);
    return this.#write({ kind, name, document: null }, options);
  }

  async putRollout(rollout: Rollout, { ifVersion }: { ifVersion: number }): Promise<RolloutWriteResult> {
    const result = this.#guard(() =>
      this.#transaction((): RolloutWriteResult => {
        const version = this.#version();
        if (version !== ifVersion) return { kind: 'moved', version };
        this.#run('UPDATE state SET version = ?, rollout = ? WHERE id = 1', version + 1, JSON.stringify(rollout));
        return { kind: 'written', version: version + 1 };
      }),
    );
    if (result.kind === 'written') this.#announce();
    return result;
  }

  async backup(): Promise<Backup> {
    return this.#guard(() => {
      const rows = this.#database.prepare('SELECT * FROM revisions ORDER BY version').all();
      const revisions = rows.map((row) => ({ id: `${row.kind}/${row.name}` as PolicyId, ...revisionOf(row) }));
      return { ...this.#set(), revisions };
    });
  }

  async restore({ version, policies, revisions, rollout }: Backup): Promise<void> {
    this.#guard(() =>
      this.#transaction(() => {
        refuseUsedStore(this.#version());
        for (const one of revisions) {
          const document = one.document === null ? null : JSON.stringify(one.document);
          this.#insertRevision({ ...one, document, kind: split(one.id)[0], name: split(one.id)[1], at: one.atEpochMs });
        }
        for (const one of policies) {
          const [kind, name] = split(policyIdOf(one.document));
          this.#insertPolicy({ ...one, kind, name, document: JSON.stringify(one.document), at: one.updatedAtEpochMs });
        }
        const kept = rollout === null ? null : JSON.stringify(rollout);
        const state = `UPDATE state SET version = ?, rollout = ?, generation = ${NEW_GENERATION} WHERE id = 1`;
        this.#run(state, version, kept);
      }),
    );
    this.#announce();
  }

  onChange(listener: (set: PolicySet) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    if (this.#database.isOpen) this.#database.close();
  }

  #write(change: Change, options: WriteOptions): WriteResult {
    const result = this.#guard(() => this.#transaction(() => this.#apply(change, options)));
    if (result.kind === 'written' && result.isChanged) this.#announce();
    return result;
  }

  #announce(): void {
    const set = this.#set();
    this.#announced = set.version;
    for (const listener of this.#listeners) listener(set);
  }

  #apply(change: Change, options: WriteOptions): WriteResult {
    const current = this.#find(change.kind, change.name);
    const version = this.#version();
    const decided = decideWrite(change, current, version, options);
    if (decided !== null) return decided;
    const revision = this.#lastRevision(change) + 1;
    this.#save(change, revision, version + 1, options);
    return { kind: 'written', revision, version: version + 1, isChanged: true, isCreated: current === null };
  }

  #save({ kind, name, document }: Change, revision: number, version: number, options: WriteOptions): void {
    const { author, message = '', rollout } = options;
    const at = this.#epochMs();
    const row = { kind, name, revision, version, author, at, message };
    if (document === null) this.#run('DELETE FROM policies WHERE kind = ? AND name = ?', kind, name);
    else this.#insertPolicy({ ...row, document });
    this.#insertRevision({ ...row, document, action: document === null ? 'remove' : 'put' });
    const oldest = revision - HISTORY_LIMIT;
    this.#run('DELETE FROM revisions WHERE kind = ? AND name = ? AND revision <= ?', kind, name, oldest);
    this.#run('UPDATE state SET version = ? WHERE id = 1', version);
    if (rollout !== undefined) this.#run('UPDATE state SET rollout = ? WHERE id = 1', JSON.stringify(rollout));
  }

  #insertPolicy(row: NewRow & { readonly document: string }): void {
    const { kind, name, document, revision, version, author, at, message } = row;
    const values = [kind, name, document, digest(document), revision, version, author, at, message];
    this.#run('INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', ...values);
  }

  #insertRevision(row: NewRow & { readonly document: string | null; readonly action: 'put' | 'remove' }): void {
    const { kind, name, revision, version, action, document, author, at, message } = row;
    const values = [kind, name, revision, version, action, document, author, at, message];
    this.#run('INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', ...values);
  }

  #run(sql: string, ...values: (string | number | null)[]): void {
    this.#database.prepare(sql).run(...values);
  }

  #transaction<T>(run: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const result = run();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #guard<T>(run: () => T): T {
    try {
      if (this.#mustReopen) this.#reopen();
      return run();
    } catch (error) {
      if (error instanceof StoreError) throw error;
      const text = error instanceof Error ? error.message : String(error);
      if (sqliteCode(error) === FULL) {
        throw new StoreError('full', `policy store ${this.#path} has no space left (${text})`, { cause: error });
      }
      this.#mustReopen = this.#path !== ':memory:';
      throw new StoreError('unavailable', `policy store ${this.#path} failed (${text})`, { cause: error });
    }
  }

  #reopen(): void {
    if (this.#database.isOpen) this.#database.close();
    this.#database = openDatabase(this.#path, this.#maxBytes);
    this.#mustReopen = false;
    // A commit that was answered as failed may have reached the disk all the same.
    if (this.#version() !== this.#announced) this.#announce();
  }

  #set(): PolicySet {
    const rows = this.#database.prepare('SELECT * FROM policies ORDER BY kind, name').all();
    const generation = String(this.#database.prepare('SELECT generation FROM state WHERE id = 1').get()?.generation);
    return { version: this.#version(), generation, policies: rows.map(policyOf), rollout: this.#rollout() };
  }

  #find(kind: string, name: string): StoredPolicy | null {
    const row = this.#database.prepare('SELECT * FROM policies WHERE kind = ? AND name = ?').get(kind, name);
    return row === undefined ? null : policyOf(row);
  }

  #version(): number {
    return Number(this.#database.prepare('SELECT version FROM state WHERE id = 1').get()?.version);
  }

  /** The text was written by this class. */
  #rollout(): Rollout | null {
    const text = this.#database.prepare('SELECT rollout FROM state WHERE id = 1').get()?.rollout ?? null;
    return text === null ? null : (JSON.parse(String(text)) as Rollout);
  }

  #lastRevision({ kind, name }: Change): number {
    const sql = 'SELECT max(revision) AS last FROM revisions WHERE kind = ? AND name = ?';
    return Number(this.#database.prepare(sql).get(kind, name)?.last ?? 0);
  }
}

function split(id: PolicyId): [kind: string, name: string] {
  const slash = id.indexOf('/');
  return [id.slice(0, slash), id.slice(slash + 1)];
}

function policyOf(row: Row): StoredPolicy {
  return {
    document: documentOf(row.document),
    revision: Number(row.revision),
    version: Number(row.version),
    updatedAtEpochMs: Number(row.at),
    author: String(row.author),
    message: String(row.message),
  };
}

function revisionOf(row: Row): PolicyRevision {
  return {
    revision: Number(row.revision),
    version: Number(row.version),
    action: row.action === 'remove' ? 'remove' : 'put',
    document: row.document === null ? null : documentOf(row.document),
    author: String(row.author),
    message: String(row.message),
    atEpochMs: Number(row.at),
  };
}

/** The text was written by `put` and its digest was checked when the file was opened, hence the cast. */
function documentOf(text: unknown): PolicyDocument {
  return JSON.parse(String(text)) as PolicyDocument;
}
