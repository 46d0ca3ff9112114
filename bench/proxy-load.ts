// CPU time of the data plane per request: three raw origins in their own processes, the proxy in another, wrk as the load.
// Prints microseconds of CPU of the proxy process per request, from /proc. Linux, and wrk on the PATH.
//
//   node bench/proxy-load.ts [seconds]

import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import { systemClock, systemRandom } from '../agent/clock.ts';
import { createEndpointStats } from '../agent/core/stats.ts';
import { createServiceStats, createServiceView } from '../agent/core/view.ts';
import { createProxyListener } from '../agent/proxy/listener.ts';
import { Pools } from '../agent/proxy/pools.ts';
import { Metrics } from '../agent/telemetry/metrics.ts';

const CONNECTIONS = 64;
const BODY_BYTES = 1024;
/** USER_HZ on every Linux that matters. */
const TICKS_PER_SECOND = 100;

function serveOrigin(): void {
  const answer = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${BODY_BYTES}\r\n\r\n${'x'.repeat(BODY_BYTES)}`;
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    // One request a read: the proxy never pipelines.
    socket.on('data', () => socket.write(answer, 'latin1'));
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
}

async function serveProxy(ports: readonly number[]): Promise<void> {
  const endpoints = ports.map((port) => {
    const id = `a@127.0.0.1:${port}`;
    return {
      endpoint: { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} },
      stats: createEndpointStats(id),
    };
  });
  const plan = { service: 'a', policy: DEFAULT_POLICY, rules: [], permission: { kind: 'allow' as const } };
  const view = createServiceView(plan, endpoints, createServiceStats('a'));
  const snapshot = { generation: 1, policyVersion: 0, services: new Map([['a', view]]) };
  const listener = createProxyListener({
    direction: 'outbound',
    address: { host: '127.0.0.1', port: 0 },
    service: 'bench',
    route: { kind: 'byHost' },
    mesh: { snapshot, requestSweep: () => {} },
    pools: new Pools({ clock: systemClock }),
    metrics: new Metrics(),
    accessLog: { write: () => {} },
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

function cpuSeconds(pid: number): { user: number; system: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return { user: Number(fields[11]) / TICKS_PER_SECOND, system: Number(fields[12]) / TICKS_PER_SECOND };
}

function load(port: number, seconds: number): number {
  const args = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '-H', 'Host: a', `http://127.0.0.1:${port}/x`];
  const { stdout } = spawnSync('wrk', args, { encoding: 'utf8' });
  return Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
}

async function main(seconds: number): Promise<void> {
  const origins = await Promise.all([start('origin'), start('origin'), start('origin')]);
  const proxy = await start('proxy', ...origins.map(({ port }) => String(port)));
  const pid = proxy.child.pid ?? 0;
  load(proxy.port, 2);
  for (let round = 1; round <= 3; round += 1) {
    const before = cpuSeconds(pid);
    const requests = load(proxy.port, seconds);
    const after = cpuSeconds(pid);
    const per = (from: number, to: number) => (((to - from) * 1e6) / requests).toFixed(1);
    const user = per(before.user, after.user);
    const system = per(before.system, after.system);
    const total = per(before.user + before.system, after.user + after.system);
    console.log(`round ${round}: ${requests} requests, ${total} µs CPU each (${user} user, ${system} system)`);
  }
  for (const { child } of [proxy, ...origins]) child.kill();
}

const [role, ...rest] = process.argv.slice(2);
if (role === 'origin') serveOrigin();
else if (role === 'proxy') await serveProxy(rest.map(Number));
else await main(Number(role ?? 5));
