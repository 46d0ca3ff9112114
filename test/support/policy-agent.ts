// The part of an agent that follows policies, in the test's own process; whatever comes is applied.

import type { MeshEvent, PolicyPush } from '#contract/frames.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { createStateFile } from '../../agent/state-file.ts';
import { createControlPlaneClient } from '../../agent/sync/control-plane-client.ts';
import { createLastGoodPolicies } from '../../agent/sync/last-good-policies.ts';
import { createPolicyStream, type PolicyStream } from '../../agent/sync/policy-stream.ts';
import { type Teardown, temporaryFolder } from './processes.ts';

/** Starts one; its `service` is orders. @param onEvent  told of everything that it says */
export function startPolicyAgent(
  t: Teardown,
  urls: readonly string[],
  agentId: string,
  onEvent: (event: MeshEvent) => void = () => undefined,
): PolicyStream {
  const client = createControlPlaneClient({ urls, token: null, tokenFile: null }, systemRandom);
  const stream = createPolicyStream({
    client,
    agentId,
    life: 'one',
    service: 'orders',
    clock: systemClock,
    random: systemRandom,
    local: null,
    lastGood: createLastGoodPolicies({
      store: createStateFile(`${temporaryFolder(t)}/policies.json`, 'policies'),
      clock: systemClock,
      onEvent: () => undefined,
    }),
    apply: ({ version, nonce }: PolicyPush) => ({
      version,
      nonce,
      verdict: 'ACK',
      appliedVersion: version,
      problems: [],
    }),
    onEvent,
  });
  t.teardown(async () => {
    await stream.stop();
    client.close();
  });
  stream.start();
  return stream;
}
