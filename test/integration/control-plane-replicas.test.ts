// Three control planes over three Consul servers, with writers at all of them and agents at any of them, while the Consul leader
// is killed, a control plane is killed, another leader stands still, and one control plane is cut off from Consul: nothing
// acknowledged is lost and the agents converge.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { PolicyPush } from '#contract/frames.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { createStateFile } from '../../agent/state-file.ts';
import { createControlPlaneClient } from '../../agent/sync/control-plane-client.ts';
import { createLastGoodPolicies } from '../../agent/sync/last-good-policies.ts';
import { createPolicyStream, type PolicyStream } from '../../agent/sync/policy-stream.ts';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { createConsulStore } from '../../control-plane/store/consul-store.ts';
import { type Ack, faultsOf, writeOnce } from '../support/acknowledged-writes.ts';
import { startConsulCluster } from '../support/consul-cluster.ts';
import { ask } from '../support/control-plane-client.ts';
import { type ControlPlaneProcess, startControlPlaneProcess } from '../support/control-plane-process.ts';
import { startGate } from '../support/gate.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail } from '../support/real-consul.ts';

const WRITERS = 3;
const AGENTS = 20;
const ROUNDS = 4;
const CONVERGED_WITHIN_MS = 10_000;

/** The part of an agent that follows policies; whatever comes is applied. */
function startAgent(t: Test, urls: readonly string[], index: number): PolicyStream {
  const client = createControlPlaneClient({ urls, token: null, tokenFile: null }, systemRandom);
  const stream = createPolicyStream({
    client,
    agentId: `orders-${index}`,
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
    onEvent: () => undefined,
  });
  t.teardown(async () => {
    await stream.stop();
    client.close();
  });
  stream.start();
  return stream;
}

/** Writes through the replicas in turn, the next one after every failure, until told to stop. */
async function keepWriting(urls: readonly string[], writer: number, acks: Ack[], signal: AbortSignal): Promise<void> {
  let turn = writer;
  for (let count = 0; !signal.aborted; count++) {
    const wrote = count * WRITERS + writer + 1;
    const url = urls[turn % urls.length] ?? '';
    const answer = await writeOnce(url, writer, count, wrote).catch(() => null);
    if (answer !== null && typeof answer !== 'number') acks.push(answer);
    else turn++;
    await sleep(20);
  }
}

t.test('three replicas on three servers', { timeout: 240_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const cluster = await startConsulCluster(t, 3);
  // The third control plane reaches its server through a wire that can be cut.
  const gate = await startGate(t, cluster.servers[2]?.url ?? '');
  const ports = await freePorts(3);
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  const start = (index: number): Promise<ControlPlaneProcess> => {
    const consul = { url: index === 2 ? gate.url : cluster.servers[index]?.url };
    return startControlPlaneProcess(t, { folder: temporaryFolder(t), store: { consul }, port: ports[index] ?? 0 });
  };
  const replicas = await Promise.all([0, 1, 2].map(start));
  const agents = Array.from({ length: AGENTS }, (_, index) => startAgent(t, urls, index));

  // Of three writers at three replicas that hold the same revision one wins.
  const body = (attempts: number) => ({
    apiVersion: 'outrigger.dev/v1',
    kind: 'ServicePolicy',
    metadata: { name: 'contested' },
    spec: { retries: { attempts } },
  });
  const at = '/v1/policies/ServicePolicy/contested';
  t.equal((await ask(`${urls[0]}${at}`, 'PUT', body(0))).status, 201);
  for (let revision = 1; revision <= ROUNDS; revision++) {
    const headers = { 'if-match': `"${revision}"` };
    const puts = urls.map((url, index) => ask(`${url}${at}`, 'PUT', body((revision * 3 + index) % 10), headers));
    const statuses = (await Promise.all(puts)).map(({ status }) => status).sort();
    t.same(statuses, [200, 412, 412], `round ${revision}`);
  }

  const acks: Ack[] = [];
  const stop = new AbortController();
  const writing = Promise.all([0, 1, 2].map((writer) => keepWriting(urls, writer, acks, stop.signal)));
  const goesOn = async (what: string): Promise<void> => {
    const before = acks.length;
    const startedAt = performance.now();
    await until(
      () => acks.length >= before + 20,
      60_000,
      () => `writes after ${what}`,
    );
    t.comment(`${what}: 20 writes acknowledged within ${Math.round(performance.now() - startedAt)} ms`);
  };
  await goesOn('the start');

  const killed = await cluster.leader();
  await killed.kill();
  await goesOn('the leader was killed');
  killed.start();

  await replicas[0]?.process.end('SIGKILL');
  await goesOn('a control plane was killed');
  await start(0);

  const frozen = await cluster.leader();
  frozen.signal('SIGSTOP');
  await sleep(5_000);
  frozen.signal('SIGCONT');
  await goesOn('a leader stood still for 5 s and came back');

  gate.cut();
  await goesOn('the third control plane was cut off');
  const alone = urls[2] ?? '';
  const known = await ask(`${alone}/v1/policies`, 'GET');
  t.equal(known.status, 200, 'it shows what it knows');
  gate.heal();
  await goesOn('it was let in again');

  stop.abort();
  await writing;
  const healedAt = performance.now();
  const kv = await ConsulKv.open({ url: frozen.url, token: null, tokenFile: null, datacenter: null });
  const now = (): number => performance.now();
  const onNotice = (text: string): void => void t.comment(text);
  const store = await createConsulStore({
    kv,
    prefix: 'outrigger/',
    epochMs: Date.now,
    now,
    random: Math.random,
    onNotice,
  });
  t.teardown(() => store.close());
  const version = await store.version();
  await until(() => agents.every((agent) => agent.status().appliedVersion === version), 60_000);
  const convergedMs = performance.now() - healedAt;
  t.comment(
    `${acks.length} writes acknowledged; ${AGENTS} agents at version ${version} within ${Math.round(convergedMs)} ms`,
  );
  t.ok(convergedMs < CONVERGED_WITHIN_MS, `converged within ${Math.round(convergedMs)} ms`);
  t.same(await faultsOf(store, WRITERS, acks, ROUNDS + 2), []);
});
