// Tokens and the audit log in one SQLite file of their own, readable by its owner only; an answer comes after the commit.
// A damaged file is refused at start: without its tokens nobody could be let in, without its log nothing could be proved.

import { closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type AuditDraft, type AuditEntry, chain } from '../core/audit.ts';
import { ROLES } from '../core/roles.ts';
import type { StoredToken } from '../core/tokens.ts';
import type { AccessStore } from './access-store.ts';
import { digest, sqliteCode } from './sqlite-file.ts';
import { StoreError } from './store.ts';

export interface SqliteAccessStoreOptions {
  /** File, created with its folders when missing; `:memory:` keeps nothing. */
  readonly path: string;
  /** Size at which changes fail as `full`, bytes; default 1 GiB, about two million audit entries. */
  readonly maxBytes?: number;
}

/** `OTRA`; tells our access files from other SQLite files. */
const APPLICATION_ID = 0x4f545241;
const SCHEMA_VERSION = 1;
const DEFAULT_MAX_BYTES = 1 << 30;
const LOCK_WAIT_MS = 2_000;
const FULL = 13;
const OWNER_ONLY = 0o600;

const SCHEMA = `
  CREATE TABLE tokens (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, role TEXT NOT NULL, sha256 TEXT NOT NULL,
    services TEXT, agents TEXT, expires_at INTEGER, created_at INTEGER NOT NULL, created_by TEXT NOT NULL,
    revoked_at INTEGER, revoked_by TEXT
  ) STRICT;
  CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT, token_id TEXT, role TEXT, peer TEXT NOT NULL,
    method TEXT NOT NULL, path TEXT NOT NULL, verdict TEXT NOT NULL, status INTEGER NOT NULL, code TEXT, result TEXT,
    previous_hash TEXT NOT NULL, hash TEXT NOT NULL
  ) STRICT;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

type Row = Record<string, unknown>;

/** Opens or creates the file. @throws StoreError when it must not be used */
export function createSqliteAccessStore(options: SqliteAccessStoreOptions): AccessStore {
  return new SqliteAccessStore(options);
}

class SqliteAccessStore implements AccessStore {
  readonly #path: string;
  readonly #maxBytes: number;
  #database: DatabaseSync;
  /** After an input/output error nobody knows what reached the disk: reopen before the next acknowledgement. */
  #mustReopen = false;

  constructor({ path, maxBytes = DEFAULT_MAX_BYTES }: SqliteAccessStoreOptions) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#database = open(path, maxBytes);
  }

  async tokensStamp(): Promise<string> {
    return this.#guard(() => {
      const row = this.#database.prepare('SELECT count(*) AS made, count(revoked_at) AS ended FROM tokens').get();
      return `${String(row?.made)} ${String(row?.ended)}`;
    });
  }

  async tokens(): Promise<readonly StoredToken[]> {
    return this.#guard(() => this.#database.prepare('SELECT * FROM tokens ORDER BY position').all().map(tokenOf));
  }

  async addToken(token: StoredToken): Promise<void> {
    const { id, name, role, sha256, services, agents, expiresAtEpochMs, createdAtEpochMs, createdBy } = token;
    const lists = [services, agents].map((list) => (list === null ? null : JSON.stringify(list)));
    const values = [id, name, role, sha256, ...lists, expiresAtEpochMs, createdAtEpochMs, createdBy];
    const columns = 'id, name, role, sha256, services, agents, expires_at, created_at, created_by';
    this.#guard(() =>
      this.#database
        .prepare(`INSERT INTO tokens (${columns}) VALUES (${values.map(() => '?').join(', ')})`)
        .run(...values),
    );
  }

  async revokeToken(id: string, by: string, atEpochMs: number): Promise<StoredToken | null> {
    return this.#guard(() => {
      this.#database
        .prepare('UPDATE tokens SET revoked_at = ?, revoked_by = ? WHERE id = ? AND revoked_at IS NULL')
        .run(atEpochMs, by, id);
      const row = this.#database.prepare('SELECT * FROM tokens WHERE id = ?').get(id);
      return row === undefined ? null : tokenOf(row);
    });
  }

  async append(draft: AuditDraft): Promise<AuditEntry> {
    return this.#guard(() => {
      // One process owns the file and this runs without a pause, so nothing can come between the two statements.
      const last = this.#database.prepare('SELECT * FROM audit ORDER BY sequence DESC LIMIT 1').get();
      const entry = chain(draft, last === undefined ? null : entryOf(last), digest);
      const { sequence, atEpochMs, actor, tokenId, role, from, method, path, verdict, status, code, result } = entry;
      const said = [sequence, atEpochMs, actor, tokenId, role, from, method, path, verdict, status, code, result];
      const values = [...said, entry.previousHash, entry.hash];
      this.#database.prepare(`INSERT INTO audit VALUES (${values.map(() => '?').join(', ')})`).run(...values);
      return entry;
    });
  }

  async newest(before: number | null, limit: number): Promise<readonly AuditEntry[]> {
    const sql = 'SELECT * FROM audit WHERE sequence < ? ORDER BY sequence DESC LIMIT ?';
    return this.#guard(() =>
      this.#database
        .prepare(sql)
        .all(before ?? Number.MAX_SAFE_INTEGER, limit)
        .map(entryOf),
    );
  }

  async oldest(after: number, limit: number): Promise<readonly AuditEntry[]> {
    const sql = 'SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?';
    return this.#guard(() => this.#database.prepare(sql).all(after, limit).map(entryOf));
  }

  async close(): Promise<void> {
    if (this.#database.isOpen) this.#database.close();
  }

  #guard<T>(run: () => T): T {
    try {
      if (this.#mustReopen) {
        if (this.#database.isOpen) this.#database.close();
        this.#database = open(this.#path, this.#maxBytes);
        this.#mustReopen = false;
      }
      return run();
    } catch (error) {
      if (error instanceof StoreError) throw error;
      const text = error instanceof Error ? error.message : String(error);
      if (sqliteCode(error) === FULL) {
        throw new StoreError('full', `access store ${this.#path} has no space left (${text})`, { cause: error });
      }
      this.#mustReopen = this.#path !== ':memory:';
      throw new StoreError('unavailable', `access store ${this.#path} failed (${text})`, { cause: error });
    }
  }
}

function open(path: string, maxBytes: number): DatabaseSync {
  const isMemory = path === ':memory:';
  let database: DatabaseSync | null = null;
  try {
    const isNew = isMemory || prepareFile(path);
    database = new DatabaseSync(path);
    database.exec(`PRAGMA busy_timeout = ${LOCK_WAIT_MS}`);
    if (!isMemory) database.exec('PRAGMA locking_mode = EXCLUSIVE');
    if (!isMemory) database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    // In one transaction: a crash in between leaves a file without tables, which the next start fills.
    if (isNew) database.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT`);
    judge(database, path);
    database.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(maxBytes / 4096))}`);
    return database;
  } catch (error) {
    if (database?.isOpen) database.close();
    if (error instanceof StoreError) throw error;
    const text = error instanceof Error ? error.message : String(error);
    const hint = 'restore it from a backup; to begin anew, move it away: tokens made by the API are then gone';
    throw new StoreError('unusable', `access store ${path} cannot be opened (${text}); ${hint}`, { cause: error });
  }
}

/** Makes the file with its mode before SQLite does with the umask's. @returns whether it holds nothing yet */
function prepareFile(path: string): boolean {
  if (existsSync(path) && statSync(path).size > 0) return false;
  mkdirSync(dirname(path), { recursive: true });
  closeSync(openSync(path, 'a', OWNER_ONLY));
  // With a log beside it an empty file is one whose first commit is in the log.
  return !existsSync(`${path}-wal`) || statSync(`${path}-wal`).size === 0;
}

function judge(database: DatabaseSync, path: string): void {
  const read = (name: string): unknown => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  if (read('application_id') !== APPLICATION_ID) {
    throw new StoreError('unusable', `access store ${path} is a database, but not one of Outrigger's access stores`);
  }
  const version = Number(read('user_version'));
  if (version > SCHEMA_VERSION) {
    throw new StoreError('unusable', `access store ${path} has schema ${version}; start the newer version`);
  }
  const verdict = read('integrity_check');
  if (verdict !== 'ok') {
    throw new StoreError('unusable', `access store ${path} is damaged (${String(verdict)}); restore it from a backup`);
  }
}

function tokenOf(row: Row): StoredToken {
  const role = ROLES.find((one) => one === row.role);
  // A role that this version does not know must not become one that it does.
  if (role === undefined) throw new StoreError('unusable', `token ${String(row.id)} has an unknown role`);
  return {
    id: String(row.id),
    name: String(row.name),
    role,
    sha256: String(row.sha256),
    services: listOf(row.services),
    agents: listOf(row.agents),
    expiresAtEpochMs: numberOf(row.expires_at),
    createdAtEpochMs: Number(row.created_at),
    createdBy: String(row.created_by),
    revokedAtEpochMs: numberOf(row.revoked_at),
    revokedBy: textOf(row.revoked_by),
  };
}

function entryOf(row: Row): AuditEntry {
  return {
    sequence: Number(row.sequence),
    atEpochMs: Number(row.at),
    actor: textOf(row.actor),
    tokenId: textOf(row.token_id),
    role: textOf(row.role),
    from: String(row.peer),
    method: String(row.method),
    path: String(row.path),
    // As it stands in the file: a word that was never written breaks the chain and is named by the verification.
    verdict: String(row.verdict) as AuditEntry['verdict'],
    status: Number(row.status),
    code: textOf(row.code),
    result: textOf(row.result),
    previousHash: String(row.previous_hash),
    hash: String(row.hash),
  };
}

function listOf(value: unknown): string[] | null {
  if (value === null) return null;
  const list: unknown = JSON.parse(String(value));
  return Array.isArray(list) ? list.map(String) : [];
}

function textOf(value: unknown): string | null {
  return value === null ? null : String(value);
}

function numberOf(value: unknown): number | null {
  return value === null ? null : Number(value);
}
