// A control plane under clients that mean harm or are broken: slow senders, pages that never read, odd requests, an old backup.

import { copyFileSync, rmSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { Broadcaster, CLIENT_LIMIT, STALLED_AFTER_MS } from '../../control-plane/api/events.ts';
import { ask, follow, nextPush, orderReport, startControlPlane } from '../support/control-plane-client.ts';

const policy = (name: string, attempts = 1) => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServicePolicy',
  metadata: { name },
  spec: { retries: { attempts } },
});

interface Teardown {
  teardown(run: () => unknown): unknown;
}

/** Sends `text` and then nothing; settles with what came back once the other side closed. */
function sendSlowly(t: Teardown, port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    t.teardown(() => socket.destroy());
    socket.setEncoding('latin1').on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}

/** A page that asks for the events and does not read them. */
function openUnread(t: Teardown, port: number, path: string): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`, () => resolve(socket));
    });
    socket.pause();
    socket.on('error', () => undefined);
    t.teardown(() => socket.destroy());
  });
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    if (await isTrue()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('what was waited for did not happen');
}

t.test('a request that does not arrive in time is refused, head or body; streams and answers may last', async (t) => {
  const { url } = await startControlPlane(t, { requestTimeoutMs: 300 });
  const port = Number(new URL(url).port);
  const stream = await follow(`${url}/v1/agents/orders-1/stream`);
  t.teardown(() => stream.stop());
  await nextPush(stream);
  const head = 'PUT /v1/policies/ServicePolicy/a HTTP/1.1\r\nhost: 127.0.0.1\r\n';
  const answers = await Promise.all([
    sendSlowly(t, port, head),
    sendSlowly(t, port, `${head}content-type: application/json\r\ncontent-length: 900\r\n\r\n{`),
  ]);
  for (const answer of answers) t.match(answer, /^HTTP\/1\.1 408 [\s\S]*OTR_ERR_REQUEST_TIMEOUT/);
  await ask(`${url}/v1/policies/ServicePolicy/a`, 'PUT', policy('a'));
  t.equal((await nextPush(stream)).version, 1, 'the stream outlived the limit');
});

t.test('pages that never read: the place of each is free again, and all others go on', async (t) => {
  let now = 0;
  let version = 1;
  const filler = 'x'.repeat(20_000_000);
  const broadcaster = new Broadcaster({
    // Larger than what the kernel buffers on both sides take.
    state: () => ({ version, services: [], agents: [], edges: [], filler }),
    events: () => [],
    epochMs: () => now,
    now: () => now,
  });
  t.teardown(() => broadcaster.close());
  const server = createServer((_request, response: ServerResponse) => void broadcaster.connect(response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  for (let count = 0; count < 3; count++) await openUnread(t, port, '/');
  const reader = await openUnread(t, port, '/');
  reader.resume();
  await until(() => broadcaster.size === 4);
  await until(() => reader.bytesRead > filler.length);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const once = reader.bytesRead;
  t.ok(once < 1.1 * filler.length, 'a state above the mark of the socket is sent once, not again at every drain');
  now += STALLED_AFTER_MS - 1;
  broadcaster.tick();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(broadcaster.size, 4, 'not yet');
  now += 2;
  version++;
  broadcaster.tick();
  await until(() => broadcaster.size === 1 && reader.bytesRead > once);
  t.ok(reader.bytesRead < 1.1 * filler.length, 'the one that reads got the change and nothing else');
});

t.test('with every place taken by pages that do not read, the API answers and agents get their policies', async (t) => {
  const { url } = await startControlPlane(t);
  const port = Number(new URL(url).port);
  const pages = await Promise.all(Array.from({ length: CLIENT_LIMIT }, () => openUnread(t, port, '/v1/events')));
  const agent = await follow(`${url}/v1/agents/orders-1/stream`);
  t.teardown(() => agent.stop());
  await nextPush(agent);
  await until(async () => (await fetch(`${url}/v1/events`, { signal: AbortSignal.timeout(1_000) })).status === 503);
  for (let attempts = 1; attempts <= 5; attempts++) {
    const { body } = await ask(`${url}/v1/policies/ServicePolicy/a`, 'PUT', policy('a', attempts));
    t.equal((await nextPush(agent)).version, body.version);
    t.equal((await ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(attempts))).status, 204);
  }
  for (const page of pages) page.destroy();
  await until(async () => {
    const abort = new AbortController();
    const { status } = await fetch(`${url}/v1/events`, { signal: abort.signal });
    abort.abort();
    return status === 200;
  });
});

t.test('two writers with the same If-Match: one wins, the other is told the revision that is', async (t) => {
  const { url } = await startControlPlane(t);
  const path = `${url}/v1/policies/ServicePolicy/a`;
  await ask(path, 'PUT', policy('a'));
  const answers = await Promise.all(
    [2, 3, 4, 5].map((attempts) => ask(path, 'PUT', policy('a', attempts), { 'if-match': '"1"' })),
  );
  t.same(answers.map(({ status }) => status).sort(), [200, 412, 412, 412]);
  for (const { body } of answers.filter(({ status }) => status === 412)) t.equal(body.revision, 2);
});

t.test('a request that is refused has changed nothing; odd names and methods are answered in order', async (t) => {
  const { url } = await startControlPlane(t);
  const path = `${url}/v1/policies/ServicePolicy/constructor`;
  for (const query of ['?wait=soon', '?wait=', '?wait=1s&wait=2s']) {
    t.equal((await ask(`${path}${query}`, 'PUT', policy('constructor'))).status, 400, query);
  }
  t.equal((await ask(path, 'GET')).status, 404, 'a 400 wrote nothing');
  t.equal((await ask(path, 'PUT', policy('constructor'))).status, 201, 'a name that objects have is a name');
  t.equal((await ask(`${url}/v1/effective/constructor/constructor`, 'GET')).status, 200);
  t.equal((await ask(`${url}/v1/effective/__proto__/constructor`, 'GET')).status, 400);
  t.equal((await ask(`${url}/v1/policies/__proto__/a`, 'GET')).status, 404);
  t.equal((await ask(`${url}/v1/policies/ServicePolicy/a%2Fb`, 'GET')).status, 404);
  t.equal((await ask(`${url}/v1/policies/ServicePolicy/%zz`, 'GET')).status, 400);
  t.equal((await ask(`${url}/v1/agents/a%2Fb/reports`, 'POST', orderReport(1))).status, 400);
  t.equal((await ask(path, 'PUT', '{}', { 'content-type': 'application/xml' })).status, 415);
  t.equal((await ask(path, 'PUT', 'x'.repeat(300_000), { 'content-type': 'application/json' })).status, 413);
  t.equal((await ask(path, 'PUT', '['.repeat(200_000), { 'content-type': 'application/yaml' })).status, 422);
  t.equal((await ask(path, 'PATCH')).status, 404);
  t.equal((await fetch(`${url}/v1/policies`, { method: 'HEAD' })).status, 200);
  const stream = await follow(`${url}/v1/agents/orders-1/stream`);
  t.teardown(() => stream.stop());
  await nextPush(stream);
  for (const streamed of ['/v1/agents/orders-1/stream', '/v1/events']) {
    t.equal((await fetch(`${url}${streamed}`, { method: 'HEAD' })).status, 404, `HEAD ${streamed} opens nothing`);
  }
  t.match((await ask(`${url}/v1/agents/orders-1`, 'GET')).body, { isConnected: true });
});

t.test('a store restored from an older backup: agents get the older set, and an event says so', async (t) => {
  const folder = t.testdir();
  const database = `${folder}/policies.db`;
  const first = await startControlPlane(t, { folder });
  await ask(`${first.url}/v1/policies/ServicePolicy/a`, 'PUT', policy('a', 1));
  await first.stop();
  copyFileSync(database, `${folder}/backup.db`);
  const second = await startControlPlane(t, { folder });
  await ask(`${second.url}/v1/policies/ServicePolicy/a`, 'PUT', policy('a', 2));
  await second.stop();
  copyFileSync(`${folder}/backup.db`, database);
  rmSync(`${database}-wal`, { force: true });
  const third = await startControlPlane(t, { folder });
  const stream = await follow(`${third.url}/v1/agents/orders-1/stream`, { 'last-event-id': '2' });
  t.teardown(() => stream.stop());
  t.match(await nextPush(stream), { version: 1, documents: [{ spec: { retries: { attempts: 1 } } }] });
  const ahead = { policy: { appliedVersion: 2, wantedVersion: 2, problems: [] } };
  for (const sequence of [1, 2]) {
    await ask(`${third.url}/v1/agents/orders-1/reports`, 'POST', orderReport(sequence, ahead));
  }
  const page = await follow(`${third.url}/v1/events`);
  t.teardown(() => page.stop());
  const { events } = (await page.next()).data as { events: { reason: string; text: string }[] };
  const told = events.filter(({ reason }) => reason === 'version_went_back');
  t.same(
    told.map(({ text }) => text),
    [
      'orders-1 had policy version 2, while this store is at version 1: restored from a backup, or another control plane.',
    ],
    'said once',
  );
});
