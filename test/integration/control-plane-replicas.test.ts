// Three control planes over three Consul servers, with writers at all of them and agents at any of them, while the Consul leader
// is killed, a control plane is killed, another leader stands still, and one control plane is cut off from Consul: nothing
// acknowledged is lost and the agents converge.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { createConsulStore } from '../../control-plane/store/consul-store.ts';
import { type Ack, faultsOf, writeOnce } from '../support/acknowledged-writes.ts';
import { startConsulCluster } from '../support/consul-cluster.ts';
import { ask } from '../support/control-plane-client.ts';
import { type ControlPlaneProcess, startControlPlaneProcess } from '../support/control-plane-process.ts';
import { startGate } from '../support/gate.ts';
import { startPolicyAgent } from '../support/policy-agent.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail } from '../support/real-consul.ts';

const WRITERS = 3;
const AGENTS = 20;
const ROUNDS = 4;
const CONVERGED_WITHIN_MS = 10_000;

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
  const agents = Array.from({ length: AGENTS }, (_, index) => startPolicyAgent(t, urls, `orders-${index}`));

  // Of three writers at three replicas that hold the same revision one wins.
  const body = (attempts: number) => ({
    apiVersion: 'outrigger.dev/v1',
    kind: 'ServicePolicy',
    metadata: { name: 'contested' },
    spec: { retries: { attempts } },
  });
  const at = '/v1/policies/ServicePolicy/contested';
  t.equal((await ask(`${urls[0]}${at}`, 'PUT', body(0))).status, 201);
  const contest = async (revision: number): Promise<number[]> => {
    const headers = { 'if-match': `"${revision}"` };
    const puts = urls.map((url, index) => ask(`${url}${at}`, 'PUT', body((revision * 3 + index) % 10), headers));
    return (await Promise.all(puts)).map(({ status }) => status);
  };
  for (let revision = 1; revision <= ROUNDS; revision++) {
    t.same((await contest(revision)).sort(), [200, 412, 412], `round ${revision}`);
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
  const [first, second, third] = await contest(ROUNDS + 1);
  t.same([first, second].sort(), [200, 412], 'one of the two that see Consul wins');
  t.equal(third, 503, 'who does not see it writes nothing');
  const behind = agents.filter((agent) => agent.status().appliedVersion < Math.max(...acks.map((ack) => ack.version)));
  gate.heal();
  const letInAt = performance.now();
  const atHeal = Math.max(...acks.map((ack) => ack.version));
  await until(() => agents.every((agent) => agent.status().appliedVersion >= atHeal), 60_000);
  const caughtUpMs = performance.now() - letInAt;
  t.comment(
    `healed: ${behind.length} of ${AGENTS} agents were behind; all had what was written before ${Math.round(caughtUpMs)} ms later`,
  );
  t.ok(caughtUpMs < CONVERGED_WITHIN_MS, `caught up within ${Math.round(caughtUpMs)} ms`);
  await until(async () => (await contest(ROUNDS + 2)).filter((status) => status === 200).length === 1, 20_000);
  await until(async () => (await ask(`${alone}${at}`, 'GET')).headers.get('etag') === `"${ROUNDS + 3}"`, 20_000);
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
  t.same(await faultsOf(store, WRITERS, acks, ['contested']), []);
});
