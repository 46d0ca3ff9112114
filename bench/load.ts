// The closed-loop load: wrk with one thread on the load core. Tells how many requests it had answered and what went wrong.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LOAD_CORE } from './machine.ts';

export interface Workload {
  readonly name: string;
  readonly path: string;
  readonly connections: number;
  readonly postBytes?: number;
  /** Every request on a connection of its own. */
  readonly isFresh?: boolean;
}

export const WORKLOADS: readonly Workload[] = [
  { name: '0 B', path: '/0', connections: 64 },
  { name: '1 KiB', path: '/1k', connections: 64 },
  { name: '64 KiB', path: '/64k', connections: 32 },
  { name: '1 MiB', path: '/1m', connections: 16 },
  { name: 'POST 16 KiB', path: '/post', connections: 64, postBytes: 16_384 },
  { name: 'new connection', path: '/1k', connections: 32, isFresh: true },
];

export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  /** Answers outside 2xx/3xx, and sockets that failed. */
  readonly errors: number;
}

/** Keeps `workload.connections` requests in flight for `seconds`. */
export async function runWrk(
  folder: string,
  port: number,
  workload: Workload,
  seconds: number,
  host: string,
): Promise<LoadResult> {
  const args = ['-c', String(LOAD_CORE), 'wrk', '-t1', `-c${workload.connections}`, `-d${seconds}s`];
  args.push('-H', `Host: ${host}`);
  if (workload.isFresh === true) args.push('-H', 'Connection: close');
  if (workload.postBytes !== undefined) {
    const script = join(folder, 'post.lua');
    writeFileSync(script, `wrk.method = "POST"\nwrk.body = string.rep("x", ${workload.postBytes})\n`);
    args.push('-s', script);
  }
  args.push(`http://127.0.0.1:${port}${workload.path}`);
  const { stdout } = await promisify(execFile)('taskset', args, { encoding: 'utf8' });
  const [, requests = '0', duration = '1'] = /(\d+) requests in ([\d.]+)s/.exec(stdout) ?? [];
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0);
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1) ?? [];
  const failed = sockets.reduce((sum, count) => sum + Number(count), 0);
  return { requests: Number(requests), perSecond: Number(requests) / Number(duration), errors: refused + failed };
}
