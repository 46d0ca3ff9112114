// The agent's side of the policy stream, against a control plane whose every word the test chooses.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { MeshEvent, PolicyPush } from '#contract/frames.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { createStateFile } from '../../agent/state-file.ts';
import { createControlPlaneClient } from '../../agent/sync/control-plane-client.ts';
import { createLastGoodPolicies } from '../../agent/sync/last-good-policies.ts';
import { createPolicyStream, type PolicyStream, type PolicyStreamOptions } from '../../agent/sync/policy-stream.ts';
import { type Teardown, temporaryFolder, until } from '../support/processes.ts';
import { ScriptedControlPlane } from '../support/scripted-control-plane.ts';

interface World {
  readonly stream: PolicyStream;
  readonly applied: PolicyPush[];
  readonly events: MeshEvent[];
  reasons(): string[];
}

/** The mesh here refuses every set that holds the document "bad" and throws at "poison". */
function createWorld(
  t: Teardown,
  controlPlane: ScriptedControlPlane | null,
  options: Partial<PolicyStreamOptions> & {
    stateDir?: string;
    tokenFile?: string;
    replica?: ScriptedControlPlane;
  } = {},
): World {
  const applied: PolicyPush[] = [];
  const events: MeshEvent[] = [];
  let appliedVersion = 0;
  const { stateDir = temporaryFolder(t), tokenFile = null, replica, ...rest } = options;
  const urls = [controlPlane, replica ?? null].flatMap((one) => one?.url ?? []);
  // Chance 0: the first replica is the one to begin with.
  const client =
    urls.length === 0 ? null : createControlPlaneClient({ urls, token: 'agent-token', tokenFile }, () => 0);
  const onEvent = (event: MeshEvent): void => void events.push(event);
  const stream = createPolicyStream({
    life: 'first',
    client,
    agentId: 'orders/1',
    service: 'orders',
    clock: systemClock,
    random: systemRandom,
    local: null,
    lastGood: createLastGoodPolicies({
      store: createStateFile(join(stateDir, 'policies.json'), 'policies'),
      clock: systemClock,
      onEvent,
    }),
    apply: (push) => {
      const text = JSON.stringify(push.documents);
      if (text.includes('poison')) throw new Error('boom');
      const { version, nonce } = push;
      if (text.includes('bad')) {
        const problem = { code: 'OTR_RANGE', path: 'ServicePolicy/x: spec', message: 'must be less' } as const;
        return { version, nonce, verdict: 'NACK', appliedVersion, problems: [problem] };
      }
      applied.push(push);
      appliedVersion = version;
      return { version, nonce, verdict: 'ACK', appliedVersion, problems: [] };
    },
    onEvent,
    timing: { reconnect: { baseMs: 20, capMs: 100 }, deadAfterMs: 300, ackTimeoutMs: 300 },
    ...rest,
  });
  t.teardown(async () => {
    await stream.stop();
    client?.close();
  });
  return { stream, applied, events, reasons: () => events.map(({ reason }) => reason) };
}

t.test('a push is applied, acknowledged and kept; the next life begins with it', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const stateDir = temporaryFolder(t);
  const first = createWorld(t, controlPlane, { stateDir });
  first.stream.start();
  await until(() => controlPlane.streams.length === 1, 2_000);
  const [opened] = controlPlane.streams;
  t.equal(opened?.url, '/v1/agents/orders%2F1/stream?service=orders&life=first');
  t.equal(opened?.headers.authorization, 'Bearer agent-token');
  t.equal(opened?.headers.accept, 'text/event-stream');
  t.equal(opened?.headers['last-event-id'], undefined);
  const nonce = controlPlane.push(3, [{ kind: 'x' }]);
  await until(() => controlPlane.acks.length === 1, 2_000);
  t.same(controlPlane.acks, [{ version: 3, nonce, verdict: 'ACK', appliedVersion: 3, problems: [] }]);
  t.same(first.stream.status(), {
    isConnected: true,
    wantedVersion: 3,
    appliedVersion: 3,
    generation: '',
    problems: [],
    source: 'control-plane',
    failure: null,
  });
  controlPlane.hangUp();
  await until(() => controlPlane.streams.length === 2, 2_000);
  t.equal(controlPlane.streams[1]?.headers['last-event-id'], '3', 'resumes after what it has');
  await first.stream.stop();

  controlPlane.streamStatus = 503;
  const second = createWorld(t, controlPlane, { stateDir });
  second.stream.start();
  t.match(second.stream.status(), { appliedVersion: 3, source: 'disk', isConnected: false }, 'before start() returns');
  t.same(second.applied[0]?.documents, [{ kind: 'x' }]);
  t.equal(second.reasons()[0], 'from_disk');
  await until(() => second.reasons().includes('disconnected'), 2_000);
  t.match(second.stream.status().failure, /503: no/);
  t.equal(controlPlane.acks.length, 1, 'what came from the disk is not acknowledged');
});

t.test('a NACK keeps what is in force, says why, and is not kept on disk (P4)', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const stateDir = temporaryFolder(t);
  const world = createWorld(t, controlPlane, { stateDir });
  world.stream.start();
  await until(() => controlPlane.streams.length === 1, 2_000);
  controlPlane.push(1);
  controlPlane.push(2, ['bad']);
  await until(() => controlPlane.acks.some(({ version }) => version === 2), 2_000);
  t.match(controlPlane.acks.at(-1), {
    verdict: 'NACK',
    version: 2,
    appliedVersion: 1,
    problems: [{ code: 'OTR_RANGE' }],
  });
  t.match(world.stream.status(), { wantedVersion: 2, appliedVersion: 1, problems: [{ code: 'OTR_RANGE' }] });
  controlPlane.push(3, ['poison']);
  await until(() => controlPlane.acks.some(({ version }) => version === 3), 2_000);
  t.match(controlPlane.acks.at(-1), { verdict: 'NACK', problems: [{ message: 'could not be applied: boom' }] });
  controlPlane.push(4, { not: 'a list' });
  await until(() => controlPlane.acks.some(({ version }) => version === 4), 2_000);
  t.match(controlPlane.acks.at(-1), { verdict: 'NACK', appliedVersion: 1, problems: [{ path: 'documents' }] });
  for (const text of ['event: policies\ndata: nonsense\n\n', ': beat\n\n', 'event: other\ndata: {}\n\n'])
    controlPlane.write(text);
  controlPlane.push(5);
  await until(() => world.stream.status().appliedVersion === 5, 2_000);
  t.same(world.stream.status().problems, []);
  t.same(world.reasons(), ['policy_nack', 'policy_nack', 'unreadable_push'], 'what the mesh refuses it says itself');
  await world.stream.stop();
  const next = createWorld(t, controlPlane, { stateDir });
  next.stream.start();
  t.equal(next.stream.status().appliedVersion, 5);
});

t.test('repeated, reordered and restored versions: idempotent, ignored, applied with an event (P5, P6)', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const world = createWorld(t, controlPlane);
  world.stream.start();
  await until(() => controlPlane.streams.length === 1, 2_000);
  const first = controlPlane.push(7);
  const second = controlPlane.push(8);
  await until(() => controlPlane.acks.at(-1)?.nonce === second, 2_000);
  const count = controlPlane.acks.length;
  controlPlane.push(8, [], second);
  await until(() => controlPlane.acks.length === count + 1, 2_000);
  t.equal(controlPlane.acks.at(-1)?.nonce, second, 'the verdict again');
  controlPlane.push(7, [], first);
  controlPlane.push(3);
  await until(() => world.stream.status().appliedVersion === 3, 2_000);
  t.same(
    world.applied.map(({ version }) => version),
    [7, 8, 3],
  );
  t.match(world.events, [{ reason: 'version_went_back', text: /from version 8 to 3/ }]);
});

t.test('a stream that falls silent, ends, refuses or floods is opened again (P3)', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const world = createWorld(t, controlPlane, { maxEventLength: 5_000 });
  world.stream.start();
  await until(() => controlPlane.streams.length === 1, 2_000);
  controlPlane.push(1);
  for (let i = 0; i < 6; i++) {
    await sleep(100);
    controlPlane.write(': beat\n\n');
  }
  t.equal(controlPlane.streams.length, 1, 'a comment is a sign of life');
  await until(
    () => controlPlane.streams.length === 2,
    2_000,
    () => 'silence noticed',
  );
  t.match(world.events.at(-2)?.text ?? world.events.at(-1)?.text, /nothing heard/);
  controlPlane.streams[1]?.response.end();
  await until(() => controlPlane.streams.length === 3, 2_000);
  controlPlane.write(`data: ${'x'.repeat(10_000)}`);
  await until(() => controlPlane.streams.length === 4, 2_000);
  controlPlane.streamStatus = 401;
  controlPlane.hangUp();
  await until(() => /401/.test(world.stream.status().failure ?? ''), 2_000);
  t.match(world.stream.status(), { isConnected: false, appliedVersion: 1 });
  controlPlane.streamStatus = 200;
  await until(() => controlPlane.streams.length === 5, 2_000);
  controlPlane.push(2);
  await until(() => world.stream.status().appliedVersion === 2, 2_000);
});

t.test('a verdict is delivered until it is taken, the latest only', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const world = createWorld(t, controlPlane);
  world.stream.start();
  await until(() => controlPlane.streams.length === 1, 2_000);
  controlPlane.postStatus = 500;
  controlPlane.push(1);
  await until(() => controlPlane.acks.length >= 2, 2_000);
  controlPlane.push(2);
  controlPlane.push(3);
  await until(() => controlPlane.acks.some(({ version }) => version === 3), 2_000);
  controlPlane.postStatus = 204;
  const count = controlPlane.acks.length;
  await until(() => controlPlane.acks.length === count + 1, 2_000);
  await sleep(150);
  t.equal(controlPlane.acks.length, count + 1, 'taken once');
  t.equal(controlPlane.acks.at(-1)?.version, 3);
  const versions = controlPlane.acks.map(({ version }) => version);
  t.same(versions, versions.toSorted(), 'an older verdict is never sent after a newer one');
  t.equal(versions.filter((version) => version === 2).length <= 1, true, 'one that was overtaken is not tried again');
});

t.test('local documents serve until the control plane speaks; without one they are the source', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const local = [
    { apiVersion: 'outrigger.dev/v1', kind: 'MeshDefaults', metadata: { name: 'global' }, spec: {} },
  ] as const;
  const world = createWorld(t, controlPlane, { local });
  world.stream.start();
  t.match(world.stream.status(), { source: 'local', appliedVersion: 0 });
  t.same(world.applied[0]?.documents, local);
  await until(() => controlPlane.streams.length === 1, 2_000);
  controlPlane.push(0);
  await until(() => world.stream.status().source === 'control-plane', 2_000);
  const alone = createWorld(t, null, { local });
  alone.stream.start();
  t.match(alone.stream.status(), { source: 'local', isConnected: false, failure: null });
});

t.test(
  'a saved set that this software refuses gives way to the former one, then to the local documents (A11)',
  async (t) => {
    const controlPlane = await new ScriptedControlPlane().start(t);
    controlPlane.streamStatus = 503;
    const stateDir = temporaryFolder(t);
    const file = createStateFile(join(stateDir, 'policies.json'), 'policies');
    await file.save({ version: 4, documents: [] }, 1);
    await file.save({ version: 5, documents: ['bad'] }, 2);
    const world = createWorld(t, controlPlane, { stateDir });
    world.stream.start();
    t.match(world.stream.status(), { source: 'disk', appliedVersion: 4 });
    t.same(world.reasons().slice(0, 2), ['last_good_refused', 'from_disk']);
    for (const name of ['policies.json', 'policies.json.former']) writeFileSync(join(stateDir, name), 'garbage');
    const damaged = createWorld(t, controlPlane, { stateDir, local: [] });
    damaged.stream.start();
    t.equal(damaged.stream.status().source, 'local');
    t.same(damaged.reasons().slice(0, 2), ['state_unusable', 'state_unusable']);
  },
);

t.test('policies of another store are taken whatever their version, kept with its name, and said once', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const stateDir = temporaryFolder(t);
  const world = createWorld(t, controlPlane, { stateDir });
  world.stream.start();
  await until(() => controlPlane.streams.length === 1, 2_000);
  const push = (generation: unknown, version: number, nonce: string): void => {
    const data = JSON.stringify({ version, generation, nonce, documents: [] });
    controlPlane.write(`id: ${String(generation)}-${version}\nevent: policies\ndata: ${data}\n\n`);
  };
  push('aaa', 7, 'n1');
  await until(() => world.stream.status().generation === 'aaa', 2_000);
  push('bbb', 7, 'n2');
  await until(() => world.stream.status().generation === 'bbb', 2_000);
  push('bbb', 8, 'n3');
  await until(() => world.stream.status().appliedVersion === 8, 2_000);
  t.same(
    world.reasons().filter((reason) => /store|went_back/.test(reason)),
    ['store_replaced'],
  );
  for (const hostile of [7, '../x', 'x'.repeat(65), {}]) push(hostile, 9, `h${String(hostile).slice(0, 3)}`);
  await until(() => world.reasons().filter((reason) => reason === 'unreadable_push').length === 4, 2_000);
  t.match(world.stream.status(), { appliedVersion: 8, generation: 'bbb' });
  controlPlane.hangUp();
  await until(() => controlPlane.streams.length === 2, 5_000);
  t.equal(controlPlane.streams[1]?.headers['last-event-id'], 'bbb-8');
  await world.stream.stop();
  const next = createWorld(t, controlPlane, { stateDir });
  next.stream.start();
  t.match(next.stream.status(), { appliedVersion: 8, generation: 'bbb', source: 'disk' });
});

t.test('a control plane that closes every stream after its first words is backed off from', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const world = createWorld(t, controlPlane, {
    timing: { reconnect: { baseMs: 20, capMs: 400 }, deadAfterMs: 2_000, ackTimeoutMs: 300 },
  });
  world.stream.start();
  const startedAt = performance.now();
  let heard = 0;
  while (performance.now() - startedAt < 1_500) {
    if (controlPlane.streams.length > heard) {
      heard = controlPlane.streams.length;
      controlPlane.push(heard);
      await until(() => world.stream.status().appliedVersion === heard, 1_000);
      controlPlane.hangUp();
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.ok(heard >= 3, `${heard} streams`);
  t.ok(heard <= 13, `${heard} streams in 1.5 s, where a back-off that began anew each time would open 50`);
});

t.test(
  'an agent goes to the next replica when its stream ends, verdicts too, and round to the first again',
  async (t) => {
    const first = await new ScriptedControlPlane().start(t);
    const second = await new ScriptedControlPlane().start(t);
    const { stream } = createWorld(t, first, { replica: second });
    stream.start();
    await until(() => first.streams.length === 1, 2_000);
    first.push(1);
    await until(() => first.acks.length === 1, 2_000);
    first.streamStatus = 503;
    first.hangUp();
    await until(() => second.streams.length === 1, 5_000);
    second.push(1);
    await until(() => second.acks.length === 1, 2_000);
    t.equal(first.acks.length, 1, 'what the second sent is answered there');
    t.same(stream.status().isConnected, true);
    second.streamStatus = 503;
    first.streamStatus = 200;
    second.hangUp();
    await until(() => first.streams.length === 2, 5_000);
  },
);
