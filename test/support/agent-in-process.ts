// A whole agent in the test's own process, without Consul and control plane: static endpoints, local policies, real sockets.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MeshEvent } from '#contract/frames.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { createAgent } from '../../agent/agent.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { openLog } from '../../agent/telemetry/log.ts';
import { freePorts, type Teardown, temporaryFolder } from './processes.ts';

export interface AgentInProcess {
  readonly outbound: number;
  readonly admin: number;
  events(): Promise<MeshEvent[]>;
  metrics(): Promise<string>;
}

/** Starts one whose upstream `service` has an endpoint on each loopback port and is treated as `spec` says. */
export async function startAgentInProcess(
  t: Teardown,
  service: string,
  ports: readonly number[],
  spec: object,
  controlPlane: string | null = null,
): Promise<AgentInProcess> {
  const [outbound = 0, admin = 0] = await freePorts(2);
  const folder = temporaryFolder(t);
  const file = join(folder, 'agent.json');
  writeFileSync(
    file,
    JSON.stringify({
      service: { name: 'web', id: 'web-1', register: false },
      listeners: { outbound: `127.0.0.1:${outbound}`, admin: `127.0.0.1:${admin}` },
      upstreams: [{ service, endpoints: ports.map((port) => `127.0.0.1:${port}`) }],
      consul: false,
      controlPlane: controlPlane === null ? false : { url: controlPlane },
      stateDir: join(folder, 'state'),
    }),
  );
  const config = loadAgentConfig({ file, env: {}, readFile: (path) => readFileSync(path, 'utf8') });
  if (!config.ok) throw new Error(config.problems.map(({ path, message }) => `${path} ${message}`).join('\n'));
  const policy = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name: service }, spec };
  const log = openLog({ level: 'silent', name: 'test' });
  const agent = createAgent({
    config: config.value,
    localPolicies: [policy as PolicyDocument],
    log,
    softwareVersion: 'test',
  });
  t.teardown(() => agent.stop(500));
  await agent.start();
  const ask = async (path: string): Promise<Response> => fetch(`http://127.0.0.1:${admin}${path}`);
  return {
    outbound,
    admin,
    events: async () => ((await (await ask('/events')).json()) as { events: MeshEvent[] }).events,
    metrics: async () => (await ask('/metrics')).text(),
  };
}
