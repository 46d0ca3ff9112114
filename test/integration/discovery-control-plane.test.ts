// discovery: control-plane with a real Consul: what the agents cost Consul does not grow with their number, and neither a dead control
// plane nor one whose Consul is silent takes an endpoint away or keeps a new one from them.

import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { type ConsulAgent, startConsulAgent } from '../support/consul-agents.ts';
import { startControlPlaneProcess } from '../support/control-plane-process.ts';
import { startCountingProxy } from '../support/counting-proxy.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';
import { ScriptedControlPlane } from '../support/scripted-control-plane.ts';

const AGENTS = 12;
const FEW = 2;
/** Patience with a lost control plane is 3 to 6 s, looked at every 250 ms; the rest is the question itself, on a busy machine. */
const FALLBACK_MS = 15_000;
/** Reconnecting takes up to 5 s, trusting it again 10 to 20 s. */
const RETURN_MS = 40_000;

async function register(consul: string, name: string, port: number): Promise<void> {
  const body = JSON.stringify({ ID: `${name}-${port}`, Name: name, Address: '127.0.0.1', Port: port, Tags: ['v1'] });
  const answer = await fetch(`${consul}/v1/agent/service/register`, { method: 'PUT', body });
  if (!answer.ok) throw new Error(`Consul answered ${answer.status}`);
}

const allHave = async (agents: readonly ConsulAgent[], ports: string, source: string): Promise<boolean> => {
  for (const agent of agents) {
    const found = await agent.cluster('payments');
    if (found?.source !== source || String(await agent.ports('payments')) !== ports) return false;
  }
  return true;
};

/** Of a call through the agent's outbound listener. */
function statusOf(port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', headers: { host } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    }).on('error', reject);
  });
}

t.test('one watch for all agents, and Consul itself while the control plane is gone', async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  await register(consul.url, 'payments', 7001);
  await register(consul.url, 'stock', 7101);
  const forAgents = await startCountingProxy(t, consul.url);
  const forControlPlane = await startCountingProxy(t, consul.url);
  const folder = temporaryFolder(t);
  const [port = 0] = await freePorts(1);
  const start = {
    folder,
    port,
    store: { sqlite: `${folder}/policies.db` },
    discovery: { consul: { url: forControlPlane.url } },
  };
  let controlPlane = await startControlPlaneProcess(t, start);
  const agentOf = (index: number): Promise<ConsulAgent> =>
    startConsulAgent(t, {
      id: `web-${index}`,
      upstreams: ['payments', 'stock'],
      consulUrl: forAgents.url,
      controlPlaneUrl: controlPlane.url,
    });
  const agents: ConsulAgent[] = [];
  for (let index = 0; index < FEW; index++) agents.push(await agentOf(index));
  await until(() => allHave(agents, '7001', 'control-plane'), 10_000);
  // Between two questions there is none.
  await until(() => forControlPlane.waiting() > 0, 5_000);
  await sleep(2_500);
  const waitingForFew = forControlPlane.waiting();
  for (let index = FEW; index < AGENTS; index++) agents.push(await agentOf(index));
  await until(() => allHave(agents, '7001', 'control-plane'), 10_000);
  t.equal(waitingForFew, 2, `${FEW} agents: one question a service waits at Consul`);
  t.equal(forControlPlane.waiting(), 2, `${AGENTS} agents: the same`);
  t.equal(forAgents.asked(), 0, 'and the agents ask nothing');
  t.match(await agents[0]?.metrics(), /outrigger_discovery_source\{destination="payments",origin="control-plane"\} 1/);

  const added = performance.now();
  await register(consul.url, 'payments', 7002);
  await until(() => allHave(agents, '7001,7002', 'control-plane'), 10_000);
  t.comment(`a new endpoint at ${AGENTS} agents after ${Math.round(performance.now() - added)} ms`);
  const metrics = await (await fetch(`${controlPlane.url}/metrics`)).text();
  t.match(metrics, /outrigger_control_plane_endpoint_watches 2/);

  const killed = performance.now();
  await controlPlane.process.end('SIGKILL');
  t.equal(String(await agents[0]?.ports('payments')), '7001,7002', 'what was known stays');
  await register(consul.url, 'payments', 7003);
  await until(() => allHave(agents, '7001,7002,7003', 'consul'), FALLBACK_MS);
  const fallback = Math.round(performance.now() - killed);
  t.comment(`the control plane was killed; all ${AGENTS} agents had a new endpoint from Consul after ${fallback} ms`);
  t.ok((await agents[0]?.events())?.some(({ reason }) => reason === 'source_consul'));
  t.ok(forAgents.waiting() > 2, `${forAgents.waiting()} questions of the agents wait at Consul`);

  const restarted = performance.now();
  controlPlane = await startControlPlaneProcess(t, start);
  await until(() => allHave(agents, '7001,7002,7003', 'control-plane'), RETURN_MS);
  t.comment(`all of them were back ${Math.round(performance.now() - restarted)} ms after it was started again`);
  t.ok((await agents[0]?.events())?.some(({ reason }) => reason === 'source_control_plane'));
  await until(
    () => forAgents.waiting() === 0,
    5_000,
    () => `${forAgents.waiting()} questions wait`,
  );
  const asked = forAgents.asked();
  await register(consul.url, 'payments', 7004);
  await until(() => allHave(agents, '7001,7002,7003,7004', 'control-plane'), 10_000);
  t.equal(forAgents.asked(), asked, 'Consul hears nothing of the agents any more');
});

t.test('a control plane whose own Consul fails: each agent asks Consul, then the control plane again', async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  await register(consul.url, 'payments', 7001);
  const forControlPlane = await startCountingProxy(t, consul.url);
  const folder = temporaryFolder(t);
  const controlPlane = await startControlPlaneProcess(t, {
    folder,
    store: { sqlite: `${folder}/policies.db` },
    discovery: { consul: { url: forControlPlane.url } },
  });
  const options = { upstreams: ['payments'], consulUrl: consul.url, controlPlaneUrl: controlPlane.url };
  const agent = await startConsulAgent(t, { id: 'web-1', ...options });
  await until(() => allHave([agent], '7001', 'control-plane'), 10_000);

  forControlPlane.fail(true);
  await until(async () => (await agent.cluster('payments'))?.holding !== null, 5_000);
  t.match((await agent.cluster('payments'))?.holding, /control plane does not answer .*500.*keeping the 1 known/);
  await register(consul.url, 'payments', 7002);
  await until(() => allHave([agent], '7001,7002', 'consul'), FALLBACK_MS);
  t.equal((await agent.cluster('payments'))?.holding, null);

  // One that comes and goes is not followed: the agent stays where it is well served.
  forControlPlane.fail(false);
  await sleep(3_000);
  forControlPlane.fail(true);
  await sleep(3_000);
  forControlPlane.fail(false);
  const moves = (await agent.events()).filter(({ reason }) => reason.startsWith('source_c'));
  t.same(
    moves.map(({ reason }) => reason),
    ['source_consul'],
  );
  await until(() => allHave([agent], '7001,7002', 'control-plane'), RETURN_MS);

  // No Consul for anybody: nothing is emptied, and the age says how old it is.
  await consul.kill('SIGKILL');
  await sleep(2_000);
  const aged = await agent.cluster('payments');
  t.equal(String(await agent.ports('payments')), '7001,7002');
  t.ok((aged?.ageMs ?? 0) >= 1_500, `${aged?.ageMs} ms old`);

  // One that comes back with half of what it knew takes nothing away before registrations have settled.
  await consul.restart({ keepState: false });
  await register(consul.url, 'payments', 7001);
  await until(async () => (await agent.cluster('payments'))?.holding?.includes('settled') === true, 30_000);
  t.equal(String(await agent.ports('payments')), '7001,7002');
});

t.test(
  'a control plane that watches nothing leaves its agents to Consul; a denied service stays unknown',
  async (t) => {
    if (consulOrFail(t) === null) return;
    const consul = await startConsul(t);
    await register(consul.url, 'payments', 7001);
    await register(consul.url, 'stock', 7101);
    const folder = temporaryFolder(t);
    const without = await startControlPlaneProcess(t, { folder, store: { sqlite: `${folder}/policies.db` } });
    const options = { upstreams: ['payments', 'stock'], consulUrl: consul.url };
    const alone = await startConsulAgent(t, { id: 'web-1', controlPlaneUrl: without.url, ...options });
    await until(() => allHave([alone], '7001', 'consul'), FALLBACK_MS);
    t.match(
      (await alone.events()).find(({ reason }) => reason === 'source_consul')?.text,
      /watches no Consul|404/,
      'and says why',
    );

    const second = temporaryFolder(t);
    const discovery = { consul: { url: consul.url } };
    const store = { sqlite: `${second}/policies.db` };
    const controlPlane = await startControlPlaneProcess(t, { folder: second, store, discovery });
    const put = async (action: string): Promise<void> => {
      const document = {
        apiVersion: 'outrigger.dev/v1',
        kind: 'ServiceIntentions',
        metadata: { name: 'payments' },
        spec: { defaultAction: action },
      };
      const answer = await fetch(`${controlPlane.url}/v1/policies/ServiceIntentions/payments`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(document),
      });
      t.ok(answer.ok, `${answer.status}`);
    };
    await put('deny');
    const agent = await startConsulAgent(t, { id: 'web-2', controlPlaneUrl: controlPlane.url, ...options });
    await until(async () => String(await agent.ports('stock')) === '7101', 10_000);
    await sleep(1_000);
    t.same(await agent.ports('payments'), [], 'nobody tells it');
    t.equal(await statusOf(agent.outbound, 'payments'), 403, 'and a call is denied as ever');
    await put('allow');
    await until(async () => String(await agent.ports('payments')) === '7001', 10_000);
    t.equal((await agent.cluster('payments'))?.source, 'control-plane');
    await put('deny');
    await until(async () => (await agent.ports('payments')).length === 0, 10_000);
    t.notOk(
      (await agent.events()).some(({ reason }) => reason === 'source_consul'),
      'an order is no fault',
    );
  },
);

t.test('the embedded registry is watched when there is no other Consul', async (t) => {
  const [registryPort = 0] = await freePorts(1);
  const folder = temporaryFolder(t);
  const registry = { listen: `127.0.0.1:${registryPort}` };
  const controlPlane = await startControlPlaneProcess(t, {
    folder,
    store: { sqlite: `${folder}/policies.db` },
    registry,
  });
  const consulUrl = `http://127.0.0.1:${registryPort}`;
  await register(consulUrl, 'payments', 7001);
  const proxy = await startCountingProxy(t, consulUrl);
  const options = { upstreams: ['payments'], consulUrl: proxy.url, controlPlaneUrl: controlPlane.url };
  const agent = await startConsulAgent(t, { id: 'web-1', ...options });
  await until(() => allHave([agent], '7001', 'control-plane'), 10_000);
  // A service that nobody declared is found through the control plane, too, and one that nobody runs is not.
  await register(consulUrl, 'stock', 7101);
  await statusOf(agent.outbound, 'stock');
  await until(async () => (await agent.cluster('stock'))?.source === 'control-plane', 5_000);
  t.equal(String(await agent.ports('stock')), '7101');
  t.equal(await statusOf(agent.outbound, 'nobody'), 404);
  t.equal(proxy.asked(), 0);
});

t.test(
  'a control plane that says what cannot be: refused with a code, and nothing that was known is lost',
  async (t) => {
    if (consulOrFail(t) === null) return;
    const consul = await startConsul(t);
    await register(consul.url, 'payments', 7003);
    const controlPlane = await new ScriptedControlPlane().start(t);
    const options = { upstreams: ['payments'], consulUrl: consul.url, controlPlaneUrl: controlPlane.url };
    const agent = await startConsulAgent(t, { id: 'web-1', ...options });
    const isAsked = (): boolean => controlPlane.posts.some(({ path }) => path.endsWith('/watches'));
    await until(() => controlPlane.streams.length === 1 && isAsked(), 5_000);
    const say = (facts: string): void =>
      controlPlane.write(`event: endpoints\ndata: {"service":"payments","index":"5","ageMs":0,"facts":${facts}}\n\n`);
    say('{"entries":[{"id":"p1","address":"127.0.0.1","port":7001},{"id":"p2","address":"127.0.0.1","port":7002}]}');
    await until(() => allHave([agent], '7001,7002', 'control-plane'), 5_000);

    const hostile: [string, RegExp][] = [
      ['{"entries":[{"id":"p1","address":"127.0.0.1","port":"7001"}]}', /OTR_TYPE facts\.entries\[0\]\.port/],
      ['{"entries":[{"id":"__proto__","address":"a b","port":1}]}', /OTR_FORMAT facts\.entries\[0\]\.address/],
      ['{"entries":{"length":1000000}}', /OTR_TYPE facts\.entries/],
      [`{"entries":[${'0,'.repeat(1e6)}0]}`, /OTR_TOO_LARGE facts\.entries/],
    ];
    for (const [facts, expected] of hostile) {
      say(facts);
      await until(async () => (await agent.events()).some(({ text }) => expected.test(text)), 10_000);
      t.ok(String(await agent.ports('payments')).includes('7001,7002'), `${expected} took nothing away`);
    }
    const refusals = (await agent.events()).filter(({ reason }) => reason === 'endpoints_refused');
    t.equal(refusals.length, hostile.length);
    // It is asked no more, and what Consul itself says is judged against what was known.
    await until(async () => (await agent.ports('payments')).includes(7003), FALLBACK_MS);
  },
);
