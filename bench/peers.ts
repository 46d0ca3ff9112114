// The proxies that are compared: how each is configured and started. All listen on loopback, run on the proxy core with one
// thread of traffic, keep connections alive on both sides, balance over the three origins and set one request header.

import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, PROXY_CORE, startPinned, versionOf, waitForPort } from './machine.ts';
import * as forSpeed from './peer-configs.ts';

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

/** Configuration texts of the proxies that users would otherwise choose. */
export interface PeerConfigs {
  agentConfig(port: number, adminPort: number, origins: readonly number[]): string;
  agentPolicies(): string;
  nginxConfig(home: string, port: number, origins: readonly number[]): string;
  haproxyConfig(port: number, origins: readonly number[]): string;
  envoyConfig(port: number, origins: readonly number[]): unknown;
}

export interface RunningPeer {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  readonly process: ChildProcess;
}

/** @param against  folder of another checkout of this project, whose agent runs too; null for none */
export function allPeers(agentNodeArgs: readonly string[], against: string | null): readonly Peer[] {
  const own = agentPeer('outrigger', here('../'), agentNodeArgs, forSpeed);
  const other = against === null ? [] : [agentPeer('other outrigger', resolve(against), agentNodeArgs, forSpeed)];
  return [own, ...other, ...rivals(forSpeed), httpProxyPeer(), fastifyPeer()];
}

/** This agent, nginx, HAProxy and Envoy, set up by others' texts. */
export function meshPeers(configs: PeerConfigs): readonly Peer[] {
  return [agentPeer('outrigger', here('../'), [], configs), ...rivals(configs)];
}

function rivals(configs: PeerConfigs): readonly Peer[] {
  return [nginxPeer(configs), haproxyPeer(configs), envoyPeer(configs)];
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

function agentPeer(name: string, root: string, nodeArgs: readonly string[], configs: PeerConfigs): Peer {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    name,
    version,
    command: async (home, port, origins) => {
      writeFileSync(join(home, 'policies.yaml'), configs.agentPolicies());
      writeFileSync(join(home, 'agent.yaml'), configs.agentConfig(port, await freePort(), origins));
      return [process.execPath, ...nodeArgs, join(root, 'bin/outrigger.mjs'), 'agent', '--config', 'agent.yaml'];
    },
  };
}

function nginxPeer({ nginxConfig }: PeerConfigs): Peer {
  return {
    name: 'nginx',
    version: versionOf('nginx', ['-v'])?.replace(/^.*nginx\//, '') ?? null,
    command: async (home, port, origins) => {
      writeFileSync(join(home, 'nginx.conf'), nginxConfig(home, port, origins));
      return ['nginx', '-p', home, '-e', 'stderr', '-c', 'nginx.conf'];
    },
  };
}

function haproxyPeer({ haproxyConfig }: PeerConfigs): Peer {
  return {
    name: 'haproxy',
    version: versionOf('haproxy', ['-v'])?.replace(/^HAProxy version (\S+).*$/, '$1') ?? null,
    command: async (home, port, origins) => {
      writeFileSync(join(home, 'haproxy.cfg'), haproxyConfig(port, origins));
      return ['haproxy', '-db', '-f', 'haproxy.cfg'];
    },
  };
}

function envoyPeer({ envoyConfig }: PeerConfigs): Peer {
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
