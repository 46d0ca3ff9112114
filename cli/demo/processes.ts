// Starts and ends the demo's processes: one control plane, one for all sample apps, one agent for each instance.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Child, describeExit, siblingScript, startNode } from '../children.ts';
import { CommandFailure, EXIT } from '../terminal.ts';
import {
  agentConfig,
  appOptions,
  controlPlaneConfig,
  controlPlaneUrl,
  type Instance,
  type Topology,
} from './topology.ts';

const STOP_DEADLINE_MS = 4_000;
const POLL_MS = 40;
const PROBE_TIMEOUT_MS = 1_000;
const READY_DEADLINE_MS = 30_000;

export interface DemoProcesses {
  readonly children: readonly Child[];
  /** Rejects when a child ends that nobody stopped, with its last lines; never resolves. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
}

/** @param folder  an empty folder for configuration and state; the caller removes it */
export function startProcesses(topology: Topology, folder: string): DemoProcesses {
  const command = siblingScript(import.meta.url, '../main');
  const apps = siblingScript(import.meta.url, '../../examples/services/apps');
  const write = (name: string, config: object): string => {
    mkdirSync(join(folder, name), { recursive: true });
    const file = join(folder, name, 'config.json');
    writeFileSync(file, JSON.stringify(config, null, 2));
    return file;
  };
  const controlPlane = write('control-plane', controlPlaneConfig(topology, join(folder, 'control-plane')));
  // The registry first: everything else asks it. All of them start at once all the same, and wait for each other.
  const children = [
    startNode('control-plane', command, ['control-plane', '--config', controlPlane]),
    startNode('apps', apps, [
      '--apps',
      JSON.stringify(appOptions(topology)),
      '--control',
      `127.0.0.1:${topology.faultPort}`,
    ]),
    ...topology.instances.map((instance) =>
      startNode(`agent ${instance.id}`, command, [
        'agent',
        '--config',
        write(instance.id, agentConfig(topology, instance, join(folder, instance.id))),
      ]),
    ),
  ];
  let isStopping = false;
  const failed = new Promise<never>((_, reject) => {
    for (const child of children) {
      void child.exited.then((exit) => {
        if (isStopping) return;
        const lines = child.lastLines().map((line) => `\n       ${line}`);
        const said = lines.length === 0 ? '; it said nothing' : `; its last lines:${lines.join('')}`;
        reject(new CommandFailure(`${child.name} ${describeExit(exit)}${said}`, { exitCode: EXIT.problemFound }));
      });
    }
  });
  failed.catch(() => {}); // whoever races against it sees the rejection; between two races nobody needs to
  return {
    children,
    failed,
    async stop() {
      isStopping = true;
      // The registry goes last: agents leave it before they end.
      const [controlPlane, ...others] = children;
      await Promise.all(others.map((child) => child.stop(STOP_DEADLINE_MS)));
      await controlPlane?.stop(STOP_DEADLINE_MS);
    },
  };
}

/** Resolves when the control plane answers. */
export function untilControlPlaneReady(topology: Topology, signal: AbortSignal): Promise<void> {
  return untilOk(`${controlPlaneUrl(topology)}/ready`, 'the control plane', signal);
}

/**
 * Resolves when every agent is ready and knows all endpoints of what it calls, and a request has gone through the whole chain.
 * Earlier requests would fail for want of endpoints, and the mesh would begin with a service that looks bad.
 */
export async function untilMeshReady(topology: Topology, signal: AbortSignal): Promise<void> {
  await Promise.all(
    topology.instances.map(({ id, ports }) => untilOk(`http://127.0.0.1:${ports.admin}/ready`, `agent ${id}`, signal)),
  );
  await Promise.all(topology.instances.map((instance) => untilCalledIsKnown(topology, instance, signal)));
  const entry = topology.instances[0];
  if (entry !== undefined) await untilOk(`http://127.0.0.1:${entry.ports.inbound}/`, 'the chain of services', signal);
}

async function untilCalledIsKnown(
  topology: Topology,
  { id, calls, ports }: Instance,
  signal: AbortSignal,
): Promise<void> {
  if (calls === null) return;
  const wanted = topology.instances.filter(({ service }) => service === calls).length;
  await untilOk(`http://127.0.0.1:${ports.admin}/clusters?format=json`, `what agent ${id} knows`, signal, (text) => {
    const clusters = JSON.parse(text) as { service: string; endpoints: unknown[] }[]; // the same version on both sides
    return clusters.find(({ service }) => service === calls)?.endpoints.length === wanted;
  });
}

/** Tells a sample app how to behave. */
export async function setFault(topology: Topology, instance: string, mode: string): Promise<void> {
  const url = `http://127.0.0.1:${topology.faultPort}/${instance}/${mode}`;
  const answer = await fetch(url, { method: 'POST', signal: AbortSignal.timeout(PROBE_TIMEOUT_MS * 5) });
  if (!answer.ok) throw new CommandFailure((await answer.text()).trim(), { exitCode: EXIT.problemFound });
}

async function untilOk(
  url: string,
  what: string,
  signal: AbortSignal,
  isEnough: (text: string) => boolean = () => true,
): Promise<void> {
  const giveUpAt = performance.now() + READY_DEADLINE_MS;
  let last = 'it refused the connection';
  while (performance.now() < giveUpAt) {
    signal.throwIfAborted();
    try {
      const answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]) });
      const text = await answer.text();
      if (answer.ok && isEnough(text)) return;
      last = `it answered ${answer.status} ${text.trim().slice(0, 300)}`;
    } catch {
      // Not listening yet; the deadline above tells if it never does.
    }
    await sleep(POLL_MS, undefined, { signal });
  }
  throw new CommandFailure(`${what} was not ready within ${READY_DEADLINE_MS / 1000} s: ${last} (${url})`, {
    exitCode: EXIT.problemFound,
  });
}
