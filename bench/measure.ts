// One measurement each: what a proxy costs per request under wrk, how late its answers are at a fixed rate, what idle
// connections weigh. No order and no summary here: that is main.ts and report.ts.

import { execFile, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { runWrk, type Workload } from './load.ts';
import { cpuSeconds, LOAD_CORE, residentKib } from './machine.ts';
import type { OpenLoopResult } from './open-loop.ts';
import type { RunningPeer } from './peers.ts';

/** The service that the agent routes to by this name; the others take any. */
const HOST = 'payments';

export interface CpuSample {
  readonly peer: string;
  readonly workload: string;
  readonly cpuUs: number;
  readonly userUs: number;
  readonly perSecond: number;
  readonly errors: number;
  readonly rssKib: number;
}

export async function measureCpu(
  folder: string,
  peer: RunningPeer,
  workload: Workload,
  seconds: number,
): Promise<CpuSample> {
  const before = cpuSeconds(peer.pid);
  const { requests, perSecond, errors } = await runWrk(folder, peer.port, workload, seconds, HOST);
  const after = cpuSeconds(peer.pid);
  const user = after.user - before.user;
  const system = after.system - before.system;
  const perRequest = (value: number) => (requests === 0 ? Number.NaN : (value * 1e6) / requests);
  return {
    peer: peer.name,
    workload: workload.name,
    cpuUs: perRequest(user + system),
    userUs: perRequest(user),
    perSecond,
    errors,
    rssKib: residentKib(peer.pid),
  };
}

export interface LatencySample extends OpenLoopResult {
  readonly peer: string;
}

/** 1 KiB answers at `rate` requests a second, whatever the proxy makes of it. */
export async function measureLatency(peer: RunningPeer, rate: number, seconds: number): Promise<LatencySample> {
  const script = fileURLToPath(new URL('open-loop.ts', import.meta.url));
  const args = ['-c', String(LOAD_CORE), process.execPath, script];
  args.push(String(peer.port), String(rate), String(seconds), HOST, '/1k');
  const { stdout } = await promisify(execFile)('taskset', args, { encoding: 'utf8' });
  return { peer: peer.name, ...(JSON.parse(stdout) as OpenLoopResult) };
}

export interface IdleSample {
  readonly peer: string;
  /** Connections that were answered once and stayed open. */
  readonly held: number;
  readonly kibPerConnection: number;
  /** Share of one core while nothing happens on them. */
  readonly cpuPercent: number;
}

/** Memory and CPU of `count` connections that do nothing. The proxy must be fresh: memory it kept from before would hide them. */
export async function measureIdle(peer: RunningPeer, count: number, restMs: number): Promise<IdleSample> {
  const before = residentKib(peer.pid);
  const script = fileURLToPath(new URL('idle.ts', import.meta.url));
  const args = ['-c', String(LOAD_CORE), process.execPath, script, String(peer.port), String(count), HOST, '/1k'];
  const client = spawn('taskset', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const held = await new Promise<number>((resolve, reject) => {
    client.stdout.once('data', (bytes: Buffer) => resolve(Number(bytes.toString().split(' ')[1])));
    client.once('exit', () => reject(new Error(`the idle connections to ${peer.name} could not be opened`)));
  });
  await sleep(500);
  const start = cpuSeconds(peer.pid);
  await sleep(restMs);
  const end = cpuSeconds(peer.pid);
  const after = residentKib(peer.pid);
  const gone = new Promise<void>((resolve) => client.once('exit', () => resolve()));
  client.stdin.end();
  await gone;
  const busyMs = (end.user + end.system - start.user - start.system) * 1000;
  return {
    peer: peer.name,
    held,
    kibPerConnection: (after - before) / Math.max(1, held),
    cpuPercent: (busyMs / restMs) * 100,
  };
}
