// A real Consul server for tests: one process on loopback, every port free, ended with the test that started it.

import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LEADER_DEADLINE_MS = 30_000;

/** The part of tap's test object that is needed here. */
interface Test {
  readonly teardown: (run: () => unknown) => unknown;
  readonly fail: (message: string) => unknown;
  readonly comment: (message: string) => unknown;
}

export interface RealConsul {
  /** `http://127.0.0.1:PORT`, the same after a restart. */
  readonly url: string;
  readonly dataDir: string;
  /** Sends a signal to this process; after SIGKILL or SIGTERM it has ended when the promise resolves. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Ends the process if it runs, starts it again and waits for a leader; `keepState: false` empties the data folder. */
  restart(options?: { readonly keepState?: boolean }): Promise<void>;
  stop(): Promise<void>;
}

export interface ConsulOptions {
  /** Contents of further configuration files, merged by Consul over the basic one. */
  readonly configFiles?: readonly Readonly<Record<string, unknown>>[];
  /** To wait for the leader with, where ACLs deny. */
  readonly token?: string;
}

/** Path of a Consul binary: OUTRIGGER_TEST_CONSUL, then what scripts/install-consul.sh unpacks, then PATH; null when there is none. */
export function findConsul(): string | null {
  const told = process.env.OUTRIGGER_TEST_CONSUL;
  const onPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'consul'));
  const candidates = [...(told === undefined ? [] : [told]), join(ROOT, '.consul/usr/bin/consul'), ...onPath];
  return candidates.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The binary, or null after saying why this half is left out; in CI a missing Consul is a failure, never a silence. */
export function consulOrFail(t: Test): string | null {
  const binary = findConsul();
  if (binary !== null) return binary;
  const message = 'no consul binary: run scripts/install-consul.sh or set OUTRIGGER_TEST_CONSUL';
  if (process.env.CI === 'true') t.fail(message);
  else t.comment(`SKIPPED, ${message}`);
  return null;
}

/**
 * Starts a single Consul server with its state in a temporary folder and waits until it leads.
 *
 * @throws when there is no binary, or no leader within 30 s (the message carries the end of Consul's log)
 */
export async function startConsul(t: Test, options: ConsulOptions = {}): Promise<RealConsul> {
  const binary = findConsul();
  if (binary === null) throw new Error('no consul binary: run scripts/install-consul.sh or set OUTRIGGER_TEST_CONSUL');
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-consul-'));
  const dataDir = join(folder, 'data');
  const ports = await freePorts(3);
  const files = [basicConfig(dataDir, ports), ...(options.configFiles ?? [])];
  const paths = files.map((_, position) => join(folder, `${String(position).padStart(2, '0')}.json`));
  await Promise.all(files.map((content, i) => writeFile(paths[i] ?? '', JSON.stringify(content))));
  const url = `http://127.0.0.1:${ports[0]}`;
  const running: { child: ChildProcess | null; log: string } = { child: null, log: '' };

  // Should the test process end without its teardown, the server must not outlive it.
  const onExit = (): void => void running.child?.kill('SIGKILL');
  process.on('exit', onExit);

  const start = async (): Promise<void> => {
    const child = spawn(binary, ['agent', ...paths.map((path) => `-config-file=${path}`)], { stdio: 'pipe' });
    running.child = child;
    running.log = '';
    const record = (chunk: Buffer): void => {
      running.log = (running.log + chunk.toString()).slice(-4000);
    };
    child.stdout.on('data', record);
    child.stderr.on('data', record);
    await waitForLeader(url, options.token ?? null, child, () => running.log);
  };
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    const child = running.child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await ended;
  };
  const stop = async (): Promise<void> => {
    await kill('SIGKILL');
    process.off('exit', onExit);
    await rm(folder, { recursive: true, force: true });
  };
  t.teardown(stop);
  await start();
  return {
    url,
    dataDir,
    kill,
    stop,
    restart: async ({ keepState = true } = {}) => {
      await kill('SIGKILL');
      if (!keepState) await rm(dataDir, { recursive: true, force: true });
      await start();
    },
  };
}

function basicConfig(dataDir: string, ports: readonly number[]): Record<string, unknown> {
  const [http, server, serfLan] = ports;
  return {
    server: true,
    bootstrap: true,
    datacenter: 'dc1',
    data_dir: dataDir,
    bind_addr: '127.0.0.1',
    client_addr: '127.0.0.1',
    log_level: 'warn',
    disable_update_check: true,
    performance: { raft_multiplier: 1 },
    ports: { http, server, serf_lan: serfLan, serf_wan: -1, dns: -1, grpc: -1, https: -1 },
  };
}

/** Held open together so that they differ; another process could still take one before Consul does, which fails the start. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function waitForLeader(url: string, token: string | null, child: ChildProcess, log: () => string): Promise<void> {
  const deadline = performance.now() + LEADER_DEADLINE_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`consul ended with code ${child.exitCode}: ${log()}`);
    if (await leads(url, token)) return;
    await sleep(50);
  }
  throw new Error(`consul has no leader after ${LEADER_DEADLINE_MS} ms: ${log()}`);
}

/** A leader that already serves its own node with a passing serfHealth: earlier answers would still change by themselves. */
async function leads(url: string, token: string | null): Promise<boolean> {
  try {
    // No connection stays behind: tests count them.
    const headers = { connection: 'close', ...(token === null ? {} : { 'x-consul-token': token }) };
    const answer = await fetch(`${url}/v1/health/state/passing`, { headers, signal: AbortSignal.timeout(1000) });
    if (!answer.ok || answer.headers.get('x-consul-knownleader') !== 'true') return false;
    return ((await answer.json()) as readonly unknown[]).length > 0;
  } catch {
    return false;
  }
}
