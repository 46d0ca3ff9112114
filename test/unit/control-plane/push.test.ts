// Hub and sessions over real sockets: newest only under back-pressure, one stream a process, an end at once.

import { createServer, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { Hub } from '../../../control-plane/push/hub.ts';
import type { PushSet } from '../../../control-plane/push/push-set.ts';

function set(version: number, sizeBytes = 10): PushSet {
  const spec = { note: `${version} ${'x'.repeat(sizeBytes)}` };
  const document: PolicyDocument = {
    apiVersion: 'outrigger.dev/v1',
    kind: 'MeshDefaults',
    metadata: { name: 'global' },
    spec,
  };
  return { version, generation: 'g', documents: [document], trial: null };
}

interface World {
  readonly hub: Hub;
  readonly log: string[];
  /** Opens a stream as an agent and gives the raw socket. */
  open(agentId: string): Promise<{ socket: Socket; text: () => string }>;
}

async function createWorld(
  t: { teardown(run: () => unknown): unknown },
  timing?: { heartbeatMs: number; stalledAfterMs: number },
): Promise<World> {
  const log: string[] = [];
  let nonce = 0;
  const hub = new Hub({
    initial: set(1),
    createNonce: () => `n${++nonce}`,
    now: () => performance.now(),
    ...(timing === undefined ? {} : { timing }),
    events: {
      connected: (id) => log.push(`${id} connected`),
      disconnected: (id) => log.push(`${id} disconnected`),
      pushed: (id, { version, isTrial }) => log.push(`${id} got ${version}${isTrial ? ' on trial' : ''}`),
    },
  });
  const server: Server = createServer((request, response: ServerResponse) => {
    const [agentId = '', life = ''] = (request.url ?? '').slice(1).split('?');
    hub.connect({ agentId, life, service: null, response });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  t.teardown(() => {
    hub.close();
    server.close();
    server.closeAllConnections();
  });
  const open: World['open'] = async (agentId) => {
    const socket = connect(port, '127.0.0.1');
    t.teardown(() => socket.destroy());
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', () => undefined);
    socket.write(`GET /${agentId} HTTP/1.1\r\nhost: x\r\n\r\n`);
    await until(() => text.includes('event: policies'));
    return { socket, text: () => text };
  };
  return { hub, log, open };
}

async function until(isTrue: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error('what was waited for did not happen within 15 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

t.test('an agent that does not read holds one push at most and gets the newest when it reads again', async (t) => {
  const { hub, log, open } = await createWorld(t);
  const slow = await open('slow');
  const quick = await open('quick');
  slow.socket.pause();
  const large = 4_000_000;
  for (let version = 2; version <= 12; version++) {
    hub.publish(set(version, large));
    await until(() => log.includes(`quick got ${version}`));
  }
  const before = log.filter((line) => line.startsWith('slow got')).length;
  t.ok(before < 6, `slow was written ${before} of 12 versions`);
  slow.socket.resume();
  await until(() => log.includes('slow got 12'));
  await until(() => slow.text().includes('id: g-12\n'));
  t.notOk(log.includes('slow got 11'), 'versions in between were skipped');
  t.ok(quick.text().includes('id: g-12\n') || log.includes('quick got 12'));
});

t.test('a stream whose bytes do not move is cut, one that is read stays', async (t) => {
  const { hub, log, open } = await createWorld(t, { heartbeatMs: 20, stalledAfterMs: 150 });
  const stuck = await open('stuck');
  await open('reader');
  stuck.socket.pause();
  // More than the kernel buffers on both sides take.
  for (let version = 2; version <= 4; version++) {
    hub.publish(set(version, 6_000_000));
    await until(() => log.includes(`reader got ${version}`));
  }
  await until(() => log.includes('stuck disconnected'));
  t.equal(hub.size, 1, 'its place is free again');
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.notOk(log.includes('reader disconnected'));
});

t.test('a burst is pushed at once and once more at its end, and the same version never twice', async (t) => {
  const { hub, log, open } = await createWorld(t);
  await open('a');
  for (let version = 2; version <= 50; version++) hub.publish(set(version));
  hub.publish(set(50));
  t.ok(log.includes('a got 2'), 'the first change is written before publish returns');
  await until(() => log.includes('a got 50'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.same(log, ['a connected', 'a got 1', 'a got 2', 'a got 50']);
});

t.test(
  'a store that was replaced is pushed under a version that was pushed before, and nothing is pushed without a change',
  async (t) => {
    const { hub, log, open } = await createWorld(t);
    const { text } = await open('a');
    const former = set(1, 20);
    hub.publish(former);
    hub.publish({ ...former });
    await until(() => log.length === 3);
    const replaced = { ...former, generation: 'h' };
    hub.publish(replaced);
    hub.publish({ ...replaced });
    await until(() => text().includes('id: h-1\n'));
    t.same(log, ['a connected', 'a got 1', 'a got 1', 'a got 1']);
    t.match(text(), /"version":1,"generation":"h","nonce"/);
  },
);

t.test('a second stream of an agent takes the first one over', async (t) => {
  const { hub, log, open } = await createWorld(t);
  const first = await open('a');
  const closed = new Promise((resolve) => first.socket.once('close', resolve));
  const second = await open('a');
  // The answer has ended; the connection is the client's to keep or close.
  await until(() => first.text().endsWith('0\r\n\r\n'));
  first.socket.destroy();
  await closed;
  t.equal(hub.size, 1);
  t.notOk(log.includes('a disconnected'));
  second.socket.destroy();
  await until(() => log.includes('a disconnected'));
  t.equal(hub.size, 0);
  t.equal(log.filter((line) => line === 'a disconnected').length, 1);
});

t.test('two processes of an agent keep a stream each, and the later one speaks for it', async (t) => {
  const { hub, log, open } = await createWorld(t);
  const former = await open('a?1');
  const later = await open('a?2');
  hub.publish(set(2));
  await until(() => former.text().includes('id: g-2\n') && later.text().includes('id: g-2\n'));
  t.equal(hub.size, 2);
  t.same(log, ['a connected', 'a got 1', 'a connected', 'a got 1', 'a got 2'], 'one push an agent is noted');
  former.socket.destroy();
  await until(() => hub.size === 1);
  t.notOk(log.includes('a disconnected'), 'its end is not the end of the successor');

  const third = await open('a?3');
  const fourth = await open('a?4');
  await until(() => later.text().endsWith('0\r\n\r\n'));
  t.equal(hub.size, 2, 'two at most, the oldest went');
  fourth.socket.destroy();
  await until(() => third.text().split('id: g-2\n').length === 3);
  t.equal(log.at(-1), 'a got 2', 'who is left is pushed again, for a verdict that counts');
  third.socket.destroy();
  await until(() => log.at(-1) === 'a disconnected');
  t.equal(hub.size, 0);
});

t.test('a step of a staged change goes to those that it concerns, its end to everybody', async (t) => {
  const { hub, log, open } = await createWorld(t);
  await open('a');
  await open('b');
  const base = set(2);
  hub.publish(base);
  await until(() => log.filter((line) => line.includes('got 2')).length === 2);
  log.length = 0;
  const changed = set(3).documents;
  const trial = (ids: readonly string[]) => ({ documents: changed, isIn: (id: string) => ids.includes(id) });
  hub.publish({ version: 3, generation: 'g', documents: base.documents, trial: trial(['a']) });
  await until(() => log.length === 1);
  hub.publish({ version: 4, generation: 'g', documents: base.documents, trial: trial(['a', 'b']) });
  await until(() => log.length === 2);
  t.same(log, ['a got 3 on trial', 'b got 4 on trial'], 'b is left alone first, and then a, which has it already');
  hub.publish({ version: 5, generation: 'g', documents: changed, trial: null });
  await until(() => log.length === 4);
  t.same(log.slice(2).sort(), ['a got 5', 'b got 5']);
});
