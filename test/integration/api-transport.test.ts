// What lies between the API and the network: TLS with certificates that change while it runs, the rate limit, and the headers
// that browsers obey.

import { copyFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:tls';
import t from 'tap';
import { createControlPlaneClient } from '../../agent/sync/control-plane-client.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';
import { makePair } from '../support/key-pair.ts';
import { temporaryFolder, until } from '../support/processes.ts';

const TOKEN = 'transport-token-0123456789abcdef0123456789';
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });

/** Common name of the certificate that a new connection is shown. */
function nameShown(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      const { CN } = socket.getPeerCertificate().subject;
      resolve(String(CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

t.test(
  'TLS: agents trust by file, and a renewed certificate is used without a restart',
  { timeout: 60_000 },
  async (t) => {
    const folder = temporaryFolder(t);
    const [first, second] = [makePair(folder, 'first'), makePair(folder, 'second')];
    const used = { certFile: `${folder}/used.pem`, keyFile: `${folder}/used.key` };
    const use = ({ certFile, keyFile }: typeof used): void => {
      copyFileSync(keyFile, used.keyFile);
      copyFileSync(certFile, used.certFile);
    };
    use(first);
    const { url } = await startControlPlane(t, { bootstrapToken: TOKEN, folder, tls: used });
    t.match(url, /^https:/);
    const port = Number(new URL(url).port);
    const access = { urls: [url], token: TOKEN, tokenFile: null };
    const trusting = createControlPlaneClient({ ...access, caFile: used.certFile }, Math.random);
    const strange = createControlPlaneClient(access, Math.random);
    t.teardown(() => [trusting, strange].map((client) => client.close()));
    const signal = AbortSignal.timeout(30_000);
    const report = (client: typeof trusting) =>
      client.post('/v1/agents/orders-1/reports', orderReport(1), signal, 5_000);
    t.equal(await report(trusting), null);
    t.match(await report(strange), /self-signed/i, 'nobody is trusted unseen');
    let pushed = '';
    const why = await trusting.stream({
      path: '/v1/agents/orders-1/stream',
      query: { service: 'orders' },
      lastEventId: null,
      idleMs: 10_000,
      signal,
      onOpen: () => undefined,
      onChunk: (chunk) => {
        pushed += Buffer.from(chunk).toString();
        return pushed.includes('\n\n') ? 'enough' : null;
      },
    });
    t.equal(why, 'enough');
    t.match(pushed, /event: policies/);
    t.equal(await nameShown(port), 'first');
    use(second);
    await until(
      async () => (await nameShown(port)) === 'second',
      20_000,
      () => 'the new certificate is shown',
    );
    t.equal(await report(trusting), null, 'the file of the agent is read again as well');
    writeFileSync(used.certFile, 'nothing that is a certificate');
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    t.equal(await nameShown(port), 'second', 'a broken file leaves the former one in place');
    t.equal(
      await ask(url.replace('https:', 'http:'), 'GET').then(
        () => 'answered',
        () => 'refused',
      ),
      'refused',
    );
  },
);

t.test('a certificate and a key that are no pair keep it from starting', async (t) => {
  const folder = temporaryFolder(t);
  const { certFile } = makePair(folder, 'one');
  const { keyFile } = makePair(folder, 'other');
  await t.rejects(startControlPlane(t, { folder, tls: { certFile, keyFile } }), /are no pair/);
  await t.rejects(startControlPlane(t, { folder, tls: { certFile: `${folder}/none`, keyFile } }), /ENOENT/);
});

t.test('each token has its own count of requests; agents and probes are not counted', async (t) => {
  const { url } = await startControlPlane(t, {
    bootstrapToken: TOKEN,
    folder: temporaryFolder(t),
    requestsPerMinute: 5,
  });
  const make = async (role: string): Promise<string> =>
    String((await ask(`${url}/v1/tokens`, 'POST', { name: role, role }, bearer(TOKEN))).body.secret);
  const [viewer, agent] = [await make('viewer'), await make('agent')];
  for (let count = 0; count < 5; count++) {
    t.equal((await ask(`${url}/v1/policies`, 'GET', undefined, bearer(viewer))).status, 200);
  }
  const refused = await ask(`${url}/v1/agents`, 'GET', undefined, bearer(viewer));
  t.match(refused, { status: 429, body: { code: 'OTR_ERR_RATE_LIMITED' } });
  t.match(refused.headers.get('retry-after'), /^[1-9]\d?$/);
  t.equal(refused.headers.get('content-type'), 'application/problem+json; charset=utf-8');
  t.equal((await ask(`${url}/v1/policies`, 'GET', undefined, bearer(TOKEN))).status, 200, 'others go on');
  for (let count = 1; count <= 20; count++) {
    const { status } = await ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(count), bearer(agent));
    if (status !== 204) t.fail(`report ${count}: ${status}`);
    if ((await ask(`${url}/live`, 'GET')).status !== 200) t.fail('a probe was refused');
  }
  t.pass('agents and probes went on');
});

t.test('every answer tells browsers to do nothing with it', async (t) => {
  const { url } = await startControlPlane(t, { bootstrapToken: TOKEN, folder: temporaryFolder(t) });
  for (const [path, headers] of [
    ['/v1/policies', bearer(TOKEN)],
    ['/v1/policies', {}],
    ['/nothing', {}],
    ['/live', {}],
    ['/', {}],
  ] as const) {
    const answer = await ask(url + path, 'GET', undefined, headers);
    t.match(Object.fromEntries(answer.headers), {
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'content-security-policy': /default-src 'none'.*frame-ancestors 'none'/,
    });
    if (path.startsWith('/v1/')) t.equal(answer.headers.get('cache-control'), 'no-store', path);
    t.equal(answer.headers.get('access-control-allow-origin'), null);
    t.equal(answer.headers.get('x-powered-by') ?? answer.headers.get('server'), null);
  }
});
