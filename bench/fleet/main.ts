// One control plane and thousands of simulated agents: how long a commit takes to reach all, what a restart costs, what an idle
// agent costs. The agents share one process and thereby one core; the control plane has the other. Linux.
//
//   node bench/fleet/main.ts [agents…]      2000 when absent; each count is a run of its own

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { EdgeReport } from '#contract/frames.ts';
import { measureEndpoints, playConsul } from './endpoints.ts';
import { SimulatedAgent } from './simulated-agent.ts';

const MAIN = fileURLToPath(new URL('../../control-plane/main.ts', import.meta.url));
const COMMITS = 20;
const COMMIT_EVERY_MS = 1_000;
const REPORT_EVERY_MS = 2_000;
const SERVICES = 20;
const DOCUMENTS = 40;
const DEADLINE_MS = 30_000;
const CLOCK_TICKS = 100; // per second; the kernel's USER_HZ on every Linux that Node runs on
const DOWN_MS = 3_000;

/** On SIGWINCH (others end it) the process collects its garbage and says what is left. */
const SAY_MEMORY =
  'process.on("SIGWINCH",()=>{gc();gc();console.error("MEMORY "+JSON.stringify(process.memoryUsage()))})';

interface ControlPlane {
  readonly child: ChildProcess;
  readonly url: string;
  readonly output: () => string;
}

async function startControlPlane(folder: string, port: number, consulUrl: string): Promise<ControlPlane> {
  const file = `${folder}/control-plane.json`;
  const listen = `127.0.0.1:${port}`;
  const discovery = { consul: { url: consulUrl } };
  writeFileSync(
    file,
    JSON.stringify({ listen, registry: false, discovery, store: { sqlite: `${folder}/policies.db` } }),
  );
  const flags = ['--expose-gc', '--import', `data:text/javascript,${encodeURIComponent(SAY_MEMORY)}`];
  const child = spawn(process.execPath, [...flags, MAIN, file], { stdio: ['ignore', 'pipe', 'pipe'] });
  process.once('exit', () => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await until(() => output.includes('control plane is ready'), 'the control plane');
  const ready = output.split('\n').find((line) => line.includes('control plane is ready')) ?? '{}';
  return { child, url: JSON.parse(ready).url, output: () => output };
}

async function until(condition: () => boolean, what: string | (() => string)): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > deadline)
      throw new Error(`not within ${DEADLINE_MS} ms: ${typeof what === 'string' ? what : what()}`);
    await sleep(5);
  }
}

async function put(url: string, index: number, value: number): Promise<number> {
  const name = `service-${index}`;
  const spec = { timeouts: { request: `${1_000 + value}ms` }, retries: { attempts: 2 } };
  const response = await fetch(`${url}/v1/policies/ServicePolicy/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name }, spec }),
  });
  const body = (await response.json()) as { version: number };
  if (!response.ok) throw new Error(`PUT was answered ${response.status}: ${JSON.stringify(body)}`);
  return body.version;
}

/** CPU seconds that a process has used. */
function cpuSeconds({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
}

/** Resident set and live heap after a collection, bytes. */
async function memoryOf({ child, output }: ControlPlane): Promise<{ rss: number; heapUsed: number; external: number }> {
  const from = output().length;
  child.kill('SIGWINCH');
  await until(
    () => output().indexOf('MEMORY ', from) >= 0 && output().indexOf('\n', output().indexOf('MEMORY ', from)) > 0,
    'memory',
  );
  const start = output().indexOf('MEMORY ', from) + 'MEMORY '.length;
  return JSON.parse(output().slice(start, output().indexOf('\n', start)));
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Three edges that grow, as an agent with three upstreams reports them. */
function edgesOf(service: string): () => EdgeReport[] {
  let requests = 0;
  return () => {
    requests += 50;
    return [1, 2, 3].map((upstream) => ({
      direction: 'outbound',
      source: service,
      destination: `service-${upstream}`,
      requests,
      successes: requests,
      retries: 0,
      inFlight: 1,
      latency: [300, requests],
    }));
  };
}

async function run(count: number): Promise<Record<string, string>> {
  const folder = mkdtempSync(`${tmpdir()}/outrigger-fleet-`);
  const consul = await playConsul();
  let controlPlane = await startControlPlane(folder, 0, consul.url);
  const { url } = controlPlane;
  const port = Number(new URL(url).port);
  for (let index = 0; index < DOCUMENTS; index++) await put(url, index, 0);
  const connections = new HttpAgent({ keepAlive: true, maxSockets: 64 });
  const applied = new Map<number, number[]>();
  const agents = Array.from({ length: count }, (_, index) => {
    const service = `service-${index % SERVICES}`;
    const onApplied = (version: number): void => void applied.get(version)?.push(performance.now());
    return new SimulatedAgent({
      urls: [url],
      id: `${service}-${index}`,
      service,
      connections,
      random: Math.random,
      edges: edgesOf(service),
      onApplied,
    });
  });
  await sleep(500);
  const before = await memoryOf(controlPlane);
  const startedAt = performance.now();
  for (const agent of agents) agent.start();
  await until(
    () => agents.every(({ push }) => push !== null),
    () => `${agents.filter(({ push }) => push !== null).length} of ${count} agents with a set`,
  );
  const connectedMs = performance.now() - startedAt;
  await sleep(2_000);
  const idle = await memoryOf(controlPlane);

  // Reports spread over their interval, as those of a fleet are.
  let next = 0;
  let refused = 0;
  const perTick = count / (REPORT_EVERY_MS / 20);
  let due = 0;
  const reporting = setInterval(() => {
    for (due += perTick; due >= 1; due--) {
      void agents[next++ % count]?.report().then((status) => {
        if (status !== 204) refused++;
      });
    }
  }, 20);
  await sleep(3_000);
  const cpuBefore = cpuSeconds(controlPlane.child);
  const reportedAt = performance.now();
  await sleep(5_000);
  const reportCpu = (cpuSeconds(controlPlane.child) - cpuBefore) / ((performance.now() - reportedAt) / 1000);

  const delays: number[] = [];
  const slowest: number[] = [];
  let version = DOCUMENTS;
  for (let commit = 1; commit <= COMMITS; commit++) {
    version++;
    const times: number[] = [];
    applied.set(version, times);
    const at = performance.now();
    const written = await put(url, commit % SERVICES, commit);
    if (written !== version) throw new Error(`version ${written}, expected ${version}`);
    await until(() => times.length === count, `version ${version} at all agents, ${times.length} have it`);
    const late = times.map((time) => time - at);
    delays.push(...late);
    slowest.push(Math.max(...late));
    await sleep(COMMIT_EVERY_MS);
  }
  delays.sort((a, b) => a - b);
  slowest.sort((a, b) => a - b);
  const refusedBefore = refused;
  const endpoints = await measureEndpoints(agents, consul, ['service-1', 'service-2', 'service-3']);

  controlPlane.child.kill('SIGKILL');
  await sleep(DOWN_MS);
  const connectsBefore = agents.map(({ connects }) => connects);
  const restartAt = performance.now();
  controlPlane = await startControlPlane(folder, port, consul.url);
  const readyMs = performance.now() - restartAt;
  const readyCpu = cpuSeconds(controlPlane.child);
  let busySeconds = 0;
  let last = readyCpu;
  const watching = setInterval(() => {
    const now = cpuSeconds(controlPlane.child);
    if (now - last > 0.95) busySeconds++;
    last = now;
  }, 1_000);
  const isBack = (agent: SimulatedAgent, index: number): boolean =>
    agent.isConnected && agent.connects > (connectsBefore[index] ?? 0) && agent.push?.version === version;
  await until(() => agents.every(isBack), 'all agents back');
  const backMs = performance.now() - restartAt;
  const stormCpu = cpuSeconds(controlPlane.child) - readyCpu;
  clearInterval(watching);
  clearInterval(reporting);
  for (const agent of agents) agent.stop();
  connections.destroy();
  consul.close();
  controlPlane.child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
  const kib = (bytes: number): string => (bytes / 1024 / count).toFixed(1);
  return {
    agents: String(count),
    'all connected, s': (connectedMs / 1000).toFixed(2),
    'KiB RSS per idle agent': kib(idle.rss - before.rss),
    'KiB live heap': kib(idle.heapUsed + idle.external - before.heapUsed - before.external),
    'reports/s': String(Math.round(count / (REPORT_EVERY_MS / 1000))),
    'CPU for reports, cores': reportCpu.toFixed(2),
    'refused reports': String(refusedBefore),
    'commit applied p50, ms': quantile(delays, 0.5).toFixed(0),
    'p99, ms': quantile(delays, 0.99).toFixed(0),
    'slowest agent, median of commits, ms': quantile(slowest, 0.5).toFixed(0),
    'worst, ms': quantile(slowest, 1).toFixed(0),
    ...endpoints,
    'restart: ready, s': (readyMs / 1000).toFixed(2),
    'all back, s': (backMs / 1000).toFixed(2),
    'CPU of it, s': stormCpu.toFixed(2),
    'seconds at a full core': String(busySeconds),
  };
}

const counts = process.argv.slice(2).map(Number);
for (const count of counts.length === 0 ? [2_000] : counts) {
  for (const [name, value] of Object.entries(await run(count)))
    process.stdout.write(`${name.padEnd(40)} ${value.padStart(9)}\n`);
  process.stdout.write('\n');
}
process.exit(0);
