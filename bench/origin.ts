// The three upstreams: one nginx worker on the load core, three ports, bodies of fixed sizes. Must not be what limits a run:
// it costs about half of what the cheapest proxy does.

import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, LOAD_CORE, startPinned, waitForPort } from './machine.ts';

export interface Origin {
  readonly ports: readonly number[];
  readonly process: ChildProcess;
}

export async function startOrigin(folder: string): Promise<Origin> {
  const home = join(folder, 'origin');
  mkdirSync(home, { recursive: true });
  for (const [name, bytes] of [
    ['1k', 1024],
    ['64k', 65_536],
    ['1m', 1_048_576],
  ] as const) {
    writeFileSync(join(home, name), 'x'.repeat(bytes));
  }
  const ports = [await freePort(), await freePort(), await freePort()];
  writeFileSync(join(home, 'nginx.conf'), configOf(home, ports));
  const child = startPinned(LOAD_CORE, 'nginx', ['-p', home, '-e', 'stderr', '-c', 'nginx.conf'], home);
  for (const port of ports) await waitForPort(port, 'the origin');
  return { ports, process: child };
}

function configOf(home: string, ports: readonly number[]): string {
  return `
daemon off; master_process off; pid nginx.pid; error_log stderr crit; worker_rlimit_nofile 20000;
events { worker_connections 16000; }
http {
  access_log off; server_tokens off; default_type text/plain; sendfile on; tcp_nopush on;
  keepalive_requests 100000000; keepalive_timeout 600s;
  open_file_cache max=10 inactive=600s;
  client_body_buffer_size 64k;
  client_body_temp_path ${home}/b; proxy_temp_path ${home}/p; fastcgi_temp_path ${home}/f; uwsgi_temp_path ${home}/u; scgi_temp_path ${home}/s;
  server {
    ${ports.map((port) => `listen 127.0.0.1:${port} backlog=4096;`).join(' ')}
    location = /0 { return 200 ""; }
    location = /1k { return 200 "${'x'.repeat(1024)}"; }
    location = /post { return 200 "ok"; }
    location / { root ${home}; }
  }
}
`;
}
