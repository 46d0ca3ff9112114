// The smallest mesh that shows everything: a control plane with its registry, two instances of payments, and web, which calls them and
// ejects at the first failure.

import { type RunningProcess, type Teardown, until } from './processes.ts';
import { type AgentProcess, call, type Instance, startAgent, startControlPlane, startInstance } from './world.ts';

export interface SmallMesh {
  readonly controlPlane: { readonly url: string; readonly process: RunningProcess };
  readonly web: AgentProcess;
  /** payments-1 and payments-2. */
  readonly instances: readonly [Instance, Instance];
  /** Admin addresses of all agents, web's last. */
  readonly agents: readonly string[];
}

export async function startSmallMesh(t: Teardown): Promise<SmallMesh> {
  const controlPlane = await startControlPlane(t, { registry: true });
  const world = { t, consulUrl: controlPlane.registryUrl, controlPlaneUrl: controlPlane.url };
  const first = await startInstance(world, 'payments', 'payments-1');
  const second = await startInstance(world, 'payments', 'payments-2');
  const web = await startAgent(world, { service: 'web', id: 'web-1', appPort: null, upstreams: ['payments'] });
  const document = {
    apiVersion: 'outrigger.dev/v1',
    kind: 'MeshDefaults',
    metadata: { name: 'global' },
    spec: {
      retries: { attempts: 2, on: ['gatewayError', 'connectFailure', 'reset'] },
      outlierDetection: { consecutive5xxErrors: 1, consecutiveGatewayErrors: 1, consecutiveLocalOriginFailures: 1 },
    },
  };
  const answer = await call(`${controlPlane.url}/v1/policies/MeshDefaults/global`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(document),
  });
  if (answer.status >= 300) throw new Error(answer.body);
  const agents = [first.agent, second.agent, web].map(({ admin }) => `127.0.0.1:${admin}`);
  await until(
    async () => (await call(`http://${agents.at(-1)}/metrics`)).body.includes('outrigger_policy_version_applied 1'),
    10_000,
    () => 'the policy in force at web',
  );
  return { controlPlane, web, instances: [first, second], agents };
}
