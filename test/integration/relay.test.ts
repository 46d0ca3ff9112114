// The relay to agents' admin APIs: a real agent read and changed through the control plane, and every way in which an agent
// can fail to answer.

import { writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type Socket as TcpSocket } from 'node:net';
import { hostname } from 'node:os';
import t from 'tap';
import { createAgent } from '../../agent/agent.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { openLog } from '../../agent/telemetry/log.ts';
import { isSameMachine, targetOf } from '../../control-plane/api/relay-target.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { type Socket, WebSocket, WebSocketServer } from '../support/web-socket.ts';

const SECRETS = { ops: 'ops-secret-0123456789', screen: 'screen-secret-0123456789', mesh: 'mesh-secret-0123456789' };
const TOKENS = `tokens:
  - { name: ops, role: admin, token: ${SECRETS.ops} }
  - { name: screen, role: viewer, token: ${SECRETS.screen} }
  - { name: mesh, role: agent, token: ${SECRETS.mesh}, services: [orders] }
`;
const bearer = (name: keyof typeof SECRETS) => ({ authorization: `Bearer ${SECRETS[name]}` });

type Test = Parameters<typeof startControlPlane>[0];

async function startGuarded(t: Test): Promise<string> {
  const folder = temporaryFolder(t);
  writeFileSync(`${folder}/tokens.yaml`, TOKENS);
  return (await startControlPlane(t, { folder, tokensFile: `${folder}/tokens.yaml` })).url;
}

/** An agent as it ships, beside nothing, that reports to `url`. */
async function startAgent(t: Test, url: string, stateDir: string): Promise<{ stop: () => Promise<void> }> {
  const [outbound = 0, inbound = 0, admin = 0] = await freePorts(3);
  const file = JSON.stringify({
    service: { name: 'orders', id: 'orders-1', register: false },
    listeners: {
      outbound: `127.0.0.1:${outbound}`,
      inbound: `127.0.0.1:${inbound}`,
      admin: `127.0.0.1:${admin}`,
    },
    consul: false,
    controlPlane: { url, token: SECRETS.mesh },
    stateDir,
  });
  const config = loadAgentConfig({ file: 'agent.json', env: {}, readFile: () => file });
  if (!config.ok) throw new Error(config.problems.map(({ path, message }) => `${path} ${message}`).join('\n'));
  const log = openLog({ level: 'silent', name: 'test' });
  const agent = createAgent({ config: config.value, localPolicies: null, log, softwareVersion: 'test' });
  t.teardown(() => agent.stop(500));
  await agent.start();
  return { stop: () => agent.stop(500) };
}

/** An admin API of the test's own, reported as that of orders-1. */
async function reportAdmin(t: Test, url: string, listener: RequestListener): Promise<Server> {
  const server = createServer(listener);
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await report(url, `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`);
  return server;
}

let sequence = 0;
async function report(url: string, adminUrl: string): Promise<void> {
  const body = orderReport(++sequence, { adminUrl });
  const { status } = await ask(`${url}/v1/agents/orders-1/reports`, 'POST', body, bearer('mesh'));
  if (status !== 204) throw new Error(`report answered ${status}`);
}

t.test('an operator reads one agent and changes its log level; a restart is 502, then answered again', async (t) => {
  const url = await startGuarded(t);
  const stateDir = temporaryFolder(t);
  const relay = `${url}/v1/agents/orders-1/admin`;
  const first = await startAgent(t, url, stateDir);
  const level = async () => (await ask(`${relay}/server_info`, 'GET', undefined, bearer('screen'))).body.logLevel;
  await until(
    async () => (await level()) === 'silent',
    20_000,
    () => 'the agent has reported',
  );
  const clusters = await ask(`${relay}/clusters?format=json`, 'GET', undefined, bearer('screen'));
  t.equal(clusters.status, 200);
  t.match(clusters.headers.get('content-type'), /application\/json/);
  t.match(await ask(`${relay}/logging?level=error`, 'POST', undefined, bearer('screen')), {
    status: 403,
    body: { code: 'OTR_ERR_FORBIDDEN' },
  });
  t.equal(await level(), 'silent');
  t.match(await ask(`${relay}/logging?level=fatal`, 'POST', undefined, bearer('ops')), {
    status: 200,
    body: { level: 'fatal' },
  });
  t.equal(await level(), 'fatal');
  const { body } = await ask(`${url}/v1/audit?limit=2`, 'GET', undefined, bearer('ops'));
  t.match(body, {
    entries: [
      { actor: 'ops', method: 'POST', path: '/v1/agents/orders-1/admin/logging?level=fatal', verdict: 'allowed' },
      { actor: 'screen', path: '/v1/agents/orders-1/admin/logging', verdict: 'denied', code: 'OTR_ERR_FORBIDDEN' },
    ],
  });
  await first.stop();
  t.match(await ask(`${relay}/clusters`, 'GET', undefined, bearer('screen')), {
    status: 502,
    body: { code: 'OTR_ERR_AGENT_UNREACHABLE', status: 502 },
  });
  await startAgent(t, url, stateDir);
  await until(
    async () => (await level()) === 'silent',
    20_000,
    () => 'the agent has reported',
  );
});

t.test('a hung agent is 504 within the bound, one that breaks off is 502', { timeout: 60_000 }, async (t) => {
  const url = await startGuarded(t);
  const relay = `${url}/v1/agents/orders-1/admin`;
  await reportAdmin(t, url, () => undefined);
  const startedAt = performance.now();
  t.match(await ask(`${relay}/clusters`, 'GET', undefined, bearer('screen')), {
    status: 504,
    body: { code: 'OTR_ERR_AGENT_TIMEOUT' },
  });
  t.ok(performance.now() - startedAt < 20_000, 'bounded');
  await reportAdmin(t, url, (request) => request.socket.destroy());
  t.match(await ask(`${relay}/clusters`, 'GET', undefined, bearer('screen')), {
    status: 502,
    body: { code: 'OTR_ERR_AGENT_UNREACHABLE' },
  });
  const raw = createTcpServer((socket) => socket.end('this is not HTTP\r\n\r\n'));
  t.teardown(() => raw.close());
  await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve));
  const address = raw.address();
  await report(url, `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`);
  t.match(await ask(`${relay}/clusters`, 'GET', undefined, bearer('screen')), { status: 502 });
  t.equal((await ask(`${url}/live`, 'GET')).status, 200);
});

t.test('a redirect is handed on and not followed; an answer cannot set cookies or policies of pages', async (t) => {
  const url = await startGuarded(t);
  let asked = 0;
  const secret = createServer((_request, response) => {
    asked++;
    response.end('secret');
  });
  t.teardown(() => secret.close());
  await new Promise<void>((resolve) => secret.listen(0, '127.0.0.1', resolve));
  const address = secret.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await reportAdmin(t, url, (_request, response) => {
    response.writeHead(302, {
      location: `http://127.0.0.1:${port}/secret`,
      'set-cookie': 'a=b',
      'content-security-policy': 'default-src *',
    });
    response.end();
  });
  const path = `${url}/v1/agents/orders-1/admin/x`;
  const response = await fetch(path, { headers: bearer('screen'), redirect: 'manual' });
  t.equal(response.status, 302);
  t.equal(response.headers.get('set-cookie'), null);
  t.notMatch(response.headers.get('content-security-policy') ?? '', /\*/);
  t.equal(asked, 0);
});

t.test('only the machine that the report came from is asked', async (t) => {
  const url = await startGuarded(t);
  let asked = 0;
  await reportAdmin(t, url, (_request, response) => {
    asked++;
    response.end('ok');
  });
  const own = await ask(`${url}/v1/agents/orders-1`, 'GET', undefined, bearer('screen'));
  const { port } = new URL(String(own.body.adminUrl));
  const relay = `${url}/v1/agents/orders-1/admin/x`;
  await report(url, `http://localhost:${port}`);
  t.equal((await ask(relay, 'GET', undefined, bearer('screen'))).status, 200, 'a name of the same machine');
  t.equal(asked, 1);
  for (const foreign of [
    'http://169.254.169.254',
    'http://10.1.2.3:8500',
    'http://[fd00::1]:80',
    'http://2852039166',
    'http://[::ffff:a9fe:a9fe]:80',
    'http://no-such-name.invalid:80',
  ]) {
    await report(url, foreign);
    t.match(
      await ask(relay, 'GET', undefined, bearer('ops')),
      { status: 502, body: { code: 'OTR_ERR_AGENT_UNREACHABLE', detail: /only its own address|does not resolve/ } },
      foreign,
    );
  }
  t.equal(asked, 1);
  const from = (adminUrl: string, reportedFrom: string, heardAt: string | null = null) => ({
    adminUrl,
    reportedFrom,
    heardAt,
  });
  // From another machine even our loopback is foreign.
  t.match(await targetOf(from('http://127.0.0.1:8500', '10.0.0.7')), { ok: false });
  t.match(await targetOf(from('http://localhost:8500', '10.0.0.7')), { ok: false });
  t.same(await targetOf(from('http://10.0.0.7:15000', '::ffff:10.0.0.7')), {
    ok: true,
    origin: 'http://10.0.0.7:15000',
  });
  t.same(await targetOf(from('https://10.0.0.7:15000', '10.0.0.7')), { ok: true, origin: 'https://10.0.0.7:15000' });
  // What another control plane heard over loopback is here only when it is on this machine.
  t.match(await targetOf(from('http://127.0.0.1:15000', '127.0.0.1', 'elsewhere')), {
    ok: false,
    why: /on the machine elsewhere/,
  });
  t.match(await targetOf(from('http://127.0.0.1:15000', '127.0.0.1', hostname())), { ok: true });
  t.match(await targetOf(from('http://10.0.0.7:15000', '10.0.0.7', 'elsewhere')), { ok: true });
  t.equal(isSameMachine('::1', '127.0.0.1'), true);
  t.equal(isSameMachine('127.0.0.1', '10.0.0.7'), false);
});

t.test('server-sent events pass as they come, and the agent sees the reader leave', async (t) => {
  const url = await startGuarded(t);
  let left: () => void = () => undefined;
  const hasLeft = new Promise<void>((resolve) => {
    left = resolve;
  });
  await reportAdmin(t, url, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\n');
    response.on('close', () => left());
  });
  const abort = new AbortController();
  const path = `${url}/v1/agents/orders-1/admin/tap`;
  const response = await fetch(path, { headers: bearer('screen'), signal: abort.signal });
  const reader = response.body?.getReader();
  t.equal(new TextDecoder().decode((await reader?.read())?.value), 'data: 1\n\n', 'before the end of the answer');
  abort.abort();
  await hasLeft;
});

t.test('a WebSocket passes with a token and without credentials; without a token it does not', async (t) => {
  const url = await startGuarded(t);
  const heads: (string | undefined)[] = [];
  const agent = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  t.teardown(() => agent.close());
  await new Promise<void>((resolve) => agent.on('listening', resolve));
  agent.on('connection', (...args: [Socket, ...unknown[]]) => {
    const [socket, request] = args as [Socket, { headers: Record<string, string> }?];
    heads.push(request?.headers.authorization, request?.headers.cookie, request?.headers['x-outrigger-operator']);
    socket.on('message', (data) => socket.send(`echo ${String(data)}`));
  });
  await report(url, `http://127.0.0.1:${agent.address().port}`);
  const address = `${url.replace('http', 'ws')}/v1/agents/orders-1/admin/ws`;
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = new WebSocket(address, { headers: { ...bearer('screen'), cookie: 'a=b' } });
    socket.on('open', () => socket.send('hello'));
    socket.on('message', (data) => {
      resolve(String(data));
      socket.close();
    });
    socket.on('error', reject);
  });
  t.equal(answer, 'echo hello');
  t.same(heads, [undefined, undefined, 'screen']);
  const refused = await new Promise<string>((resolve) => {
    const socket = new WebSocket(address, { headers: {} });
    socket.on('open', () => resolve('opened'));
    socket.on('error', ({ message }) => resolve(message));
  });
  t.match(refused, /401/);
  const headers = 'connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n';
  const token = `authorization: Bearer ${SECRETS.ops}\r\n`;
  const answered = await new Promise<string>((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => {
      socket.write(`POST /v1/agents/orders-1/admin/ws HTTP/1.1\r\nhost: x\r\n${token}${headers}\r\n`);
    });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
    });
    socket.on('close', () => resolve(text));
  });
  t.match(answered, /^HTTP\/1\.1 400 [\s\S]*only GET can be upgraded/);
});

t.test('upgrades that break off, to any path, leave the process alone', async (t) => {
  const url = await startGuarded(t);
  const port = Number(new URL(url).port);
  const head = (path: string) =>
    `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
    `sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`;
  for (const path of ['/v1/agents/orders-1/admin/x', '/live', '/v1/events', '/nothing', '/']) {
    await new Promise<void>((resolve) => {
      const socket: TcpSocket = connect(port, '127.0.0.1', () => {
        socket.write(head(path));
        // A reset and not an end: the other side gets an error.
        socket.resetAndDestroy();
      });
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
    });
  }
  t.equal((await ask(`${url}/live`, 'GET')).status, 200);
});
