// What the agent's memory does: 1 GB down and 1 GB up with a slow reader at the far end, and 10,000 connections that wait.
// Prints growth of the resident memory of the proxy process, from /proc. Linux. Takes less than a minute.
//
//   node bench/memory.ts [gigabytes] [connections]

import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import { systemClock, systemRandom } from '../agent/clock.ts';
import { createEndpointStats } from '../agent/core/stats.ts';
import { createServiceStats, createServiceView } from '../agent/core/view.ts';
import { createProxyListener } from '../agent/proxy/listener.ts';
import { Pools } from '../agent/proxy/pools.ts';
import { Metrics } from '../agent/telemetry/metrics.ts';

const GIGABYTE = 1_000_000_000;
const PIECE = Buffer.alloc(1_000_000, 'x');
/** A reader that is slower than its writer: it rests after each piece. */
const REST_MS = 10;

/** Answers GET with as many bytes as the path says, and POST with the number of bytes it has read, slowly. */
function serveOrigin(): void {
  const server = createServer({ noDelay: true }, (socket) => {
    let left = -1;
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes: Buffer) => {
      if (left < 0) {
        const head = bytes.toString('latin1');
        if (head.startsWith('GET')) return void download(socket, Number(/GET \/(\d+)/.exec(head)?.[1] ?? 0));
        left = Number(/content-length: (\d+)/.exec(head)?.[1] ?? 0);
        left += head.indexOf('\r\n\r\n') + 4;
      }
      left -= bytes.length;
      rest(socket);
      if (left > 0) return;
      left = -1;
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone');
    });
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port)); // listening on TCP
}

async function download(socket: Socket, size: number): Promise<void> {
  socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`);
  await send(socket, size);
}

async function send(socket: Socket, size: number): Promise<void> {
  for (let sent = 0; sent < size; sent += PIECE.length) {
    if (!socket.write(PIECE)) await new Promise((resolve) => socket.once('drain', resolve));
  }
}

let unrested = 0;
function rest(socket: Socket): void {
  unrested += 1;
  if (unrested % 256 !== 0) return;
  socket.pause();
  setTimeout(() => socket.resume(), REST_MS);
}

async function serveProxy(port: number): Promise<void> {
  const id = `a@127.0.0.1:${port}`;
  const endpoint = { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
  const plan = { service: 'a', policy: DEFAULT_POLICY, rules: [], subsets: [], permission: { kind: 'allow' as const } };
  const view = createServiceView(plan, [{ endpoint, stats: createEndpointStats(id) }], createServiceStats('a'));
  const listener = createProxyListener({
    direction: 'outbound',
    address: { host: '127.0.0.1', port: 0 },
    service: 'bench',
    route: { kind: 'byHost' },
    mesh: { snapshot: { generation: 1, policyVersion: 0, services: new Map([['a', view]]) }, requestSweep: () => {} },
    pools: new Pools({ clock: systemClock }),
    metrics: new Metrics(),
    accessLog: { wants: () => false, write: () => {} },
    clock: systemClock,
    random: systemRandom,
    isDraining: () => false,
  });
  process.send?.((await listener.listen()).port);
}

function start(...args: string[]): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(fileURLToPath(import.meta.url), args);
  return new Promise((resolve) => child.once('message', (port) => resolve({ child, port: Number(port) })));
}

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

/** Largest resident memory while `work` runs. */
async function peakDuring(pid: number, work: Promise<unknown>): Promise<number> {
  let peak = residentBytes(pid);
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes(pid));
  }, 20);
  await work;
  clearInterval(timer);
  return peak;
}

/** One exchange; resolves when `wanted` bytes have come back. */
function exchange(port: number, head: string, bodyBytes: number, wanted: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(head);
      void send(socket, bodyBytes);
    });
    let received = 0;
    socket.on('data', (bytes: Buffer) => {
      received += bytes.length;
      if (received >= wanted) {
        socket.destroy();
        resolve();
      } else rest(socket);
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${received} bytes`)));
  });
}

function post(size: number): string {
  return `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`;
}

function get(size: number): string {
  return `GET /${size} HTTP/1.1\r\nHost: a\r\n\r\n`;
}

async function openIdle(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const batch = Array.from({ length: Math.min(200, count - sockets.length) }, async () => {
      const socket = connect(port, '127.0.0.1', () => socket.write(get(2)));
      await new Promise((resolve, reject) => socket.once('data', resolve).once('error', reject));
      sockets.push(socket);
    });
    await Promise.all(batch);
  }
  return sockets;
}

async function main(size: number, connections: number): Promise<void> {
  const origin = await start('origin');
  const proxy = await start('proxy', String(origin.port));
  const pid = proxy.child.pid ?? 0;
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  // What the runtime needs once, for code and its heap, is not growth.
  await exchange(proxy.port, get(size / 10), 0, size / 10);
  await exchange(proxy.port, post(size / 10), size / 10, 40);
  const beforeIdle = residentBytes(pid);
  const sockets = await openIdle(proxy.port, connections);
  await sleep(1000);
  const each = (residentBytes(pid) - beforeIdle) / connections / 1024;
  console.log(`${connections} idle connections: ${each.toFixed(1)} KiB each (limit 20 KiB)`);
  for (const socket of sockets) socket.destroy();
  for (const [name, work] of [
    ['down', () => exchange(proxy.port, get(size), 0, size)],
    ['up', () => exchange(proxy.port, post(size), size, 40)],
  ] as const) {
    await sleep(500);
    const before = residentBytes(pid);
    const startedAt = performance.now();
    const peak = await peakDuring(pid, work());
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    console.log(
      `${megabytes(size)} ${name}, slow reader: +${megabytes(peak - before)} at most, ${seconds} s (limit 20 MB)`,
    );
  }
  for (const { child } of [proxy, origin]) child.kill();
}

const [role, ...args] = process.argv.slice(2);
if (role === 'origin') serveOrigin();
else if (role === 'proxy') await serveProxy(Number(args[0]));
else await main(Number(role ?? 1) * GIGABYTE, Number(args[0] ?? 10_000));
