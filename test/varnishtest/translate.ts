// One of HAProxy's reg-tests → the same clients and servers with our agent between them. The haproxy command is taken out
// and returned as agent configuration; what checks HAProxy's own log or command line goes too, for it is not traffic.

import { type Frontend, readHaproxyConfig } from './haproxy-config.ts';
import { splitCommands } from './vtc.ts';

export interface Translation {
  readonly script: string;
  readonly upstreams: readonly {
    readonly service: string;
    readonly port: number;
    readonly endpoints: readonly number[];
  }[];
  /** Why the file says nothing about us as it stands; empty: it should pass. */
  readonly obstacles: readonly string[];
}

const NOBODY = 1;
const TRAFFIC = new Set(['server', 'client', 'barrier', 'delay', 'shell', 'setenv']);
const DROPPED = new Set(['feature', 'syslog', 'varnishtest', 'vtest', 'haproxy', '#REQUIRE_VERSION']);

/**
 * @param ports    gives a free port at each call
 * @param clients  only these run; null: all
 */
export function translate(text: string, ports: () => number, clients: readonly string[] | null): Translation {
  const commands = splitCommands(text);
  const frontends: Frontend[] = [];
  const obstacles = new Set<string>();
  const macros = new Map<string, string>();
  const listening = new Map<string, number>();
  for (const command of commands.filter(({ word }) => word === 'haproxy')) {
    const conf = /-conf(?:\+vcl)?\s*\{([\s\S]*)\}/.exec(command.text)?.[1];
    if (conf === undefined) continue;
    const config = readHaproxyConfig(conf);
    for (const word of config.unknown) obstacles.add(word);
    for (const frontend of config.frontends) {
      frontends.push(frontend);
      for (const bound of frontend.binds) {
        const port = ports();
        listening.set(bound, port);
        macros.set(`${command.name}_${bound}_sock`, `127.0.0.1:${port}`);
        macros.set(`${command.name}_${bound}_addr`, '127.0.0.1');
        macros.set(`${command.name}_${bound}_port`, String(port));
      }
    }
  }
  if (!frontends.some(({ servers, binds }) => servers.length > 0 && binds.length > 0))
    obstacles.add('no frontend with a server');
  const lines: string[] = ['varnishtest "translated"'];
  for (const { word, name, text: source } of commands) {
    if (DROPPED.has(word)) continue;
    if (!TRAFFIC.has(word)) obstacles.add(word);
    if (word === 'client' && clients !== null && !clients.includes(name)) continue;
    let line = source;
    if (word === 'server' && !macros.has(`${name}_port`)) {
      const port = ports();
      macros
        .set(`${name}_addr`, '127.0.0.1')
        .set(`${name}_port`, String(port))
        .set(`${name}_sock`, `127.0.0.1:${port}`);
      line = line.replace(/^server\s+\S+/, `server ${name} -listen "127.0.0.1:${port}"`);
    }
    lines.push(line);
  }
  const filled = (source: string) => source.replace(/\$\{(\w+)\}/g, (all, macro: string) => macros.get(macro) ?? all);
  const upstreams = frontends
    .filter(({ servers }) => servers.length > 0)
    .flatMap((frontend) =>
      frontend.binds.map((bound) => ({
        service: `fe-${bound.toLowerCase().replace(/_/g, '-')}`,
        port: listening.get(bound) ?? 0,
        endpoints: frontend.servers.map((server) => readPort(filled(server))),
      })),
    );
  return { script: `${filled(lines.join('\n'))}\n`, upstreams, obstacles: [...obstacles] };
}

/** Port of an address of ours; a port where nobody listens for any other address. */
function readPort(address: string): number {
  const port = Number(/^127\.0\.0\.1:(\d+)/.exec(address)?.[1] ?? 0);
  return port > 0 ? port : NOBODY;
}
