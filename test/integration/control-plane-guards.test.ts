// Who gets in: tokens and roles on every route, the failure limiter, rebinding, and the relay to agents.

import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import t from 'tap';
import { isLoopbackName } from '../../control-plane/api/browsers.ts';
import { FAILURE_LIMIT } from '../../control-plane/api/failures.ts';
import { parseTokens } from '../../control-plane/api/tokens-file.ts';
import { ask, follow, nextPush, orderReport, startControlPlane } from '../support/control-plane-client.ts';

const SECRETS = {
  admin: 'admin-secret-0123456789',
  viewer: 'viewer-secret-0123456789',
  agent: 'agent-secret-0123456789',
};

const TOKENS = `tokens:
  - { name: ops, role: admin, token: ${SECRETS.admin} }
  - { name: screen, role: viewer, sha256: ${createHash('sha256').update(SECRETS.viewer).digest('hex')} }
  - { name: mesh, role: agent, token: ${SECRETS.agent}, agents: [orders-1] }
`;

/** fetch sets Host itself and tidies paths up; this does neither. */
function statusWith(url: string, headers: IncomingHttpHeaders, path = new URL(url).pathname): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { headers, path }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', reject);
    request.end();
  });
}

t.test('an agent token speaks for its own agents, and histories name who wrote', async (t) => {
  const folder = t.testdir({ 'tokens.yaml': TOKENS });
  const { url } = await startControlPlane(t, { folder, tokensFile: `${folder}/tokens.yaml` });
  t.equal((await ask(`${url}/`, 'GET')).status, 200);
  t.equal((await ask(`${url}/live`, 'GET')).status, 200);
  const bearer = { authorization: `Bearer ${SECRETS.agent}` };
  t.equal(
    (await ask(`${url}/v1/agents/orders-2/reports`, 'POST', orderReport(1), bearer)).status,
    403,
    'not its own agent',
  );
  t.equal((await ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(1), bearer)).status, 204);
  const put = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name: 'a' }, spec: {} };
  const admin = { authorization: `Bearer ${SECRETS.admin}` };
  await ask(`${url}/v1/policies/ServicePolicy/a`, 'PUT', put, admin);
  t.match((await ask(`${url}/v1/policies`, 'GET', undefined, admin)).body, { policies: [{ author: 'ops' }] });
});

t.test('without a token there is only 401, then 429 for an address that keeps guessing', async (t) => {
  const folder = t.testdir({ 'tokens.yaml': TOKENS });
  const { url } = await startControlPlane(t, { folder, tokensFile: `${folder}/tokens.yaml` });
  const guess = (text: string) => ask(`${url}/v1/agents`, 'GET', undefined, { authorization: text });
  t.match(await guess('Bearer wrong-secret-0123456789'), { status: 401, body: { code: 'OTR_ERR_UNAUTHORIZED' } });
  t.equal((await guess(`Basic ${SECRETS.admin}`)).status, 401);
  for (let count = 2; count < FAILURE_LIMIT; count++) await ask(`${url}/v1/agents`, 'GET');
  t.match(await guess('Bearer wrong-secret-0123456789'), { status: 429, body: { code: 'OTR_ERR_TOO_MANY_FAILURES' } });
  t.equal((await guess(`Bearer ${SECRETS.admin}`)).status, 200, 'whoever shares the address and has a token gets in');
});

t.test('a changed tokens file takes effect, and a broken change keeps the former tokens', async (t) => {
  const folder = t.testdir({ 'tokens.yaml': TOKENS });
  const { url } = await startControlPlane(t, { folder, tokensFile: `${folder}/tokens.yaml` });
  const viewer = { authorization: `Bearer ${SECRETS.viewer}` };
  const admin = { authorization: `Bearer ${SECRETS.admin}` };
  const page = await follow(`${url}/v1/events`, viewer);
  const agent = await follow(`${url}/v1/agents/orders-1/stream`, { authorization: `Bearer ${SECRETS.agent}` });
  t.teardown(() => agent.stop());
  writeFileSync(`${folder}/tokens.yaml`, TOKENS.replace(/.*screen.*\n/, ''));
  let status = 200;
  // Seen within two seconds; asked sparingly, since refusals count.
  for (let tries = 0; tries < 10 && status === 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 400));
    status = (await ask(`${url}/v1/agents`, 'GET', undefined, viewer)).status;
  }
  t.equal(status, 401, 'revoked');
  await page.ended;
  const [, own] = await Promise.all([nextPush(agent), ask(`${url}/v1/agents/orders-1`, 'GET', undefined, admin)]);
  t.match(own.body, { isConnected: true }, 'streams of other tokens stay');
  writeFileSync(`${folder}/tokens.yaml`, 'tokens: [');
  t.equal((await ask(`${url}/v1/agents`, 'GET', undefined, admin)).status, 200);
});

t.test('parseTokens() names the entry that is wrong and never its secret', async (t) => {
  t.equal(parseTokens(TOKENS, 'f').length, 3);
  t.equal(parseTokens(JSON.stringify({ tokens: [{ name: 'a', role: 'admin', token: SECRETS.admin }] }), 'f').length, 1);
  const bad: readonly [string, RegExp][] = [
    ['tokens: []', /at least one/],
    ['tokens: [{ name: a, role: root, token: 0123456789abcdef }]', /tokens\[0\]\.role must be one of/],
    ['tokens: [{ name: a, role: admin }]', /one of token and sha256/],
    ['tokens: [{ name: a, role: admin, token: shrt }]', /at least 16/],
    ['tokens: [{ name: a, role: admin, sha256: abc }]', /64 hex/],
    ['tokens: [{ name: a, role: admin, tokn: abcdefghijklmnop }]', /unknown key tokn/],
  ];
  for (const [text, message] of bad) t.throws(() => parseTokens(text, 'f'), message);
  try {
    parseTokens('tokens: [{ name: a, role: root, token: 0123456789abcdef }]', 'f');
  } catch (error) {
    t.notMatch(String(error), '0123456789abcdef');
  }
});

t.test('without tokens only loopback names are answered, and no page of another origin', async (t) => {
  const { url } = await startControlPlane(t);
  const { port } = new URL(url);
  t.equal(await statusWith(`${url}/v1/policies`, { host: `localhost:${port}` }), 200);
  t.equal(await statusWith(`${url}/v1/policies`, { host: `[::1]:${port}` }), 200);
  for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', '10.0.0.1', 'localhost.evil']) {
    t.equal(await statusWith(`${url}/v1/policies`, { host }), 403, host);
  }
  t.equal(await statusWith(`${url}/v1/policies`, { host: `localhost:${port}`, origin: 'http://evil.example' }), 403);
  t.equal(
    await statusWith(`${url}/v1/policies`, { host: `localhost:${port}`, origin: `http://localhost:${port}` }),
    200,
  );
  t.equal(isLoopbackName('127.0.0.1'), true);
  t.equal(isLoopbackName('127.0.0.1.nip.io'), false);
});

t.test('the page is served with rules that forbid inline code and other origins', async (t) => {
  const { url } = await startControlPlane(t);
  const { status, headers, body } = await ask(`${url}/`, 'GET');
  t.equal(status, 200);
  t.match(headers.get('content-security-policy'), /default-src 'none'.*script-src 'self'/);
  t.notMatch(headers.get('content-security-policy'), /unsafe/);
  t.notMatch(body.text, /<script>|style=|onclick=/);
  t.equal((await ask(`${url}/dashboard.css`, 'GET', undefined, { 'if-none-match': 'x' })).status, 200);
  t.equal((await ask(`${url}/../control-plane.ts`, 'GET')).status, 404);
});

t.test('the relay reaches the admin address an agent reported, once, without credentials', async (t) => {
  const folder = t.testdir({ 'tokens.yaml': TOKENS });
  const { url } = await startControlPlane(t, { folder, tokensFile: `${folder}/tokens.yaml` });
  const admin = { authorization: `Bearer ${SECRETS.admin}` };
  const seen: { method: string; url: string; headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
    const isSad = request.url === '/sad';
    response.writeHead(isSad ? 503 : 200, { 'set-cookie': 'a=b', 'content-type': 'text/plain' });
    response.end('ready');
  });
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const relay = `${url}/v1/agents/orders-1/admin`;
  t.match(await ask(`${relay}/ready`, 'GET', undefined, admin), { status: 404, body: { code: 'OTR_ERR_NOT_FOUND' } });
  await ask(
    `${url}/v1/agents/orders-1/reports`,
    'POST',
    orderReport(1, { adminUrl: `http://127.0.0.1:${port}` }),
    admin,
  );

  const ready = await ask(`${relay}/stats?filter=x%20y`, 'GET', undefined, {
    ...admin,
    cookie: 'c=d',
    'x-note': 'kept',
  });
  t.match(ready, { status: 200, body: { text: 'ready' } });
  t.equal(ready.headers.get('set-cookie'), null);
  t.match(seen[0], {
    method: 'GET',
    url: /^\/stats\?filter=x(%20|\+)y$/,
    headers: { host: `127.0.0.1:${port}`, 'x-note': 'kept' },
  });
  t.equal(seen[0]?.headers.authorization, undefined);
  t.equal(seen[0]?.headers.cookie, undefined);
  t.equal(seen[0]?.headers['x-outrigger-operator'], 'ops');
  await ask(`${relay}/logging?level=debug`, 'POST', { a: 1 }, admin);
  t.match(seen[1], { method: 'POST', url: '/logging?level=debug', body: '{"a":1}' });
  t.equal((await ask(`${relay}/sad`, 'GET', undefined, admin)).status, 503);
  t.equal(seen.length, 3, 'a 503 is not tried again');
  t.equal(await statusWith(`${relay}/ready`, { ...admin, 'keep-alive': 'timeout=5', connection: 'keep-alive' }), 200);
  for (const path of ['/%2e%2e/x', '/..%2fx', '//evil.example/x', '/a%5c..%5cx']) {
    t.equal(await statusWith(url, admin, `/v1/agents/orders-1/admin${path}`), 400, path);
  }
  t.equal(seen.length, 4);
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  t.match(await ask(`${relay}/ready`, 'GET', undefined, admin), {
    status: 502,
    body: { code: 'OTR_ERR_AGENT_UNREACHABLE' },
  });
});
