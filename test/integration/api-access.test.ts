// Tokens from the first to the revoked one, what an agent's token is good for, what the audit log holds, and that no secret is
// ever anywhere but in the one answer that made it.

import { readdirSync, readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import t from 'tap';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { createStateFile } from '../../agent/state-file.ts';
import { createControlPlaneClient } from '../../agent/sync/control-plane-client.ts';
import { createLastGoodPolicies } from '../../agent/sync/last-good-policies.ts';
import { createPolicyStream } from '../../agent/sync/policy-stream.ts';
import { type AuditEntry, CHAIN_START } from '../../control-plane/core/audit.ts';
import { ask, follow, nextPush, orderReport, startControlPlane } from '../support/control-plane-client.ts';
import { temporaryFolder, until } from '../support/processes.ts';

const BOOTSTRAP = 'bootstrap-canary-0123456789abcdef0123456789';
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
const boss = bearer(BOOTSTRAP);

interface Made {
  readonly secret: string;
  readonly token: { readonly id: string; readonly name: string; readonly state: string };
}

async function make(url: string, body: object): Promise<Made> {
  const answer = await ask(`${url}/v1/tokens`, 'POST', body, boss);
  if (answer.status !== 201) throw new Error(`made ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body as unknown as Made;
}

const policy = (name: string, spec: object = {}, kind = 'ServicePolicy') => ({
  apiVersion: 'outrigger.dev/v1',
  kind,
  metadata: { name },
  spec,
});

t.test('a token is made, used, listed and revoked; its stream ends', { timeout: 60_000 }, async (t) => {
  const { url } = await startControlPlane(t, { bootstrapToken: BOOTSTRAP });
  const made = await ask(`${url}/v1/tokens`, 'POST', { name: 'screen', role: 'viewer', ttl: '1h' }, boss);
  t.equal(made.status, 201);
  t.equal(made.headers.get('cache-control'), 'no-store');
  const { secret, token } = made.body as unknown as Made;
  t.match(secret, /^otr_[0-9a-f]{16}_[\w-]{43}$/);
  t.match(token, { name: 'screen', role: 'viewer', state: 'valid', createdBy: 'bootstrap', source: 'api' });
  t.match((await ask(`${url}/v1/whoami`, 'GET', undefined, bearer(secret))).body, {
    isAuthenticated: true,
    token: { id: token.id, role: 'viewer' },
  });
  const page = await follow(`${url}/v1/events`, bearer(secret));
  const startedAt = performance.now();
  t.match(await ask(`${url}/v1/tokens/${token.id}`, 'DELETE', undefined, boss), {
    status: 200,
    body: { token: { state: 'revoked', revokedBy: 'bootstrap' } },
  });
  await page.ended;
  t.ok(performance.now() - startedAt < 5_000, 'the stream that it opened is over');
  t.equal((await ask(`${url}/v1/whoami`, 'GET', undefined, bearer(secret))).status, 401);
  const { body } = await ask(`${url}/v1/tokens`, 'GET', undefined, boss);
  const listed = new Map((body.tokens as Made['token'][]).map((one) => [one.id, one]));
  t.match(listed.get(token.id), { state: 'revoked' });
  t.match(listed.get('bootstrap'), { source: 'configuration', state: 'valid' });
  t.equal(listed.size, 2);
  t.notMatch(JSON.stringify(body), /sha256|otr_/);
  t.match(await ask(`${url}/v1/tokens/bootstrap`, 'DELETE', undefined, boss), {
    status: 404,
    body: { detail: /configuration/ },
  });
  t.equal((await ask(`${url}/v1/tokens/none`, 'DELETE', undefined, boss)).status, 404);
});

t.test('a token ends at its time, its stream with it', { timeout: 60_000 }, async (t) => {
  const { url } = await startControlPlane(t, { bootstrapToken: BOOTSTRAP });
  const { secret } = await make(url, { name: 'short', role: 'viewer', ttl: '1s' });
  const page = await follow(`${url}/v1/events`, bearer(secret));
  await page.ended;
  t.equal((await ask(`${url}/v1/whoami`, 'GET', undefined, bearer(secret))).status, 401);
});

t.test('what a token must be, and what is wrong with others', async (t) => {
  const { url } = await startControlPlane(t, { bootstrapToken: BOOTSTRAP });
  const bad: readonly [object, number, RegExp][] = [
    [{}, 400, /name/],
    [{ name: 'a' }, 400, /role/],
    [{ name: 'a b', role: 'viewer' }, 400, /name/],
    [{ name: 'a', role: 'root' }, 400, /role/],
    [{ name: 'a', role: 'viewer', more: 1 }, 400, /additional/],
    [{ name: 'a', role: 'viewer', ttl: 'soon' }, 422, /duration/],
    [{ name: 'a', role: 'viewer', ttl: '400d' }, 422, /366d/],
    [{ name: 'a', role: 'viewer', services: ['a'] }, 422, /binds agents and editors/],
    [{ name: 'a', role: 'editor', agents: ['a'] }, 422, /binds agents/],
    [{ name: 'a', role: 'agent', services: ['a b'] }, 422, /service names/],
  ];
  for (const [body, status, text] of bad) {
    const answer = await ask(`${url}/v1/tokens`, 'POST', body, boss);
    t.equal(answer.status, status, JSON.stringify(body));
    t.match(JSON.stringify(answer.body), text);
  }
  t.match((await ask(`${url}/v1/tokens`, 'GET', undefined, boss)).body, { tokens: { length: 1 } });
});

t.test('an agent token is good for its own service, and gets the policies of its own calls', async (t) => {
  const { url } = await startControlPlane(t, { bootstrapToken: BOOTSTRAP });
  const put = (name: string, spec: object, kind?: string) =>
    ask(`${url}/v1/policies/${kind ?? 'ServicePolicy'}/${name}`, 'PUT', policy(name, spec, kind), boss);
  await put('payments', { overrides: [{ caller: 'secret-*', timeouts: { request: '1s' } }] });
  await put('vault', { timeouts: { request: '5s' } });
  await put('vault', { defaultAction: 'deny', sources: [{ name: 'secret-x', action: 'allow' }] }, 'ServiceIntentions');
  const { secret } = await make(url, { name: 'orders', role: 'agent', services: ['orders'], agents: ['orders-*'] });
  const agent = bearer(secret);
  const statusOf = async (path: string) => (await ask(url + path, 'GET', undefined, agent)).status;
  t.equal(await statusOf('/v1/agents/orders-1/stream'), 403, 'a bound token says its service');
  t.equal(await statusOf('/v1/agents/orders-1/stream?service=payments'), 403);
  t.equal(await statusOf('/v1/agents/payments-1/stream?service=orders'), 403);
  t.equal(await statusOf('/v1/policies'), 403, 'only by the stream');
  const stream = await follow(`${url}/v1/agents/orders-1/stream?service=orders`, agent);
  t.teardown(() => stream.stop());
  const { version, documents } = await nextPush(stream);
  t.equal(version, 3);
  t.same(
    documents.map(({ kind, metadata }) => `${kind}/${metadata.name}`),
    ['ServiceIntentions/vault', 'ServicePolicy/payments'],
  );
  t.notMatch(JSON.stringify(documents), /secret-/);
  const report = (id: string, changes: object) =>
    ask(`${url}/v1/agents/${id}/reports`, 'POST', { ...orderReport(1), ...changes }, agent);
  t.equal((await report('orders-1', { service: 'payments' })).status, 403, 'reports as itself only');
  t.equal((await report('payments-1', {})).status, 403);
  t.equal((await report('orders-1', {})).status, 204);
  // Two services under one token: still nobody takes over the name of an agent beside the other.
  const both = bearer((await make(url, { name: 'both', role: 'agent', services: ['orders', 'web'] })).secret);
  const taken = await ask(`${url}/v1/agents/orders-1/stream?service=web`, 'GET', undefined, both);
  t.match(taken, { status: 403, body: { detail: /beside another service/ } });
});

t.test(
  'an agent whose token is revoked keeps its policies and says why it hears nothing',
  { timeout: 60_000 },
  async (t) => {
    const { url } = await startControlPlane(t, { bootstrapToken: BOOTSTRAP });
    await ask(`${url}/v1/policies/ServicePolicy/payments`, 'PUT', policy('payments'), boss);
    const { secret, token } = await make(url, { name: 'orders', role: 'agent', services: ['orders'] });
    const events: string[] = [];
    let applied = -1;
    const client = createControlPlaneClient({ urls: [url], token: secret, tokenFile: null }, Math.random);
    const stream = createPolicyStream({
      client,
      agentId: 'orders-1',
      life: '1',
      service: 'orders',
      clock: systemClock,
      random: systemRandom,
      local: null,
      lastGood: createLastGoodPolicies({
        store: createStateFile(`${temporaryFolder(t)}/policies.json`, 'policies'),
        clock: systemClock,
        onEvent: () => undefined,
      }),
      apply: ({ version, nonce }) => {
        applied = version;
        return { version, nonce, verdict: 'ACK', appliedVersion: version, problems: [] };
      },
      onEvent: ({ reason, text }) => events.push(`${reason}: ${text}`),
    });
    t.teardown(async () => {
      await stream.stop();
      client.close();
    });
    stream.start();
    await until(() => applied === 1, 10_000);
    await ask(`${url}/v1/tokens/${token.id}`, 'DELETE', undefined, boss);
    await until(() => events.some((event) => event.startsWith('credential_refused: ')), 20_000);
    t.match(events.at(-1), /answered 401.*policies of version 1 stay in force/);
    t.match(stream.status(), { isConnected: false, appliedVersion: 1, failure: /401|429/ });
    t.equal(events.filter((event) => event.startsWith('credential_refused')).length, 1, 'told once');
  },
);

t.test('a bound editor writes the documents of its services only', async (t) => {
  const { url } = await startControlPlane(t, { bootstrapToken: BOOTSTRAP });
  const { secret } = await make(url, { name: 'shop', role: 'editor', services: ['shop-*'] });
  const write = async (kind: string, name: string) =>
    (await ask(`${url}/v1/policies/${kind}/${name}`, 'PUT', policy(name, {}, kind), bearer(secret))).status;
  t.equal(await write('ServicePolicy', 'shop-cart'), 201);
  t.equal(await write('ServicePolicy', 'payments'), 403);
  t.equal(await write('MeshDefaults', 'global'), 403);
  await ask(`${url}/v1/policies/ServicePolicy/payments`, 'PUT', policy('payments'), boss);
  const payments = `${url}/v1/policies/ServicePolicy/payments`;
  t.equal((await ask(payments, 'DELETE', undefined, bearer(secret))).status, 403);
  t.equal((await ask(`${payments}/rollback`, 'POST', { revision: 1 }, bearer(secret))).status, 403);
  t.equal((await ask(payments, 'GET', undefined, bearer(secret))).status, 200, 'reads everything');
});

t.test('the audit log holds every change and denial, and names the entry that somebody edited', async (t) => {
  const folder = temporaryFolder(t);
  const first = await startControlPlane(t, { bootstrapToken: BOOTSTRAP, folder });
  const { url } = first;
  const path = '/v1/policies/ServicePolicy/payments';
  await ask(`${url}${path}`, 'PUT', policy('payments'), boss);
  await ask(`${url}${path}`, 'PUT', policy('payments', { timeouts: { request: 'soon' } }), boss);
  await ask(`${url}${path}`, 'DELETE', undefined, { ...boss, 'if-match': '"7"' });
  const { secret, token } = await make(url, { name: 'screen', role: 'viewer' });
  await ask(`${url}${path}?wait=0s`, 'DELETE', undefined, bearer(secret));
  await ask(`${url}${path}?token=hunter2`, 'DELETE');
  await ask(`${url}/v1/policies:validate`, 'POST', policy('payments'), boss);
  const { body } = await ask(`${url}/v1/audit`, 'GET', undefined, boss);
  const entries = body.entries as AuditEntry[];
  t.match(entries, [
    { sequence: 6, actor: null, method: 'DELETE', path, verdict: 'denied', status: 401, code: 'OTR_ERR_UNAUTHORIZED' },
    { sequence: 5, actor: 'screen', tokenId: token.id, role: 'viewer', path, verdict: 'denied', status: 403 },
    { sequence: 4, actor: 'bootstrap', path: '/v1/tokens', verdict: 'allowed', result: `token ${token.id}` },
    { sequence: 3, actor: 'bootstrap', verdict: 'refused', status: 412, code: 'OTR_ERR_STALE_REVISION' },
    { sequence: 2, verdict: 'refused', status: 422, code: 'OTR_ERR_INVALID', result: null },
    {
      sequence: 1,
      verdict: 'allowed',
      status: 201,
      result: 'revision 1',
      previousHash: CHAIN_START,
      from: '127.0.0.1',
    },
  ]);
  t.equal(entries.length, 6, 'dry runs and reads change nothing');
  const pages: number[] = [];
  for (let cursor = ''; ; ) {
    const page = (await ask(`${url}/v1/audit?limit=4${cursor}`, 'GET', undefined, boss)).body;
    pages.push(...(page.entries as AuditEntry[]).map(({ sequence }) => sequence));
    if (page.nextCursor === null) break;
    cursor = `&cursor=${String(page.nextCursor)}`;
  }
  t.same(pages, [6, 5, 4, 3, 2, 1]);
  const verify = async (at: string, query = '') =>
    (await ask(`${at}/v1/audit/verify${query}`, 'GET', undefined, boss)).body;
  const intact = await verify(url);
  t.match(intact, { isIntact: true, entries: 6, head: { sequence: 6, hash: entries[0]?.hash }, firstBroken: null });
  const noted = `?sequence=6&hash=${entries[0]?.hash}`;
  t.match(await verify(url, noted), { isIntact: true, hasNoted: true });
  await first.stop();
  const edit = (sql: string) => {
    const database = new DatabaseSync(`${folder}/policies-access.db`);
    database.exec(sql);
    database.close();
  };
  edit("UPDATE audit SET actor = 'somebody' WHERE sequence = 3");
  const second = await startControlPlane(t, { bootstrapToken: BOOTSTRAP, folder });
  t.match(await verify(second.url), { isIntact: false, firstBroken: { sequence: 3, reason: 'changed' } });
  await second.stop();
  edit("UPDATE audit SET actor = 'bootstrap' WHERE sequence = 3; DELETE FROM audit WHERE sequence = 6");
  const third = await startControlPlane(t, { bootstrapToken: BOOTSTRAP, folder });
  t.match(await verify(third.url), { isIntact: true, entries: 5 }, 'an end that was cut off does not show by itself');
  t.match(await verify(third.url, noted), { isIntact: false, hasNoted: false }, 'but against a note');
});

t.test('no secret is in a log line, an answer, the audit log or a file', { timeout: 60_000 }, async (t) => {
  const folder = temporaryFolder(t);
  let lines = '';
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines += String(chunk);
      done();
    },
  });
  const { url, routes, stop } = await startControlPlane(t, {
    bootstrapToken: BOOTSTRAP,
    folder,
    log: pino({ level: 'trace' }, sink),
  });
  const made = [
    await make(url, { name: 'one', role: 'viewer' }),
    await make(url, { name: 'two', role: 'agent', services: ['orders'] }),
  ];
  const [viewer = '', agent = ''] = made.map(({ secret }) => secret);
  const wrong = 'wrong-canary-0123456789abcdef';
  const secrets = [BOOTSTRAP, viewer, agent, wrong];
  // Where secrets end up by mistake: another scheme, the path, the query, a cookie, a body.
  for (const secret of secrets) {
    await ask(`${url}/v1/agents`, 'GET', undefined, { authorization: `Basic ${secret}` });
    await ask(`${url}/v1/agents?token=${secret}`, 'GET', undefined, { cookie: `token=${secret}` });
    if (secret.startsWith('otr_')) {
      await ask(`${url}/v1/tokens/${secret}`, 'DELETE', undefined, bearer(viewer));
      await ask(`${url}/v1/tokens/${secret}`, 'DELETE', undefined, boss);
    }
    await ask(`${url}/v1/agents/orders-1/acks`, 'POST', { secret }, bearer(secret));
    await ask(`${url}/v1/agents/orders-1/reports`, 'POST', `{"a": "${secret}`, bearer(secret));
  }
  const answers: string[] = [];
  for (const { method, url: path } of routes) {
    if (method !== 'GET' || /:|stream|events/.test(path)) continue;
    answers.push(JSON.stringify((await ask(url + path, 'GET', undefined, boss)).body));
  }
  t.ok(answers.length > 10, `${answers.length} answers`);
  await stop();
  const files = readdirSync(folder).map((name) => readFileSync(`${folder}/${name}`, 'latin1'));
  t.ok(files.length >= 2);
  t.ok(lines.length > 0, 'something was logged');
  for (const secret of secrets) {
    t.notOk(lines.includes(secret), 'not in the log');
    t.notOk(
      answers.some((text) => text.includes(secret)),
      'not in an answer',
    );
    t.notOk(
      files.some((text) => text.includes(secret)),
      'not in a file',
    );
  }
});

t.test('guesses without end are counted and not written', { timeout: 60_000 }, async (t) => {
  const { url } = await startControlPlane(t, { bootstrapToken: BOOTSTRAP });
  let status = 0;
  for (let tries = 0; tries < 100; tries++) {
    const answer = await ask(`${url}/v1/agents`, 'GET', undefined, bearer(`guess-${tries}-0123456789`));
    status = answer.status;
    if (status === 429) t.match(answer.headers.get('retry-after'), /^\d+$/);
  }
  t.equal(status, 429);
  const { entries } = (await ask(`${url}/v1/audit`, 'GET', undefined, boss)).body as { entries: AuditEntry[] };
  t.equal(entries.length, 60);
  t.equal(entries.filter(({ status }) => status === 401).length, 10);
});

t.test('off loopback without tokens it does not start', async (t) => {
  await t.rejects(
    startControlPlane(t, { bootstrapToken: null, folder: temporaryFolder(t), host: '0.0.0.0' }),
    /loopback/,
  );
});
