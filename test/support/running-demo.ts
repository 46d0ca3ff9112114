// `outrigger demo` as a person starts it, for tests that look at a whole mesh: everything in processes of its own, on free ports.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningDemo } from '../../cli/demo/running.ts';
import { startNode, type Teardown } from './processes.ts';

const READY_MS = 60_000;

export interface Demo {
  readonly url: string;
  /** What the demo noted of itself for `outrigger break`. */
  readonly note: RunningDemo;
  /** The address of an agent's admin API. */
  adminUrl(instance: string): string;
  /** Its own temporary folder, so that `outrigger break` with this in the environment finds this demo and no other. */
  readonly env: Readonly<Record<'TMPDIR', string>>;
  setFault(instance: string, mode: string): Promise<void>;
}

/** @param args  of `outrigger demo` */
export async function startDemo(t: Teardown, ...args: string[]): Promise<Demo> {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-a-demo-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const env = { TMPDIR: folder };
  const demo = startNode(t, ['cli/main.ts', 'demo', ...args], env);
  await demo.waitFor('mesh ready', READY_MS);
  const name = readdirSync(folder).find((one) => /^outrigger-demo-\d+\.json$/.test(one)) ?? '';
  const note = JSON.parse(readFileSync(join(folder, name), 'utf8')) as RunningDemo; // written by the demo just started
  return {
    url: `http://127.0.0.1:${note.controlPlanePort}`,
    note,
    env,
    adminUrl: (instance) => `http://127.0.0.1:${note.adminPorts[instance]}`,
    async setFault(instance, mode) {
      const answer = await fetch(`http://127.0.0.1:${note.faultPort}/${instance}/${mode}`, { method: 'POST' });
      if (!answer.ok) throw new Error(await answer.text());
    },
  };
}

/** As `/v1/services/NAME` has it over all agents; undefined while nobody knows it. */
export async function findEndpoint(demo: Demo, instance: string): Promise<SeenEndpoint | undefined> {
  const answer = await fetch(`${demo.url}/v1/services/${instance.replace(/-\d+$/, '')}`);
  if (answer.status === 404) return undefined;
  const { endpoints } = (await answer.json()) as { endpoints: readonly SeenEndpoint[] }; // the contract of the API
  return endpoints.find(({ id }) => id.includes(`@${instance}@`));
}

/** Waits until an endpoint is known and as wanted; returns it. */
export async function untilEndpoint(
  demo: Demo,
  instance: string,
  isWanted: (endpoint: SeenEndpoint) => boolean,
  deadlineMs: number,
): Promise<SeenEndpoint> {
  const giveUpAt = performance.now() + deadlineMs;
  for (;;) {
    const found = await findEndpoint(demo, instance);
    if (found !== undefined && isWanted(found)) return found;
    if (performance.now() > giveUpAt) throw new Error(`${instance} is not as expected: ${JSON.stringify(found)}`);
    await sleep(100);
  }
}

export interface SeenEndpoint {
  readonly id: string;
  readonly address: string;
  readonly state: string;
  readonly reason: string | null;
  readonly attempts: number;
  readonly failures: number;
  readonly observers: readonly { readonly agentId: string; readonly state: string }[];
}
