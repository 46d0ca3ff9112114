// Tokens and audit entries across restarts, and files that must not be used.

import { chmodSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import type { AuditDraft } from '../../../control-plane/core/audit.ts';
import type { StoredToken } from '../../../control-plane/core/tokens.ts';
import { createSqliteAccessStore } from '../../../control-plane/store/sqlite-access-store.ts';

const TOKEN: StoredToken = {
  id: 'a1',
  name: 'orders',
  role: 'agent',
  sha256: 'ab'.repeat(32),
  services: ['orders', 'pay-*'],
  agents: null,
  expiresAtEpochMs: 5,
  createdAtEpochMs: 1,
  createdBy: 'ops',
  revokedAtEpochMs: null,
  revokedBy: null,
};
const DRAFT: AuditDraft = {
  atEpochMs: 1,
  actor: null,
  tokenId: null,
  role: null,
  from: '::1',
  method: 'GET',
  path: '/v1/agents',
  verdict: 'denied',
  status: 401,
  code: 'OTR_ERR_UNAUTHORIZED',
  result: null,
};

t.test('tokens come back as they were, and their stamp changes with each change', async (t) => {
  const path = `${t.testdir()}/deep/access.db`;
  const first = createSqliteAccessStore({ path });
  const stamps = [await first.tokensStamp()];
  await first.addToken(TOKEN);
  stamps.push(await first.tokensStamp());
  await first.addToken({ ...TOKEN, id: 'a2', services: null, expiresAtEpochMs: null });
  stamps.push(await first.tokensStamp());
  t.match(await first.revokeToken('a2', 'ops', 9), { revokedAtEpochMs: 9, revokedBy: 'ops' });
  stamps.push(await first.tokensStamp());
  t.match(await first.revokeToken('a2', 'eve', 10), { revokedAtEpochMs: 9, revokedBy: 'ops' }, 'only once');
  t.equal(await first.revokeToken('none', 'ops', 9), null);
  t.equal(new Set(stamps).size, 4);
  await first.close();
  t.equal(statSync(path).mode & 0o777, 0o600, 'for its owner only');
  const second = createSqliteAccessStore({ path });
  t.teardown(() => second.close());
  const [one, two] = await second.tokens();
  t.same(one, TOKEN);
  t.match(two, { id: 'a2', services: null, expiresAtEpochMs: null, revokedBy: 'ops' });
  // An id is never used twice.
  await t.rejects(second.addToken(TOKEN), { name: 'StoreError', kind: 'unavailable' });
  t.equal((await second.tokens()).length, 2, 'and the store goes on');
});

t.test('the chain goes on after a restart; both directions are paged', async (t) => {
  const path = `${t.testdir()}/access.db`;
  const first = createSqliteAccessStore({ path });
  for (let at = 0; at < 5; at++) await first.append({ ...DRAFT, atEpochMs: at });
  await first.close();
  const second = createSqliteAccessStore({ path });
  t.teardown(() => second.close());
  const sixth = await second.append({ ...DRAFT, actor: 'ops' });
  t.equal(sixth.sequence, 6);
  const numbers = (list: readonly { sequence: number }[]) => list.map(({ sequence }) => sequence);
  t.same(numbers(await second.newest(null, 4)), [6, 5, 4, 3]);
  t.same(numbers(await second.newest(3, 4)), [2, 1]);
  t.same(numbers(await second.oldest(0, 2)), [1, 2]);
  t.same(numbers(await second.oldest(4, 9)), [5, 6]);
  t.equal(sixth.previousHash, (await second.newest(6, 1))[0]?.hash);
});

t.test('a full file is told as full, and goes on when there is room', async (t) => {
  const store = createSqliteAccessStore({ path: `${t.testdir()}/access.db`, maxBytes: 64 * 1024 });
  t.teardown(() => store.close());
  const fill = async (): Promise<void> => {
    for (let at = 0; at < 2_000; at++) await store.append({ ...DRAFT, path: 'x'.repeat(300) });
  };
  await t.rejects(fill(), { name: 'StoreError', kind: 'full' });
  t.ok((await store.newest(null, 1)).length === 1, 'it can be read');
});

t.test('files that are damaged, foreign, newer or in use are refused', async (t) => {
  const folder = t.testdir({ 'text.db': 'not a database at all, whatever its name says'.repeat(100) });
  const refused = (path: string, message: RegExp) => t.throws(() => createSqliteAccessStore({ path }), { message });
  refused(`${folder}/text.db`, /cannot be opened|not one of/);
  const foreign = new DatabaseSync(`${folder}/foreign.db`);
  foreign.exec('CREATE TABLE a (b)');
  foreign.close();
  refused(`${folder}/foreign.db`, /not one of Outrigger's/);
  const path = `${folder}/access.db`;
  const store = createSqliteAccessStore({ path });
  for (let at = 0; at < 200; at++) await store.append(DRAFT);
  refused(path, /cannot be opened/);
  await store.close();
  const newer = new DatabaseSync(path);
  newer.exec('PRAGMA user_version = 99');
  newer.close();
  refused(path, /start the newer version/);
  truncateSync(path, 8_192);
  refused(path, /damaged|cannot be opened/);
  writeFileSync(`${folder}/new.db`, '');
  chmodSync(`${folder}/new.db`, 0o600);
  const made = createSqliteAccessStore({ path: `${folder}/new.db` });
  t.teardown(() => made.close());
  t.same(await made.tokens(), [], 'an empty file is one that was never filled');
});
