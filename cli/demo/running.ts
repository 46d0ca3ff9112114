// Where a running demo says how to reach it, for `outrigger break` in another window. One file in the user's temporary folder; a
// demo that died leaves it behind, which the process number tells.

import { lstatSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Topology } from './topology.ts';

export interface RunningDemo {
  readonly pid: number;
  readonly faultPort: number;
  readonly controlPlanePort: number;
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

/** Commands that show something while the demo runs, ready to be copied. */
export function whatToTry(topology: Topology): string[] {
  const url = `--control-plane http://127.0.0.1:${topology.controlPlanePort}`;
  const orders = topology.instances.find(({ id }) => id === 'orders-1');
  return [
    'try in another window:',
    '  npx outrigger break payments-2 slow',
    `  npx outrigger stat ${url}`,
    `  npx outrigger endpoints payments --watch ${url}`,
    `  npx outrigger tap --service payments -n 5 --admin http://127.0.0.1:${orders?.ports.admin}`,
    `  npx outrigger explain route GET http://payments/ --from orders ${url}`,
  ];
}
