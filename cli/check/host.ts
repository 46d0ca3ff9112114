// This machine: is there room, are there descriptors, may the agent write its state, are its ports free?

import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import type { AgentConfig } from '../../agent/config.ts';
import { type Finding, sectionOf } from './finding.ts';

const OLDEST_NODE = 24;
/** Two connections a request under way; below it a busy sidecar turns connections away. */
const FEWEST_DESCRIPTORS = 4_096;
const LEAST_FREE_BYTES = 100 * 1024 * 1024;

/** What is read of the machine; tests hand in their own. */
export interface HostFacts {
  readonly nodeVersion: string;
  /** Soft limit of open files; null where it cannot be read. */
  readonly maxDescriptors: number | null;
  freeBytesAt(folder: string): number | null;
  canWrite(folder: string): boolean;
  isPortFree(host: string, port: number): Promise<boolean>;
}

export function readHost(): HostFacts {
  return {
    nodeVersion: process.versions.node,
    maxDescriptors: readMaxDescriptors(),
    freeBytesAt(folder) {
      const { bavail, bsize } = statfsSync(existing(folder));
      return bavail * bsize;
    },
    canWrite(folder) {
      try {
        const place = existing(folder);
        accessSync(place, constants.W_OK | constants.X_OK);
        return statSync(place).isDirectory();
      } catch {
        return false; // the answer to the question
      }
    },
    isPortFree,
  };
}

/** @param config        null when there is none to check
 *  @param isAgentRunning its ports are its own then */
export async function checkHost(
  host: HostFacts,
  config: AgentConfig | null,
  isAgentRunning: boolean,
): Promise<Finding[]> {
  const { findings, say } = sectionOf('host');
  const { nodeVersion, maxDescriptors } = host;
  if (Number.parseInt(nodeVersion, 10) >= OLDEST_NODE) say('ok', 'node_version', `Node ${nodeVersion}`);
  else
    say(
      'failure',
      'node_version',
      `Node ${nodeVersion} is older than ${OLDEST_NODE}`,
      'npm ci && npx outrigger …   (brings its own Node)',
    );
  if (maxDescriptors !== null) {
    if (maxDescriptors >= FEWEST_DESCRIPTORS) say('ok', 'open_files', `${maxDescriptors} open files allowed`);
    else {
      const text = `only ${maxDescriptors} open files allowed: connections will be turned away`;
      say('failure', 'open_files', text, 'ulimit -n 65536   (systemd: LimitNOFILE=65536)');
    }
  }
  const folder = config?.stateDir ?? '.';
  if (!host.canWrite(folder)) {
    const text = `the state folder ${folder} cannot be written: a restart without Consul would know nothing`;
    say('failure', 'state_dir', text, `mkdir -p '${folder}' && chown -R "$(id -u)" '${folder}'`);
  }
  const free = host.freeBytesAt(folder);
  if (free !== null) {
    const megabytes = Math.floor(free / 1024 / 1024);
    if (free >= LEAST_FREE_BYTES) say('ok', 'disk_space', `${megabytes} MiB free for state`);
    else
      say(
        'failure',
        'disk_space',
        `only ${megabytes} MiB free for state in ${folder}`,
        `du -xh '${folder}' | sort -h | tail`,
      );
  }
  if (config !== null && !isAgentRunning) await checkPorts(host, config, say);
  return findings;
}

async function checkPorts(
  host: HostFacts,
  config: AgentConfig,
  say: ReturnType<typeof sectionOf>['say'],
): Promise<void> {
  const { outbound, inbound, admin, metrics } = config.listeners;
  const wanted = [
    ['listeners.outbound', outbound],
    ['listeners.inbound', inbound],
    ['listeners.admin', admin],
    ['listeners.metrics', metrics],
    ...config.upstreams.map(({ listen }, index) => [`upstreams[${index}].listen`, listen] as const),
  ] as const;
  for (const [key, address] of wanted) {
    if (address === null || address.port === 0 || (await host.isPortFree(address.host, address.port))) continue;
    const text = `${key}: port ${address.port} is taken by another process`;
    say('failure', 'port_taken', text, `ss -ltnp 'sport = :${address.port}'   (then stop it, or change ${key})`);
  }
}

function isPortFree(host: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen(port, host, () => server.close(() => done(true)));
  });
}

function readMaxDescriptors(): number | null {
  try {
    const value = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return value === undefined ? null : Number(value);
  } catch {
    return null; // not Linux: nothing to say
  }
}

/** The folder itself, or the nearest one above it that exists: the agent makes the rest. */
function existing(folder: string): string {
  let path = resolve(folder);
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  return path;
}
