// Agents in the test's own process that find their upstream through Consul or the control plane, and what their admin API says of it.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MeshEvent } from '#contract/frames.ts';
import { createAgent } from '../../agent/agent.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { openLog } from '../../agent/telemetry/log.ts';
import { freePorts, type Teardown, temporaryFolder } from './processes.ts';

export interface ConsulAgent {
  readonly outbound: number;
  /** Ports of the endpoints of a service that the agent knows, sorted. */
  ports(service: string): Promise<number[]>;
  cluster(service: string): Promise<Cluster | null>;
  events(): Promise<MeshEvent[]>;
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

export interface Cluster {
  readonly service: string;
  readonly source: string;
  readonly ageMs: number | null;
  readonly holding: string | null;
  readonly endpoints: readonly { readonly address: string }[];
}

export async function startConsulAgent(
  t: Teardown,
  options: {
    readonly id: string;
    readonly name?: string;
    readonly upstreams: readonly string[];
    readonly consulUrl: string;
    readonly controlPlaneUrl: string;
    readonly discovery?: 'consul' | 'control-plane';
  },
): Promise<ConsulAgent> {
  const [outbound = 0, admin = 0] = await freePorts(2);
  const folder = temporaryFolder(t);
  const file = join(folder, 'agent.json');
  const { id, name = 'web', upstreams, consulUrl, controlPlaneUrl, discovery = 'control-plane' } = options;
  writeFileSync(
    file,
    JSON.stringify({
      service: { name, id, register: false },
      listeners: { outbound: `127.0.0.1:${outbound}`, admin: `127.0.0.1:${admin}` },
      upstreams: upstreams.map((service) => ({ service })),
      consul: { url: consulUrl },
      controlPlane: { url: controlPlaneUrl },
      discovery,
      stateDir: join(folder, 'state'),
    }),
  );
  const config = loadAgentConfig({ file, env: {}, readFile: (path) => readFileSync(path, 'utf8') });
  if (!config.ok) throw new Error(config.problems.map(({ path, message }) => `${path} ${message}`).join('\n'));
  const log = openLog({ level: 'silent', name: 'test' });
  const agent = createAgent({ config: config.value, localPolicies: null, log, softwareVersion: 'test' });
  const stop = (): Promise<void> => agent.stop(200);
  t.teardown(stop);
  await agent.start();
  const ask = async (path: string): Promise<Response> => fetch(`http://127.0.0.1:${admin}${path}`);
  const cluster = async (service: string): Promise<Cluster | null> => {
    const clusters = (await (await ask('/clusters?format=json')).json()) as Cluster[];
    return clusters.find((one) => one.service === service) ?? null;
  };
  return {
    outbound,
    cluster,
    ports: async (service) =>
      ((await cluster(service))?.endpoints ?? [])
        .map(({ address }) => Number(address.split(':').at(-1)))
        .sort((a, b) => a - b),
    events: async () => ((await (await ask('/events')).json()) as { events: MeshEvent[] }).events,
    metrics: async () => (await ask('/metrics')).text(),
    stop,
  };
}
