// Opening and judging the database file. A file that cannot be trusted is refused with a sentence that says what to do:
// serving an empty set in place of a damaged one would switch every rule of the mesh off at once.

import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StoreError } from './store.ts';

/** `OTRG`; tells our files from other SQLite files. */
const APPLICATION_ID = 0x4f545247;
const SCHEMA_VERSION = 3;
const LOCK_WAIT_MS = 2000;

/** An SQL expression: a name that no other store has. */
export const NEW_GENERATION = 'lower(hex(randomblob(6)))';

const SCHEMA = `
  CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, rollout TEXT, generation TEXT NOT NULL);
  CREATE TABLE policies (
    kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, sha256 TEXT NOT NULL,
    revision INTEGER NOT NULL, version INTEGER NOT NULL, author TEXT NOT NULL, at INTEGER NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (kind, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE revisions (
    kind TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, version INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('put', 'remove')), document TEXT, author TEXT NOT NULL, at INTEGER NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (kind, name, revision)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO state VALUES (1, 0, NULL, ${NEW_GENERATION});
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** From schema 1, which knew neither messages nor rollouts. */
const FROM_SCHEMA_1 = `
  BEGIN IMMEDIATE;
  ALTER TABLE state ADD COLUMN rollout TEXT;
  ALTER TABLE policies ADD COLUMN message TEXT NOT NULL DEFAULT '';
  ALTER TABLE revisions ADD COLUMN message TEXT NOT NULL DEFAULT '';
  PRAGMA user_version = 2;
  COMMIT;
`;

/** From schema 2, which knew no generation. */
const FROM_SCHEMA_2 = `
  BEGIN IMMEDIATE;
  ALTER TABLE state ADD COLUMN generation TEXT NOT NULL DEFAULT '';
  UPDATE state SET generation = ${NEW_GENERATION};
  PRAGMA user_version = ${SCHEMA_VERSION};
  COMMIT;
`;

/**
 * Opens the database, creating it when neither the file nor a trace of it is there.
 *
 * @param maxBytes  beyond this size writes fail as `full`
 * @throws StoreError `unusable` or `unavailable`
 */
export function openDatabase(path: string, maxBytes: number): DatabaseSync {
  const isMemory = path === ':memory:';
  if (!isMemory) prepareFile(path);
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path);
    database.exec(`PRAGMA busy_timeout = ${LOCK_WAIT_MS}`);
    // One process owns the file: a second control plane on it would push versions that this one does not know.
    if (!isMemory) database.exec('PRAGMA locking_mode = EXCLUSIVE');
    if (isMemory) database.exec(SCHEMA);
    judge(database, path);
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
    if (pragma(database, 'user_version') === 1) database.exec(FROM_SCHEMA_1);
    if (pragma(database, 'user_version') === 2) database.exec(FROM_SCHEMA_2);
    database.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(maxBytes / 4096))}`);
    // Takes the write lock once, so that a read-only file or a second owner shows now and not at the first change.
    database.exec('BEGIN IMMEDIATE; UPDATE state SET version = version; COMMIT');
    return database;
  } catch (error) {
    if (database?.isOpen) database.close();
    throw error instanceof StoreError ? error : openError(error, path);
  }
}

/** The SHA-256 kept beside every document: SQLite checks the shape of its pages, not the text in them. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** SQLite's primary result code of an error, 0 when it is not one of SQLite's. */
export function sqliteCode(error: unknown): number {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : null;
  return typeof code === 'number' ? code & 0xff : 0;
}

function prepareFile(path: string): void {
  if (existsSync(path)) {
    // A new file takes its name only after its schema is durable, so an empty file was emptied by somebody.
    if (statSync(path).size === 0) throw unusable(path, 'is empty, so it was truncated', 'restore it from a backup');
    return;
  }
  if (existsSync(`${path}-wal`)) {
    throw unusable(path, 'is gone while its write-ahead log is still there', 'restore both, or remove the log');
  }
  createFile(path);
}

/** Builds the file under another name and renames it, so that a crash leaves no half-made database. */
function createFile(path: string): void {
  const draft = `${path}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    rmSync(draft, { force: true });
    const database = new DatabaseSync(draft);
    try {
      database.exec(`PRAGMA synchronous = FULL; BEGIN; ${SCHEMA} COMMIT`);
    } finally {
      database.close();
    }
    renameSync(draft, path);
    syncFolder(dirname(path));
  } catch (error) {
    throw openError(error, path);
  }
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function judge(database: DatabaseSync, path: string): void {
  const applicationId = pragma(database, 'application_id');
  if (applicationId !== APPLICATION_ID) {
    throw unusable(path, "is a SQLite database, but not one of Outrigger's", 'choose another store path');
  }
  const schema = Number(pragma(database, 'user_version'));
  if (schema > SCHEMA_VERSION) {
    throw unusable(path, `has schema ${schema}, this version knows ${SCHEMA_VERSION}`, 'start the newer version');
  }
  const verdict = pragma(database, 'integrity_check');
  if (verdict !== 'ok') throw unusable(path, `is damaged (${String(verdict)})`, 'restore it from a backup');
  for (const row of database.prepare('SELECT kind, name, document, sha256 FROM policies').all()) {
    if (digest(String(row.document)) !== row.sha256) {
      throw unusable(path, `holds a damaged ${String(row.kind)}/${String(row.name)}`, 'restore it from a backup');
    }
  }
  const { version, rollout = null } = database.prepare('SELECT * FROM state WHERE id = 1').get() ?? {};
  const highest = database.prepare('SELECT max(version) AS version FROM revisions').get()?.version ?? 0;
  // Steps of a rollout are versions without a revision.
  const isPlausible = rollout === null ? version === highest : Number(version) >= Number(highest);
  if (typeof version !== 'number' || !isPlausible) {
    throw unusable(path, `is at version ${String(version)} while its history ends at ${String(highest)}`, 'restore it');
  }
}

function pragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

function unusable(path: string, what: string, fix: string): StoreError {
  return new StoreError('unusable', `policy store ${path} ${what}; ${fix}`);
}

const NOT_A_DATABASE = 26;
const CORRUPT = 11;
const BUSY = 5;
const READ_ONLY = 8;

function openError(error: unknown, path: string): StoreError {
  const text = error instanceof Error ? error.message : String(error);
  switch (sqliteCode(error)) {
    case NOT_A_DATABASE:
      return unusable(path, 'is not a SQLite database', 'choose another store path, or restore the file from a backup');
    case CORRUPT:
      return unusable(path, `is damaged (${text})`, 'restore it from a backup');
    case READ_ONLY:
      return unusable(path, 'is read-only', 'make the file and its folder writable for this user');
    case BUSY:
      return new StoreError('unavailable', `policy store ${path} is in use by another process; stop that one first`);
    default:
      return new StoreError('unusable', `policy store ${path} cannot be opened: ${text}`, { cause: error });
  }
}
