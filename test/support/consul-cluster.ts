// A Consul cluster of real servers on loopback, each with ports of its own, for tests that take servers away.

import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { freePorts, type Teardown, temporaryFolder, until } from './processes.ts';
import { findConsul } from './real-consul.ts';

export interface ConsulServer {
  readonly url: string;
  /** SIGSTOP and SIGCONT take it out of the cluster and back, which the others cannot tell from a broken network. */
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** With the state that it had. */
  start(): void;
}

export interface ConsulCluster {
  readonly servers: readonly ConsulServer[];
  /** The server that leads now, by what a server that answers says. */
  leader(): Promise<ConsulServer>;
}

const READY_MS = 60_000;
const PORTS_EACH = 3;

/** Starts servers that elect a leader among themselves and waits for it. */
export async function startConsulCluster(t: Teardown, count: number): Promise<ConsulCluster> {
  const binary = findConsul();
  if (binary === null) throw new Error('no consul binary: run scripts/install-consul.sh or set OUTRIGGER_TEST_CONSUL');
  const folder = temporaryFolder(t);
  const ports = await freePorts(count * PORTS_EACH);
  const portsOf = (index: number) => ports.slice(index * PORTS_EACH, (index + 1) * PORTS_EACH);
  const joins = Array.from({ length: count }, (_, index) => `127.0.0.1:${portsOf(index)[2]}`);
  const servers: ConsulServer[] = [];
  const leaderAddresses = new Map<string, ConsulServer>();
  for (let index = 0; index < count; index++) {
    const [http, server, serf] = portsOf(index);
    const file = `${folder}/${index}.json`;
    writeFileSync(
      file,
      JSON.stringify({
        server: true,
        bootstrap_expect: count,
        node_name: `server-${index}`,
        datacenter: 'dc1',
        data_dir: `${folder}/data-${index}`,
        bind_addr: '127.0.0.1',
        client_addr: '127.0.0.1',
        retry_join: joins,
        retry_interval: '1s',
        log_level: 'warn',
        disable_update_check: true,
        performance: { raft_multiplier: 1 },
        ports: { http, server, serf_lan: serf, serf_wan: -1, dns: -1, grpc: -1, https: -1 },
      }),
    );
    const one = serverOf(t, binary, file, `http://127.0.0.1:${http}`);
    one.start();
    servers.push(one);
    leaderAddresses.set(`127.0.0.1:${server}`, one);
  }
  const cluster: ConsulCluster = {
    servers,
    async leader() {
      let found: ConsulServer | undefined;
      await until(async () => {
        for (const { url } of servers) found ??= leaderAddresses.get(await leaderAt(url));
        return found !== undefined;
      }, READY_MS);
      if (found === undefined) throw new Error('no leader');
      return found;
    },
  };
  await cluster.leader();
  // A leader is elected before every server follows it.
  await until(
    async () => (await Promise.all(servers.map(({ url }) => leaderAt(url)))).every((one) => one !== ''),
    READY_MS,
  );
  return cluster;
}

async function leaderAt(url: string): Promise<string> {
  try {
    const answer = await fetch(`${url}/v1/status/leader`, { signal: AbortSignal.timeout(1_000) });
    return answer.ok ? ((await answer.json()) as string) : '';
  } catch {
    return '';
  }
}

function serverOf(t: Teardown, binary: string, file: string, url: string): ConsulServer {
  let child: ChildProcess | null = null;
  const kill = async (): Promise<void> => {
    const running = child;
    if (running === null || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => running.once('exit', () => resolve()));
    running.kill('SIGKILL');
    await ended;
  };
  const onExit = (): void => void child?.kill('SIGKILL');
  process.on('exit', onExit);
  t.teardown(async () => {
    await kill();
    process.off('exit', onExit);
  });
  return {
    url,
    kill,
    signal: (signal) => void child?.kill(signal),
    start: () => {
      child = spawn(binary, ['agent', `-config-file=${file}`], { stdio: 'ignore' });
    },
  };
}
