// Agents restarted on their own ports while 500 requests a second pass through them: real agent processes, real Consul. The
// successor starts, then its predecessor gets SIGTERM. No GET fails, and no POST is executed twice.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { startMixedLoad } from '../support/mixed-load.ts';
import { until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';
import { type AgentProcess, call, startAgent, startControlPlane, startInstance } from '../support/world.ts';

const RATE = 500;
const NAMES = ['orders-1', 'orders-2', 'orders-3'];

async function getJson(url: string): Promise<unknown> {
  return JSON.parse((await call(url, { headers: { connection: 'close' } })).body);
}

/** The successor serves before the process before it is told to stop. */
async function restartWithOverlap(agent: AgentProcess): Promise<{ code: number | null; successor: AgentProcess }> {
  const successor = await agent.restart();
  return { code: await agent.process.end('SIGTERM'), successor };
}

t.test('caller and instances have their agents restarted under load', async (t) => {
  if (consulOrFail(t) === null) return;
  const [consul, controlPlane] = await Promise.all([startConsul(t), startControlPlane(t)]);
  const world = { t, consulUrl: consul.url, controlPlaneUrl: controlPlane.url };
  const sharePorts = true;
  const instances = await Promise.all(NAMES.map((name) => startInstance(world, 'orders', name, { sharePorts })));
  const caller = await startAgent(world, {
    service: 'shop',
    id: 'shop',
    appPort: null,
    upstreams: ['orders'],
    sharePorts,
  });
  const passing = async (): Promise<unknown[]> =>
    (await getJson(`${consul.url}/v1/health/service/orders?passing=true`)) as unknown[];
  await until(async () => (await passing()).length === NAMES.length, 10_000);

  const load = startMixedLoad(caller.outbound, 'orders', RATE);
  const startedAt = performance.now();
  await sleep(500);
  const ends = [await restartWithOverlap(caller)];
  t.same(load.tally.failures, [], 'no GET fails while the caller is restarted');
  for (const { agent } of instances) ends.push(await restartWithOverlap(agent));
  await sleep(500);
  const seconds = (performance.now() - startedAt) / 1_000;
  await load.stop();

  const { tally } = load;
  t.same(tally.failures, [], 'no GET fails');
  t.same(
    ends.map(({ code }) => code),
    [0, 0, 0, 0],
  );
  const executed = (
    await Promise.all(instances.map(async ({ agent }) => await getJson(`http://127.0.0.1:${agent.inbound}/executed`)))
  ).flat();
  t.equal(new Set(executed).size, executed.length, 'no POST is executed twice');
  const failed = [...tally.posts].filter(([, result]) => result !== '200');
  const answered = [...tally.posts].filter(([, result]) => result === '200').map(([path]) => path);
  t.same(
    answered.filter((path) => !executed.includes(path)),
    [],
    'every POST that was answered was executed',
  );
  t.ok(failed.length <= tally.posts.size / 100, JSON.stringify(failed));
  t.comment(
    `${tally.sent} requests in ${seconds.toFixed(1)} s, ${tally.posts.size} POSTs, ${failed.length} told of a failure ` +
      `(${JSON.stringify(failed.slice(0, 5))}), ${tally.refusals} connections tried again`,
  );

  t.equal((await passing()).length, NAMES.length, 'every instance is still registered');
  for (const { agent } of instances) {
    t.match(agent.process.output(), /registration_taken_over/);
    t.notMatch(agent.process.output(), /no longer registered/);
  }
  t.match(
    await getJson(`${controlPlane.url}/v1/agents`),
    { agents: ['orders-1', 'orders-2', 'orders-3', 'shop'].map((id) => ({ id, isConnected: true })) },
    'the control plane knows each of them as connected',
  );
});
