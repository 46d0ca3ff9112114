// A write whose outcome nobody can know: Consul got the transaction and its answer was lost, or did not get it and is silent. The API says
// exactly that, the audit log too, and to write again over the revision that was known is safe in both cases.

import t, { type Test } from 'tap';
import { ask, startControlPlane } from '../support/control-plane-client.ts';
import { type LosingProxy, startLosingProxy } from '../support/losing-proxy.ts';
import { until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

/** A write is tried for 5 s and its entry in the audit log for 2 s; the rest is for a machine that is busy. */
const ANSWERED_WITHIN_MS = 12_000;
const ADMIN = { authorization: 'Bearer bootstrap-secret-of-this-test' };
const AT = '/v1/policies/ServicePolicy/payments';

const policy = (attempts: number) => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServicePolicy',
  metadata: { name: 'payments' },
  spec: { retries: { attempts } },
});

interface Entry {
  readonly method: string;
  readonly path: string;
  readonly verdict: string;
  readonly status: number;
  readonly code: string | null;
}

async function startWorld(t: Test): Promise<{ url: string; proxy: LosingProxy; audit: () => Promise<Entry[]> }> {
  const consul = await startConsul(t);
  const proxy = await startLosingProxy(t, consul.url);
  const bootstrapToken = ADMIN.authorization.slice('Bearer '.length);
  const { url } = await startControlPlane(t, { consulUrl: proxy.url, bootstrapToken });
  const audit = async (): Promise<Entry[]> => {
    const { status, body } = await ask(`${url}/v1/audit`, 'GET', undefined, ADMIN);
    if (status !== 200) throw new Error(`the audit log was answered ${status}`);
    return body.entries as Entry[];
  };
  return { url, proxy, audit };
}

type Answer = Awaited<ReturnType<typeof ask>>;

async function doubtful(t: Test, what: string, write: () => Promise<Answer>): Promise<void> {
  const startedAt = performance.now();
  const answer = await write();
  const ms = Math.round(performance.now() - startedAt);
  t.equal(answer.status, 503, what);
  t.match(answer.headers.get('content-type'), /^application\/problem\+json/);
  t.match(answer.body, {
    code: 'OTR_ERR_OUTCOME_UNKNOWN',
    status: 503,
    title: 'it is not known whether the change was stored',
    detail: /did not say whether the change was stored .*read it again before it is repeated/,
  });
  t.notOk(JSON.stringify(answer.body).includes(ADMIN.authorization.slice(7)), 'no secret is in it');
  t.ok(ms < ANSWERED_WITHIN_MS, `${ms} ms`);
  t.comment(`${what}: 503 OTR_ERR_OUTCOME_UNKNOWN after ${ms} ms`);
}

for (const [part, isThere] of [
  ['answer', true],
  ['request', false],
] as const) {
  t.test(`the ${part} of the transaction is lost`, { timeout: 120_000 }, async (t) => {
    if (consulOrFail(t) === null) return;
    const { url, proxy, audit } = await startWorld(t);
    const put = (attempts: number, revision: number): Promise<Answer> =>
      ask(`${url}${AT}`, 'PUT', policy(attempts), { ...ADMIN, 'if-match': `"${revision}"` });
    t.equal((await ask(`${url}${AT}`, 'PUT', policy(1), ADMIN)).status, 201);

    proxy.lose(part, 'outrigger/set/index');
    await doubtful(t, `the ${part} was lost`, () => put(2, 1));
    t.ok(proxy.lost() >= 1);
    proxy.lose('nothing');

    // Whoever repeats it with what was known then either hears that it is there, or does it now; never twice.
    await until(async () => (await ask(`${url}/ready`, 'GET')).status === 200, 30_000);
    let again: Answer = await put(2, 1);
    await until(async () => {
      if (again.status === 503) again = await put(2, 1);
      return again.status !== 503;
    }, 30_000);
    t.equal(again.status, isThere ? 412 : 200, isThere ? 'it is there' : 'it was not there');
    if (isThere) t.match(again.body, { code: 'OTR_ERR_STALE_REVISION' });
    const now = await ask(`${url}${AT}`, 'GET', undefined, ADMIN);
    t.equal(now.headers.get('etag'), '"2"');
    t.match(now.body, { document: policy(2) });
    const { body } = await ask(`${url}${AT}/history`, 'GET', undefined, ADMIN);
    t.same(
      (body.revisions as { revision: number }[]).map(({ revision }) => revision),
      [2, 1],
      'once, and no half of it',
    );
    t.equal((await put(3, 2)).status, 200, 'and what follows goes on from there');

    const entries = (await audit()).filter(({ path }) => path.startsWith(AT)).reverse();
    t.match(
      entries.slice(0, 2),
      [
        { method: 'PUT', verdict: 'allowed', status: 201, code: null },
        { method: 'PUT', verdict: 'refused', status: 503, code: 'OTR_ERR_OUTCOME_UNKNOWN' },
      ],
      'the audit log says that nobody knew',
    );
    const verify = await ask(`${url}/v1/audit/verify`, 'GET', undefined, ADMIN);
    t.match(verify.body, { isIntact: true });
  });
}

t.test('a token whose answer is lost', { timeout: 120_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const { url, proxy, audit } = await startWorld(t);
  proxy.lose('answer', 'outrigger/access/tokens/');
  await doubtful(t, 'a token', () => ask(`${url}/v1/tokens`, 'POST', { name: 'ops', role: 'viewer' }, ADMIN));
  proxy.lose('nothing');
  const { body } = await ask(`${url}/v1/tokens`, 'GET', undefined, ADMIN);
  const found = (body.tokens as { name: string; id: string }[]).filter(({ name }) => name === 'ops');
  t.equal(found.length, 1, 'it is there, and its secret is nowhere: revoke it');
  t.equal((await ask(`${url}/v1/tokens/${found[0]?.id}`, 'DELETE', undefined, ADMIN)).status, 200);
  t.match(
    (await audit()).find(({ status }) => status === 503),
    { path: '/v1/tokens', code: 'OTR_ERR_OUTCOME_UNKNOWN' },
  );
});
