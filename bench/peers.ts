// The proxies that are compared: how each is configured and started. All listen on loopback, run on the proxy core with one
// thread of traffic, keep connections alive on both sides, balance over the three origins and set one request header.

import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, PROXY_CORE, startPinned, versionOf, waitForPort } from './machine.ts';
import { agentConfig, agentPolicies, envoyConfig, haproxyConfig, nginxConfig } from './peer-configs.ts';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** Optional programs, see docs/benchmarks.md; not in git. */
const TOOLS = here('.tools/');
const ENVOY = join(TOOLS, 'venv/bin/envoy');

export interface Peer {
  readonly name: string;
  /** Null: not installed here. */
  readonly version: string | null;
  command(home: string, port: number, origins: readonly number[]): Promise<readonly string[]>;
}

export interface RunningPeer {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  readonly process: ChildProcess;
}

/** @param against  folder of another checkout of this project, whose agent runs too; null for none */
export function allPeers(agentNodeArgs: readonly string[], against: string | null): readonly Peer[] {
  const own = agentPeer('outrigger', here('../'), agentNodeArgs);
  const other = against === null ? [] : [agentPeer('other outrigger', resolve(against), agentNodeArgs)];
  return [own, ...other, nginxPeer(), haproxyPeer(), envoyPeer(), httpProxyPeer(), fastifyPeer()];
}

export async function startPeer(peer: Peer, folder: string, origins: readonly number[]): Promise<RunningPeer> {
  const home = join(folder, peer.name.replaceAll(/[^a-z]/g, ''));
  mkdirSync(home, { recursive: true });
  const port = await freePort();
  const [command = '', ...args] = await peer.command(home, port, origins);
  const child = startPinned(PROXY_CORE, command, args, home);
  await waitForPort(port, peer.name);
  return { name: peer.name, port, pid: child.pid ?? 0, process: child };
}

function agentPeer(name: string, root: string, nodeArgs: readonly string[]): Peer {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    name,
    version,
    command: async (home, port, origins) => {
      writeFileSync(join(home, 'policies.yaml'), agentPolicies());
      writeFileSync(join(home, 'agent.yaml'), agentConfig(port, await freePort(), origins));
      return [process.execPath, ...nodeArgs, join(root, 'bin/outrigger.mjs'), 'agent', '--config', 'agent.yaml'];
    },
  };
}

function nginxPeer(): Peer {
  return {
    name: 'nginx',
    version: versionOf('nginx', ['-v'])?.replace(/^.*nginx\//, '') ?? null,
    command: async (home, port, origins) => {
      writeFileSync(join(home, 'nginx.conf'), nginxConfig(home, port, origins));
      return ['nginx', '-p', home, '-e', 'stderr', '-c', 'nginx.conf'];
    },
  };
}

function haproxyPeer(): Peer {
  return {
    name: 'haproxy',
    version: versionOf('haproxy', ['-v'])?.replace(/^HAProxy version (\S+).*$/, '$1') ?? null,
    command: async (home, port, origins) => {
      writeFileSync(join(home, 'haproxy.cfg'), haproxyConfig(port, origins));
      return ['haproxy', '-db', '-f', 'haproxy.cfg'];
    },
  };
}

function envoyPeer(): Peer {
  const text = existsSync(ENVOY) ? versionOf(ENVOY, ['--version']) : null;
  return {
    name: 'envoy',
    version: text === null ? null : (/\d+\.\d+\.\d+/.exec(text)?.[0] ?? text),
    command: async (home, port, origins) => {
      writeFileSync(join(home, 'envoy.json'), JSON.stringify(envoyConfig(port, origins)));
      return [ENVOY, '-c', 'envoy.json', '--concurrency', '1', '--disable-hot-restart', '-l', 'off'];
    },
  };
}

function httpProxyPeer(): Peer {
  const file = join(TOOLS, 'node_modules/http-proxy/package.json');
  return {
    name: 'http-proxy',
    version: existsSync(file) ? String(createRequire(file)(file).version) : null,
    command: async (_, port, origins) => [
      process.execPath,
      here('peers/http-proxy.ts'),
      file,
      String(port),
      ...origins.map(String),
    ],
  };
}

function fastifyPeer(): Peer {
  const file = here('../node_modules/@fastify/http-proxy/package.json');
  return {
    name: '@fastify/http-proxy',
    version: (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version,
    command: async (_, port, origins) => [
      process.execPath,
      here('peers/fastify-http-proxy.ts'),
      String(port),
      ...origins.map(String),
    ],
  };
}
