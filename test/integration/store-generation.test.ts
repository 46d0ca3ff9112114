// A control plane whose store was replaced by an older one: agents follow it whatever version they had, nobody is taken to have what it
// has not, and both sides say so.

import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import t from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import { ask, follow, nextPush, orderReport } from '../support/control-plane-client.ts';
import { type ControlPlaneProcess, startControlPlaneProcess } from '../support/control-plane-process.ts';
import { startPolicyAgent } from '../support/policy-agent.ts';
import { freePorts, ROOT, startNode, temporaryFolder, until } from '../support/processes.ts';

const AGENTS = 5;

interface PolicyView {
  readonly appliedVersion: number | null;
  readonly wantedVersion: number | null;
  readonly verdict: string | null;
  readonly isInSync: boolean;
}

async function put(url: string, name: string, attempts: number): Promise<number> {
  const document = {
    apiVersion: 'outrigger.dev/v1',
    kind: 'ServicePolicy',
    metadata: { name },
    spec: { retries: { attempts } },
  };
  const { status, body } = await ask(`${url}/v1/policies/ServicePolicy/${name}`, 'PUT', document);
  if (status >= 300) throw new Error(`PUT was answered ${status}`);
  return Number(body.version);
}

async function policyOf(url: string, id: string): Promise<PolicyView | null> {
  const { status, body } = await ask(`${url}/v1/agents/${id}`, 'GET');
  return status === 200 ? (body.policy as PolicyView) : null;
}

t.test('a backup that is older than what agents have', { timeout: 120_000 }, async (t) => {
  const folder = temporaryFolder(t);
  const database = `${folder}/policies.db`;
  const store = { sqlite: database };
  const [port = 0] = await freePorts(1);
  let controlPlane: ControlPlaneProcess = await startControlPlaneProcess(t, { folder, store, port });
  const { url } = controlPlane;
  const said: MeshEvent[] = [];
  const agents = Array.from({ length: AGENTS }, (_, index) =>
    startPolicyAgent(t, [url], `orders-${index}`, (event) => said.push(event)),
  );
  const areAt = (version: number) => async (): Promise<boolean> => {
    if (!agents.every((agent) => agent.status().appliedVersion === version)) return false;
    const views = await Promise.all(agents.map((_, index) => policyOf(url, `orders-${index}`)));
    return views.every((view) => view?.isInSync === true && view.appliedVersion === version && view.verdict === 'ACK');
  };

  for (let version = 1; version <= 3; version++) t.equal(await put(url, 'payments', version), version);
  const backup = await (await fetch(`${url}/v1/backup`)).text();
  for (let version = 4; version <= 6; version++) await put(url, 'payments', version);
  await until(areAt(6), 10_000);
  const [former = ''] = agents.map((agent) => agent.status().generation);
  t.match(former, /^[0-9a-f]{12}$/);
  t.ok(agents.every((agent) => agent.status().generation === former));

  // Another store in its place, filled from the backup.
  await controlPlane.process.end('SIGKILL');
  for (const suffix of ['', '-wal', '-shm']) rmSync(database + suffix, { force: true });
  writeFileSync(`${folder}/backup.json`, backup);
  const restore = ['store', 'restore', `${folder}/backup.json`, '--config', `${folder}/control-plane.json`];
  const { child } = startNode(t, [`${ROOT}cli/main.ts`, ...restore]);
  await until(() => child.exitCode !== null, 20_000);
  t.equal(child.exitCode, 0);
  controlPlane = await startControlPlaneProcess(t, { folder, store, port });
  const restartedAt = performance.now();
  await until(areAt(3), 15_000);
  t.comment(`${AGENTS} agents went from version 6 back to 3 within ${Math.round(performance.now() - restartedAt)} ms`);
  const generation = agents[0]?.status().generation;
  t.not(generation, former);
  t.equal(said.filter(({ reason }) => reason === 'store_replaced').length, AGENTS, 'each agent says so once');
  t.equal(said.filter(({ reason }) => reason === 'version_went_back').length, 0, 'and not that its store went back');
  const told = controlPlane.process.output().split('agent had policies of another store').length - 1;
  t.equal(told, AGENTS, 'and the control plane names each once');

  // Versions that the other store had too, with other documents in them.
  for (let version = 4; version <= 6; version++) t.equal(await put(url, 'orders', version), version);
  await until(areAt(6), 10_000);

  // One that was away all the time has version 6 of the former store.
  const report = (appliedVersion: number, of: string) =>
    orderReport(appliedVersion + 1, {
      policy: { appliedVersion, generation: of, wantedVersion: appliedVersion, problems: [] },
    });
  t.equal((await ask(`${url}/v1/agents/late/reports`, 'POST', report(6, former))).status, 204);
  t.match(await policyOf(url, 'late'), { appliedVersion: null, wantedVersion: null, isInSync: false });
  const stream = await follow(`${url}/v1/agents/late/stream?service=orders&life=one`, {
    'last-event-id': `${former}-6`,
  });
  const event = await stream.next();
  t.equal(event.id, `${generation}-6`);
  t.match(event.data, {
    version: 6,
    generation,
    documents: [{ metadata: { name: 'orders' } }, { metadata: { name: 'payments' } }],
  });
  t.match(await policyOf(url, 'late'), { appliedVersion: null, wantedVersion: 6, verdict: null, isInSync: false });
  const { nonce } = event.data as { nonce: string };
  const nack = { version: 6, nonce, verdict: 'NACK', appliedVersion: 6, problems: [] };
  await ask(`${url}/v1/agents/late/acks`, 'POST', nack);
  t.match(
    await policyOf(url, 'late'),
    { appliedVersion: null, verdict: 'NACK', isInSync: false },
    'its 6 is another 6',
  );
  await ask(`${url}/v1/agents/late/acks`, 'POST', { ...nack, verdict: 'ACK' });
  t.match(await policyOf(url, 'late'), { appliedVersion: 6, verdict: 'ACK', isInSync: true });
  stream.stop();

  // The file itself put back keeps its generation; then the version tells.
  await controlPlane.process.end('SIGTERM');
  copyFileSync(database, `${folder}/copy.db`);
  controlPlane = await startControlPlaneProcess(t, { folder, store, port });
  await put(url, 'payments', 9);
  await until(areAt(7), 15_000);
  await controlPlane.process.end('SIGTERM');
  for (const suffix of ['-wal', '-shm']) rmSync(database + suffix, { force: true });
  copyFileSync(`${folder}/copy.db`, database);
  controlPlane = await startControlPlaneProcess(t, { folder, store, port });
  await until(areAt(6), 15_000);
  t.equal(agents[0]?.status().generation, generation);
  t.equal(said.filter(({ reason }) => reason === 'version_went_back').length, AGENTS);
  const again = await follow(`${url}/v1/agents/late/stream?service=orders&life=one`, {
    'last-event-id': `${generation}-7`,
  });
  t.equal((await nextPush(again)).version, 6, 'the whole set and not nothing');
  again.stop();
});
