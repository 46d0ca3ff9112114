// Where a running demo says how to reach it, for `outrigger break` in another window. One file in the user's temporary folder; a
// demo that died leaves it behind, which the process number tells.

import { lstatSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { consulUrlOf, type Topology } from './topology.ts';

export interface RunningDemo {
  readonly pid: number;
  readonly faultPort: number;
  readonly controlPlanePort: number;
  /** Of the embedded registry, or of the Consul that the demo was given. */
  readonly consulUrl: string;
  readonly instances: readonly string[];
  /** Admin port by instance. */
  readonly adminPorts: Readonly<Record<string, number>>;
}

/** Null when none runs. */
export function readRunningDemo(): RunningDemo | null {
  try {
    // The folder is everybody's: what somebody else put there is not believed.
    const found = lstatSync(fileOf());
    if (!found.isFile() || found.uid !== userInfo().uid) return null;
    const demo = JSON.parse(readFileSync(fileOf(), 'utf8')) as RunningDemo; // written below
    process.kill(demo.pid, 0);
    return demo;
  } catch {
    return null; // no file, no process by that number, or a file that is being written: none that could be used
  }
}

/** @returns takes the note away, unless another demo has written its own since */
export function noteRunningDemo(topology: Topology): () => void {
  const demo: RunningDemo = {
    pid: process.pid,
    faultPort: topology.faultPort,
    controlPlanePort: topology.controlPlanePort,
    consulUrl: consulUrlOf(topology),
    instances: topology.instances.map(({ id }) => id),
    adminPorts: Object.fromEntries(topology.instances.map(({ id, ports }) => [id, ports.admin])),
  };
  rmSync(fileOf(), { force: true });
  writeFileSync(fileOf(), JSON.stringify(demo), { mode: 0o600, flag: 'wx' });
  return () => {
    if (readRunningDemo()?.pid === process.pid) rmSync(fileOf(), { force: true });
  };
}

function fileOf(): string {
  return join(tmpdir(), `outrigger-demo-${userInfo().uid}.json`);
}

/** Commands that show something while the demo runs; they find it by its note. */
export const WHAT_TO_TRY: readonly string[] = [
  'try in another window of this folder:',
  '  npx outrigger endpoints payments              who serves, who is out and why',
  '  npx outrigger break payments-2 slow           or 500, blackhole, reset, crash; ok mends it',
  '  npx outrigger stat --watch                    rates and latencies of each edge',
  '  npx outrigger tap --service payments -n 5     requests as they end',
  '  npx outrigger why                             the last decisions; with an ID, all about one',
  '  npx outrigger explain route GET http://payments/ --from orders',
];
