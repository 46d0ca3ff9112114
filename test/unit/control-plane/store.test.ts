// The SQLite store's file: full, unusable in every way, owned twice, failing, and from an older version. What it promises as a
// store is in test/integration/store-conformance.

import { copyFileSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { createSqliteStore } from '../../../control-plane/store/sqlite-store.ts';
import { type Store, StoreError, type WriteOptions } from '../../../control-plane/store/store.ts';

const epochMs = (): number => 1_700_000_000_000;

function document(name: string, attempts = 1): PolicyDocument {
  return { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name }, spec: { retries: { attempts } } };
}

function on(ifVersion: number, changes: Partial<WriteOptions> = {}): WriteOptions {
  return { ifMatch: { kind: 'any' }, ifVersion, author: 'ann', ...changes };
}

/** A store with three versions in a file of its own. */
async function filled(path: string): Promise<Store> {
  const store = createSqliteStore({ path, epochMs });
  await store.put(document('payments'), on(0));
  await store.put(document('payments', 2), on(1));
  await store.put(document('orders'), on(2));
  return store;
}

function run(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

function refusal(path: string, maxBytes?: number): StoreError | null {
  try {
    void createSqliteStore({ path, epochMs, ...(maxBytes === undefined ? {} : { maxBytes }) }).close();
    return null;
  } catch (error) {
    if (error instanceof StoreError) return error;
    throw error;
  }
}

t.test('a store without space refuses, acknowledges nothing, and serves what it has', async (t) => {
  const path = join(t.testdir(), 'policies.db');
  const store = createSqliteStore({ path, epochMs, maxBytes: 12 * 4096 });
  t.teardown(() => store.close());
  const large = { ...document('a'), spec: { note: 'x'.repeat(5000) } };
  let accepted = 0;
  let refused: unknown = null;
  while (refused === null && accepted < 100) {
    const spec = { note: `${accepted} ${large.spec.note}` };
    const result = await store.put({ ...large, spec }, on(accepted)).catch((error: unknown) => error);
    if (result instanceof Error) refused = result;
    else accepted++;
  }
  t.match(refused, { kind: 'full', message: /no space left/ });
  t.equal(await store.version(), accepted);
  t.match((await store.get('ServicePolicy/a'))?.document.spec.note, new RegExp(`^${accepted - 1} `));
});

t.test('a file that cannot be trusted is refused with a reason, never opened as an empty set', async (t) => {
  const folder = t.testdir();
  const at = (name: string): string => join(folder, name);
  await (await filled(at('good.db'))).close();
  t.equal(refusal(at('good.db')), null);

  writeFileSync(at('text.db'), 'this is a shopping list and not a database\n'.repeat(100));
  t.match(refusal(at('text.db')), { kind: 'unusable', message: /is not a SQLite database/ });

  copyFileSync(at('good.db'), at('empty.db'));
  truncateSync(at('empty.db'), 0);
  t.match(refusal(at('empty.db')), { kind: 'unusable', message: /truncated/ });

  copyFileSync(at('good.db'), at('short.db'));
  truncateSync(at('short.db'), 8192);
  t.match(refusal(at('short.db')), { kind: 'unusable', message: /damaged/ });

  const bytes = readFileSync(at('good.db'));
  const place = bytes.indexOf('"attempts":2');
  t.ok(place > 0);
  bytes[place + 11] = '9'.charCodeAt(0);
  // The table with the documents comes before the history in the file or after it; flip it in both.
  const second = bytes.indexOf('"attempts":2', place);
  if (second > 0) bytes[second + 11] = '9'.charCodeAt(0);
  writeFileSync(at('flipped.db'), bytes);
  t.match(refusal(at('flipped.db')), { kind: 'unusable', message: /damaged ServicePolicy\/payments/ });

  run(at('foreign.db'), 'CREATE TABLE songs (title TEXT)');
  t.match(refusal(at('foreign.db')), { kind: 'unusable', message: /not one of Outrigger's/ });

  copyFileSync(at('good.db'), at('newer.db'));
  run(at('newer.db'), 'PRAGMA user_version = 99');
  t.match(refusal(at('newer.db')), { kind: 'unusable', message: /schema 99, this version knows 3/ });

  writeFileSync(at('lost.db-wal'), 'pages without a database');
  t.match(refusal(at('lost.db')), { kind: 'unusable', message: /is gone while its write-ahead log is still there/ });

  mkdirSync(at('folder.db'));
  t.match(refusal(at('folder.db')), { kind: 'unusable', message: /cannot be opened/ });
  t.match(refusal(join(at('text.db'), 'policies.db')), { kind: 'unusable', message: /cannot be opened/ });
});

t.test('a second owner of the same file is refused', async (t) => {
  const path = join(t.testdir(), 'policies.db');
  const store = await filled(path);
  t.teardown(() => store.close());
  t.match(refusal(path), { kind: 'unavailable', message: /in use by another process/ });
});

t.test('a change that reached the disk although its commit was answered as failed is announced', async (t) => {
  const path = join(t.testdir(), 'policies.db');
  const store = await filled(path);
  t.teardown(() => store.close());
  // The handle fails from here on; another hand on the file stands for the commit that nobody saw succeed.
  await store.close();
  const other = createSqliteStore({ path, epochMs });
  await other.put(document('unseen'), on(3));
  await other.close();
  const announced: number[] = [];
  store.onChange(({ version, policies }) => announced.push(version, policies.length));
  await t.rejects(store.version(), /failed/);
  t.equal(await store.version(), 4);
  t.same(announced, [4, 3], 'agents get what is in force');
});

t.test('after an input/output error the store reopens before it acknowledges again', async (t) => {
  const path = join(t.testdir(), 'policies.db');
  const store = await filled(path);
  t.teardown(() => store.close());
  await store.close();
  await t.rejects(store.put(document('late'), on(3)), /policy store .* failed|cannot be opened|is gone/);
  t.match(
    await store.put(document('late'), on(3)),
    { kind: 'written', version: 4 },
    'the next one found the file well',
  );
  await store.close();
  rmSync(path);
  rmSync(`${path}-wal`, { force: true });
  await t.rejects(store.version(), /policy store .* failed|cannot be opened|is gone/);
});

t.test('a file of schema 1 is taken over, without messages and without a rollout', async (t) => {
  const path = join(t.testdir(), 'policies.db');
  await (await filled(path)).close();
  run(
    path,
    `ALTER TABLE state DROP COLUMN rollout; ALTER TABLE state DROP COLUMN generation; ALTER TABLE policies DROP COLUMN message;
     ALTER TABLE revisions DROP COLUMN message; PRAGMA user_version = 1`,
  );
  const store = createSqliteStore({ path, epochMs });
  t.match(await store.list(), { version: 3, policies: [{ message: '' }, { message: '' }], rollout: null });
  const { generation } = await store.list();
  t.match(generation, /^[0-9a-f]{12}$/);
  t.match(await store.put(document('late'), on(3, { message: 'why' })), { version: 4 });
  await store.close();
  const again = createSqliteStore({ path, epochMs });
  t.teardown(() => again.close());
  t.equal((await again.get('ServicePolicy/late'))?.message, 'why');
  t.equal((await again.list()).generation, generation);
});
