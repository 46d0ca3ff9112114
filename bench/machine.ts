// What the benchmark asks Linux: processes pinned to a core, their CPU time and memory, and the facts that belong beside a
// figure. Everything is read from /proc.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { cpus, loadavg, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export const PROXY_CORE = 0;
export const LOAD_CORE = 1;

/** USER_HZ on every Linux that matters. */
const TICKS_PER_SECOND = 100;

/** Starts a program in the foreground on one core. Its complaints are kept for `complaints`. */
export function startPinned(core: number, command: string, args: readonly string[], cwd: string): ChildProcess {
  const child = spawn('taskset', ['-c', String(core), command, ...args], { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    text = (text + bytes.toString()).slice(-2000);
  });
  child.once('exit', (code, signal) => {
    // A stop by us is a signal, or the program's orderly answer to one.
    if (!child.killed && (code !== 0 || signal !== null))
      console.error(`${command} ended (${code ?? signal}): ${text}`);
  });
  return child;
}

/** Asks politely, then insists; resolves when the process is gone. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const insist = setTimeout(() => child.kill('SIGKILL'), 3000);
  await gone;
  clearTimeout(insist);
}

/** The process and everything below it. */
function processTree(pid: number): number[] {
  const children: number[] = [];
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const text = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim();
      if (text !== '') children.push(...text.split(' ').map(Number));
    }
  } catch {
    return []; // ended while we looked
  }
  return [pid, ...children.flatMap(processTree)];
}

/** CPU seconds that the process, its threads and its living children have used; user and system. */
export function cpuSeconds(pid: number): { user: number; system: number } {
  let user = 0;
  let system = 0;
  for (const each of processTree(pid)) {
    const fields = readFileSync(`/proc/${each}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    user += Number(fields[11]) / TICKS_PER_SECOND;
    system += Number(fields[12]) / TICKS_PER_SECOND;
  }
  return { user, system };
}

/** Resident memory of the process and its children, KiB. */
export function residentKib(pid: number): number {
  let sum = 0;
  for (const each of processTree(pid)) {
    sum += Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${each}/status`, 'utf8'))?.[1] ?? 0);
  }
  return sum;
}

/** A TCP port of loopback that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** Resolves when something accepts on the port; rejects after ten seconds. */
export async function waitForPort(port: number, name: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port });
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (isOpen) return;
    await sleep(50);
  }
  throw new Error(`${name} did not listen on port ${port}`);
}

/** First line that a program says about its version, or null when it is not installed. */
export function versionOf(command: string, args: readonly string[]): string | null {
  try {
    const text = execFileSync('sh', ['-c', `${[command, ...args].join(' ')} 2>&1`], { encoding: 'utf8' });
    return (
      text
        .split('\n')
        .find((line) => line.trim() !== '')
        ?.trim() ?? null
    );
  } catch (error) {
    // wrk says its version and fails.
    const text = error instanceof Error && 'stdout' in error ? String(error.stdout) : '';
    return /version|wrk \d/i.test(text) ? (text.split('\n')[0] ?? null) : null;
  }
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly commit: string;
  readonly load: string;
  readonly at: string;
}

export function describeMachine(): Machine {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const isDirty =
    execFileSync('git', ['status', '--porcelain', '--', 'agent', 'contract'], { encoding: 'utf8' }) !== '';
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    node: process.version,
    commit: isDirty ? `${commit} with local changes` : commit,
    load: loadavg()
      .map((value) => value.toFixed(2))
      .join(' '),
    at: new Date().toISOString().slice(0, 16).replace('T', ' '),
  };
}
