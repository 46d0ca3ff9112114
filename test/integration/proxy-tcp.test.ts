// TCP upstreams: a real Redis behind the agent, both halves of a connection, endpoints that die, and connections that last too
// long.

import { spawn, spawnSync } from 'node:child_process';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { systemClock } from '../../agent/clock.ts';
import { createTcpListener, type TcpListenerOptions } from '../../agent/proxy/tcp-listener.ts';
import { TcpCounters } from '../../agent/telemetry/tcp-counters.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { policyWith, type Rig, startRig } from '../support/proxy-rig.ts';
import { rawClient } from '../support/raw-client.ts';
import { seededRandom } from '../support/seeded-random.ts';

interface TcpRig {
  readonly rig: Rig;
  readonly port: number;
  readonly counters: TcpCounters;
  readonly listener: ReturnType<typeof createTcpListener>;
}

async function startTcp(t: Test, ports: readonly number[], options: Partial<TcpListenerOptions> = {}): Promise<TcpRig> {
  const policy = policyWith({ loadBalancer: { policy: 'roundRobin' } });
  const rig = await startRig(t, { db: ports }, { policy });
  const counters = new TcpCounters();
  const listener = createTcpListener({
    address: { host: '127.0.0.1', port: 0 },
    service: 'web',
    destination: 'db',
    counters,
    mesh: {
      get snapshot() {
        return rig.snapshot();
      },
      requestSweep: (service) => rig.sweeps.push(service),
    },
    pools: rig.pools,
    metrics: rig.metrics,
    accessLog: { wants: () => true, write: (record) => rig.records.push(record) },
    clock: systemClock,
    random: seededRandom(5),
    isDraining: () => false,
    ...options,
  });
  const { port } = await listener.listen();
  t.teardown(() => listener.close());
  return { rig, port, counters, listener };
}

async function startServer(t: Test, onSocket: (socket: Socket) => void): Promise<{ port: number; live: Set<Socket> }> {
  const live = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    live.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => live.delete(socket));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of live) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, live }; // listening on TCP
}

/** Resolves when the connection is gone: a refusal may be quicker than the word that it was made. */
function refused(port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
}

/** Gathers until FIN, then answers with the length: nothing comes back unless FIN passes while the other half stays open. */
const countUntilEnd = (name: string) => (socket: Socket) => {
  let size = 0;
  socket.on('data', (bytes: Buffer) => {
    size += bytes.length;
  });
  socket.on('end', () => socket.end(`${name} ${size}`));
};

t.test('half-close passes both ways, connections go round, bytes are counted', async (t) => {
  const servers = await Promise.all(['a', 'b'].map((name) => startServer(t, countUntilEnd(name))));
  const { rig, port, counters } = await startTcp(
    t,
    servers.map((server) => server.port),
  );
  const answers: string[] = [];
  for (let round = 0; round < 4; round += 1) {
    const client = await rawClient(t, port);
    client.socket.write(Buffer.alloc(1024 * 1024));
    client.end();
    answers.push(await client.closed());
  }
  t.same(answers.sort(), ['a 1048576', 'a 1048576', 'b 1048576', 'b 1048576']);
  t.same([...counters.ends], [['ok', 4]]);
  t.same([counters.sentBytes, counters.receivedBytes], [4 * 1024 * 1024, 4 * 9]);
  t.same(
    rig.endpoints('db').map(({ stats }) => stats.inFlight),
    [0, 0],
  );
  t.match(rig.records[0], { method: 'TCP', destination: 'db', result: 'ok', bytesIn: 1024 * 1024, bytesOut: 9 });

  const early = await startServer(t, (socket) => {
    socket.end('done first');
    socket.resume();
  });
  rig.setService('db', [early.port]);
  const client = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  client.resume();
  await new Promise((resolve) => client.once('end', resolve));
  const before = counters.sentBytes;
  client.end('still sending');
  await until(() => counters.ends.get('ok') === 5, 2000);
  t.equal(counters.sentBytes - before, 13, 'the upstream may end first');
});

t.test('a server that speaks first is heard, and a reset passes on as a reset', async (t) => {
  const server = await startServer(t, (socket) => socket.write('220 hello\r\n'));
  const { port, counters } = await startTcp(t, [server.port]);
  for (const who of ['upstream', 'downstream'] as const) {
    const client = await rawClient(t, port);
    await client.until((text) => text === '220 hello\r\n');
    const failed = new Promise((resolve) => client.socket.once('error', resolve));
    if (who === 'upstream') {
      for (const socket of server.live) socket.resetAndDestroy();
      t.match(await failed, { code: 'ECONNRESET' });
    } else client.reset();
    await until(() => server.live.size === 0, 2000);
  }
  t.same(
    [...counters.ends],
    [
      ['upstream_reset', 1],
      ['downstream_disconnect', 1],
    ],
  );
});

t.test('a dead endpoint costs no connection: another one is tried, and a sweep is asked for', async (t) => {
  const [dead = 0] = await freePorts(1);
  const good = await startServer(t, countUntilEnd('good'));
  const { rig, port, counters } = await startTcp(t, [dead, good.port]);
  for (let round = 0; round < 12; round += 1) {
    const client = await rawClient(t, port);
    client.write('x');
    client.end();
    t.equal(await client.closed(), 'good 1');
  }
  t.ok(rig.retries.length >= 5 && new Set(rig.retries).size === 1, `${rig.retries.length} retries`);
  t.ok(rig.sweeps.includes('db'), 'failures to connect crossed the detector');
  rig.setService('db', [dead]);
  await refused(port);
  t.equal(counters.ends.get('upstream_connect_failure'), 1);
  rig.setService('db', []);
  await refused(port);
  t.equal(counters.ends.get('no_healthy_upstream'), 1);
  rig.setService('db', [good.port], undefined, [], { kind: 'deny', from: 'ServiceIntentions/db' });
  await refused(port);
  t.equal(counters.ends.get('denied'), 1);
});

t.test('idle and lifetime limits, the connection limit, and drain', async (t) => {
  const server = await startServer(t, (socket) => socket.on('data', (bytes: Buffer) => socket.write(bytes)));
  const idle = await startTcp(t, [server.port], { limits: { tunnelIdleMs: 120 } });
  await (await rawClient(t, idle.port)).closed();
  t.equal(idle.counters.ends.get('idle'), 1);
  const short = await startTcp(t, [server.port], { limits: { tunnelLifetimeMs: 200, maxConnections: 1 } });
  const talker = await rawClient(t, short.port);
  const talking = setInterval(() => talker.write('x'), 10);
  await talker.until((text) => text.length > 2);
  await refused(short.port);
  t.equal(short.counters.ends.get('overloaded'), 1);
  await talker.closed();
  clearInterval(talking);
  t.equal(short.counters.ends.get('lifetime'), 1);
  const last = await startTcp(t, [server.port]);
  const [staying, leaving] = [await rawClient(t, last.port), await rawClient(t, last.port)];
  for (const client of [staying, leaving]) {
    client.write('x');
    await client.until((text) => text === 'x');
  }
  const drained = last.listener.drain(300);
  leaving.write('y');
  await leaving.until((text) => text === 'xy');
  leaving.reset();
  await drained;
  await staying.closed();
  t.same(
    [...last.counters.ends],
    [
      ['downstream_disconnect', 1],
      ['draining', 1],
    ],
  );
});

t.test('a session with a real Redis survives what Redis survives', async (t) => {
  if (spawnSync('redis-server', ['--version']).error !== undefined) {
    if (process.env.CI !== undefined) throw new Error('redis-server is missing: install the redis-server package');
    process.stderr.write('not checked, redis-server is not installed\n');
    return;
  }
  const ports = await freePorts(2);
  const servers = await Promise.all(ports.map((port) => startRedis(t, port)));
  const { port, counters } = await startTcp(t, ports);
  const client = await rawClient(t, port);
  client.write('SET key value\r\nGET key\r\nPING\r\n');
  await client.until((text) => text.endsWith('+PONG\r\n'));
  t.equal(client.received(), '+OK\r\n$5\r\nvalue\r\n+PONG\r\n');
  const big = 'x'.repeat(2 * 1024 * 1024);
  client.write(`*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$${big.length}\r\n${big}\r\nGET big\r\n`);
  const text = await client.until((received) => received.length > big.length, 5000);
  t.ok(text.endsWith(`+OK\r\n$${big.length}\r\n${big}\r\n`) || text.includes(big));

  // One of the two is killed: its sessions break, and every new one finds the other.
  servers[0]?.kill('SIGKILL');
  await until(() => servers[0]?.signalCode !== null, 2000);
  for (let round = 0; round < 6; round += 1) {
    const next = await rawClient(t, port);
    next.write('PING\r\n');
    await next.until((received) => received === '+PONG\r\n');
    next.end();
    await next.closed();
  }
  t.ok((counters.ends.get('ok') ?? 0) >= 6);
});

async function startRedis(t: Test, port: number): Promise<ReturnType<typeof spawn>> {
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', temporaryFolder(t)];
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout?.on('data', (bytes: Buffer) => {
    output += bytes.toString();
  });
  await until(
    () => output.includes('Ready to accept connections'),
    10_000,
    () => output,
  );
  return child;
}
