// What happens when the access store fails: changes wait for the audit log, tokens count for a while, and both come back.

import Fastify, { type FastifyInstance } from 'fastify';
import t from 'tap';
import { DENIED_WINDOWS, registerAudit } from '../../../control-plane/api/audit-trail.ts';
import { registerAuth } from '../../../control-plane/api/auth.ts';
import { registerProblems } from '../../../control-plane/api/problem.ts';
import { BLIND_LIMIT_MS, TokenBook } from '../../../control-plane/api/token-book.ts';
import { digestOfSecret } from '../../../control-plane/api/tokens-file.ts';
import type { StoredToken } from '../../../control-plane/core/tokens.ts';
import type { AccessStore } from '../../../control-plane/store/access-store.ts';
import { createSqliteAccessStore } from '../../../control-plane/store/sqlite-access-store.ts';
import { StoreError } from '../../../control-plane/store/store.ts';

const SECRET = `otr_${'0'.repeat(16)}_${'a'.repeat(43)}`;
const TOKEN: StoredToken = {
  id: '0'.repeat(16),
  name: 'ops',
  role: 'admin',
  sha256: digestOfSecret(SECRET),
  services: null,
  agents: null,
  expiresAtEpochMs: null,
  createdAtEpochMs: 0,
  createdBy: 'bootstrap',
  revokedAtEpochMs: null,
  revokedBy: null,
};

interface World {
  readonly app: FastifyInstance;
  readonly store: AccessStore;
  readonly book: TokenBook;
  readonly changes: () => number;
  /** What every call of the store fails with; null: it works. */
  fault: 'full' | 'unavailable' | null;
  now: number;
}

/** Two routes behind the guards, over a store that fails when it is told to. */
async function createWorld(t: { teardown(run: () => unknown): unknown }): Promise<World> {
  const real = createSqliteAccessStore({ path: ':memory:' });
  let changes = 0;
  const failing = new Proxy(real, {
    get(target, name) {
      if (world.fault === null || name === 'newest') {
        const member: unknown = Reflect.get(target, name);
        return typeof member === 'function' ? member.bind(target) : member;
      }
      const kind = world.fault;
      return async () => {
        throw new StoreError(kind, 'as the test wants it');
      };
    },
  });
  const app = Fastify();
  const clock = { now: () => world.now, epochMs: () => 1_700_000_000_000 + world.now };
  const book = new TokenBook({ file: null, fixed: [], store: failing, ...clock, warn: () => undefined });
  const world: World = { app, store: real, book, changes: () => changes, fault: null, now: 0 };
  await real.addToken(TOKEN);
  await book.refresh();
  registerProblems(app);
  registerAudit(app, { store: failing, ...clock, log: app.log });
  registerAuth(app, { book, now: clock.now });
  app.get('/read', { config: { access: ['viewer'] } }, async () => ({}));
  app.post('/change', { config: { access: ['editor'] } }, async () => {
    changes++;
    return {};
  });
  t.teardown(async () => {
    world.fault = null;
    await app.close();
    await real.close();
  });
  return world;
}

const call = async ({ app }: World, method: 'GET' | 'POST', url: string, secret: string | null = SECRET) =>
  (await app.inject({ method, url, headers: secret === null ? {} : { authorization: `Bearer ${secret}` } })).statusCode;
const pathsIn = async ({ store }: World) =>
  (await store.newest(null, 100)).map(({ path, status }) => `${path} ${status}`);

t.test('while the log cannot be written nothing is changed and everything can be read; then it goes on', async (t) => {
  const world = await createWorld(t);
  t.equal(await call(world, 'POST', '/change'), 200);
  world.fault = 'unavailable';
  // The first one is done before anybody can know; its entry waits.
  t.equal(await call(world, 'POST', '/change'), 200);
  t.equal(world.changes(), 2);
  for (let tries = 0; tries < 3; tries++) t.equal(await call(world, 'POST', '/change'), 503);
  world.fault = 'full';
  t.equal(await call(world, 'POST', '/change'), 507);
  t.equal(world.changes(), 2, 'refused before it was done');
  t.equal(await call(world, 'GET', '/read'), 200);
  t.same(await pathsIn(world), ['/change 200']);
  world.fault = null;
  t.equal(await call(world, 'POST', '/change'), 200);
  t.equal(world.changes(), 3);
  t.same((await pathsIn(world)).sort(), [
    '/change 200',
    '/change 200',
    '/change 200',
    '/change 503',
    '/change 503',
    '/change 503',
    '/change 507',
  ]);
});

t.test('tokens count for a while when their store cannot be read, and no longer', async (t) => {
  const world = await createWorld(t);
  t.equal(await call(world, 'GET', '/read'), 200);
  world.fault = 'unavailable';
  world.now += BLIND_LIMIT_MS;
  await world.book.refresh();
  t.equal(await call(world, 'GET', '/read'), 200, 'still known');
  world.now += 1;
  t.equal(await call(world, 'GET', '/read'), 503);
  t.equal(await call(world, 'GET', '/read', SECRET.replaceAll('a', 'b')), 401, 'nothing is told to who only guesses');
  t.equal(world.book.isValid(TOKEN), true, 'streams that are open go on: nothing says that it was revoked');
  world.fault = null;
  await world.book.refresh();
  t.equal(await call(world, 'GET', '/read'), 200);
});

t.test('denied attempts beyond the limit are counted in the next one that is written', async (t) => {
  const world = await createWorld(t);
  for (let tries = 0; tries < 100; tries++) await call(world, 'GET', '/read', null);
  t.equal((await world.store.newest(null, 1_000)).length, 60);
  world.now += 60_000;
  await call(world, 'GET', '/read', null);
  const [last] = await world.store.newest(null, 1);
  t.match(last, { status: 401, result: '40 denied attempts before this one were not written' });
  for (let minute = 0; minute < 60; minute++) {
    world.now += 60_000;
    for (let tries = 0; tries < 60; tries++) await call(world, 'GET', '/read', null);
  }
  t.equal((await world.store.newest(null, 5_000)).length, DENIED_WINDOWS[1].limit, 'nor more than that in a day');
  await world.book.refresh();
  t.equal(await call(world, 'POST', '/change'), 200);
  t.match(await world.store.newest(null, 1), [{ path: '/change', verdict: 'allowed' }], 'changes always are');
});

t.test('a route that does not say who may call it keeps the process from starting', async (t) => {
  const { app } = await createWorld(t);
  t.throws(() => app.get('/forgotten', async () => ({})), /does not declare config\.access/);
});
