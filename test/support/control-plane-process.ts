// A control plane as a process of its own, for tests that kill it.

import { writeFileSync } from 'node:fs';
import { ROOT, type RunningProcess, startNode, type Teardown } from './processes.ts';

export interface ControlPlaneProcess {
  readonly url: string;
  readonly process: RunningProcess;
}

/** Starts one on a free port (or the one given) and settles once it serves. */
export async function startControlPlaneProcess(
  t: Teardown,
  {
    folder,
    store,
    port = 0,
    discovery,
    registry = false,
  }: { folder: string; store: object; port?: number; discovery?: object; registry?: object | false },
): Promise<ControlPlaneProcess> {
  const file = `${folder}/control-plane.json`;
  writeFileSync(file, JSON.stringify({ listen: `127.0.0.1:${port}`, store, registry, discovery }));
  const process = startNode(t, [`${ROOT}control-plane/main.ts`, file]);
  await process.waitFor('control plane is ready', 40_000);
  const line = process
    .output()
    .split('\n')
    .find((text) => text.includes('control plane is ready'));
  return { url: String(JSON.parse(line ?? '{}').url), process };
}
