// Tokens and the audit chain kept by a real Consul, as the SQLite file keeps them: two replicas, one chain.

import { createHash } from 'node:crypto';
import t from 'tap';
import { type AuditDraft, firstBroken } from '../../control-plane/core/audit.ts';
import type { StoredToken } from '../../control-plane/core/tokens.ts';
import type { AccessStore } from '../../control-plane/store/access-store.ts';
import { createConsulAccessStore } from '../../control-plane/store/consul-access-store.ts';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { ask, follow, startControlPlane } from '../support/control-plane-client.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

const digest = (text: string) => createHash('sha256').update(text).digest('hex');
const TOKEN: StoredToken = {
  id: 'a1',
  name: 'orders',
  role: 'agent',
  sha256: digest('a'),
  services: ['orders'],
  agents: null,
  expiresAtEpochMs: 5,
  createdAtEpochMs: 1,
  createdBy: 'ops',
  revokedAtEpochMs: null,
  revokedBy: null,
};
const DRAFT: AuditDraft = {
  atEpochMs: 1,
  actor: 'ops',
  tokenId: null,
  role: 'admin',
  from: '::1',
  method: 'PUT',
  path: '/v1/policies/ServicePolicy/a',
  verdict: 'allowed',
  status: 200,
  code: null,
  result: null,
};

async function open(url: string): Promise<AccessStore> {
  const kv = await ConsulKv.open({ url, token: null, tokenFile: null, datacenter: null });
  return createConsulAccessStore({ kv, prefix: 'o/', now: () => performance.now(), random: Math.random });
}

t.test('two replicas on one Consul', { timeout: 120_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const { url } = await startConsul(t);
  const [one, two] = [await open(url), await open(url)];
  t.teardown(() => Promise.all([one.close(), two.close()]));

  await t.test('a token that one makes the other revokes, and both see it by the stamp', async (t) => {
    t.same(await two.tokens(), []);
    const before = await two.tokensStamp();
    await one.addToken(TOKEN);
    t.same(await two.tokens(), [TOKEN]);
    const made = await two.tokensStamp();
    t.not(made, before);
    await t.rejects(two.addToken({ ...TOKEN, sha256: digest('b') }), { name: 'StoreError' });
    t.match(await two.revokeToken('a1', 'eve', 9), { revokedAtEpochMs: 9, revokedBy: 'eve' });
    t.match(await one.revokeToken('a1', 'ops', 10), { revokedAtEpochMs: 9 }, 'only once');
    t.equal(await one.revokeToken('../audit', 'ops', 10), null);
    t.not(await one.tokensStamp(), made);
    t.match(await one.tokens(), [{ revokedBy: 'eve' }]);
  });

  await t.test('both append at once: one chain without a gap', async (t) => {
    const appends = Array.from({ length: 60 }, (_, at) => [one, two].map((s) => s.append({ ...DRAFT, atEpochMs: at })));
    await Promise.all(appends.flat());
    const all = await two.oldest(0, 1_000);
    t.equal(all.length, 120);
    t.equal(firstBroken(all, null, digest), null);
    t.same(
      (await one.newest(null, 3)).map(({ sequence }) => sequence),
      [120, 119, 118],
    );
    t.same(
      (await one.newest(102, 3)).map(({ sequence }) => sequence),
      [101, 100, 99],
    );
    t.same(
      (await one.oldest(98, 3)).map(({ sequence }) => sequence),
      [99, 100, 101],
    );
  });

  await t.test('an entry that somebody deletes or edits in Consul is named', async (t) => {
    const key = (sequence: number) => `${url}/v1/kv/o/access/audit/${String(sequence).padStart(15, '0')}`;
    const [entry] = await one.oldest(49, 1);
    await fetch(key(50), { method: 'PUT', body: JSON.stringify({ ...entry, actor: 'nobody' }) });
    t.same(firstBroken(await two.oldest(0, 1_000), null, digest), { sequence: 50, reason: 'changed' });
    await fetch(key(50), { method: 'DELETE' });
    t.same(firstBroken(await two.oldest(0, 1_000), null, digest), { sequence: 50, reason: 'missing' });
  });
});

t.test(
  'a token revoked at one control plane is refused by the other within five seconds',
  { timeout: 120_000 },
  async (t) => {
    if (consulOrFail(t) === null) return;
    const { url: consulUrl } = await startConsul(t);
    const bootstrapToken = 'bootstrap-0123456789abcdef0123456789abcdef';
    const boss = { authorization: `Bearer ${bootstrapToken}` };
    const [one, two] = [
      await startControlPlane(t, { consulUrl, bootstrapToken }),
      await startControlPlane(t, { consulUrl, bootstrapToken }),
    ];
    const made = await ask(`${one.url}/v1/tokens`, 'POST', { name: 'screen', role: 'viewer' }, boss);
    t.equal(made.status, 201);
    const bearer = { authorization: `Bearer ${String(made.body.secret)}` };
    const status = async () => (await ask(`${two.url}/v1/whoami`, 'GET', undefined, bearer)).status;
    // Asked sparingly, since refusals count.
    const becomes = async (wanted: number): Promise<number> => {
      const startedAt = performance.now();
      while ((await status()) !== wanted) {
        if (performance.now() - startedAt > 20_000) throw new Error(`not ${wanted} within 20 s`);
        await new Promise((resolve) => setTimeout(resolve, 700));
      }
      return performance.now() - startedAt;
    };
    await becomes(200);
    const page = await follow(`${two.url}/v1/events`, bearer);
    const { id } = made.body.token as { id: string };
    const startedAt = performance.now();
    t.equal((await ask(`${one.url}/v1/tokens/${id}`, 'DELETE', undefined, boss)).status, 200);
    await page.ended;
    const endedAfterMs = performance.now() - startedAt;
    t.ok(endedAfterMs < 5_000, `the stream at the other one ended after ${Math.round(endedAfterMs)} ms`);
    t.equal(await status(), 401);
    const { body } = await ask(`${two.url}/v1/audit/verify`, 'GET', undefined, boss);
    t.match(body, { isIntact: true, firstBroken: null });
    t.match((await ask(`${two.url}/v1/audit`, 'GET', undefined, boss)).body, {
      entries: [{ status: 401 }, { method: 'DELETE', path: `/v1/tokens/${id}`, verdict: 'allowed' }],
    });
  },
);
