// The mesh as its users run it: real Consul, real processes, steady traffic through a caller's agent while instances are
// killed, stopped and added, and while Consul and the control plane are gone.

import t from 'tap';
import { until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';
import {
  call,
  Load,
  sleep,
  startAgent,
  startControlPlane,
  startInstance,
  type WorldOptions,
} from '../support/world.ts';

const RATE = 200;

t.test('kill -9 of an instance, a graceful stop and a newcomer cost no request', async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  const world: WorldOptions = { t, consulUrl: consul.url };
  const [first, second, third] = await Promise.all(
    ['a', 'b', 'c'].map((id) => startInstance(world, 'payments', `payments-${id}`)),
  );
  if (first === undefined || second === undefined || third === undefined)
    throw new Error('three instances were started');
  const caller = await startAgent(world, { service: 'web', id: 'web-1', appPort: null, upstreams: ['payments'] });
  await untilServing(caller.admin, 'payments', 3);

  const load = new Load(caller.outbound, 'payments', RATE);
  await sleep(1_000);
  await Promise.all([first.app.end('SIGKILL'), first.agent.process.end('SIGKILL')]);
  await sleep(1_500);
  t.same(load.failures(), [], 'kill -9 of the instance and its agent loses nothing');

  // As an orchestrator does it: the agent leaves first and drains, then the application ends.
  await second.agent.process.end('SIGTERM');
  await second.app.end('SIGTERM');
  await sleep(500);
  t.same(load.failures(), [], 'a graceful stop loses nothing');

  const newcomer = startInstance(world, 'payments', 'payments-d');
  const joined = await newcomer;
  const readyAt = performance.now();
  await until(
    () => (load.answered()['payments-d'] ?? 0) > 0,
    5_000,
    () => 'the newcomer gets traffic',
  );
  const joinMs = performance.now() - readyAt;
  t.ok(joinMs < 1_000, `the newcomer was used ${Math.round(joinMs)} ms after its agent was ready`);
  await sleep(500);

  // The application alone dies; its agent stays and says so, and the caller goes elsewhere.
  await joined.app.end('SIGKILL');
  await sleep(1_500);
  const result = await load.stop();
  t.same(result.failures, [], 'no failed request in the whole run');
  t.ok(result.sent > RATE * 4, `${result.sent} requests were sent`);
  t.comment(`${result.sent} GETs, ${result.failures.length} failed; newcomer used after ${Math.round(joinMs)} ms`);
});

t.test('a policy reaches every agent within a second; bad and stale ones are refused', async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  const controlPlane = await startControlPlane(t);
  const world: WorldOptions = { t, consulUrl: consul.url, controlPlaneUrl: controlPlane.url };
  const agents = await Promise.all(
    [1, 2, 3].map((n) => startAgent(world, { service: 'web', id: `web-${n}`, appPort: null, upstreams: ['payments'] })),
  );
  const url = `${controlPlane.url}/v1/policies/ServicePolicy/payments`;
  const put = (spec: unknown, headers: Record<string, string> = {}): ReturnType<typeof call> =>
    call(`${url}?wait=2s`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({
        apiVersion: 'outrigger.dev/v1',
        kind: 'ServicePolicy',
        metadata: { name: 'payments' },
        spec,
      }),
    });

  const startedAt = performance.now();
  const accepted = await put({ timeouts: { request: '2s', backendRequest: '1s' } });
  const tookMs = performance.now() - startedAt;
  t.match(String(accepted.status), /^20[01]$/, accepted.body);
  t.match(JSON.parse(accepted.body), { agents: { wanted: 3, applied: 3 } });
  t.ok(tookMs < 1_000, `applied by ${agents.length} agents after ${Math.round(tookMs)} ms`);
  t.comment(`PUT to the last of ${agents.length} ACKs: ${Math.round(tookMs)} ms`);

  const refused = await put({ timeouts: { request: 'soon' }, retires: {}, retries: { attempts: 99 } });
  t.equal(refused.status, 422);
  t.match(refused.headers['content-type'], /application\/problem\+json/);
  const problems = JSON.parse(refused.body).problems as { path: string; message: string }[];
  t.same(problems.map(({ path }) => path).sort(), ['spec.retires', 'spec.retries.attempts', 'spec.timeouts.request']);

  const stale = await put({ timeouts: { request: '3s', backendRequest: '1s' } }, { 'if-match': '"999"' });
  t.equal(stale.status, 412);
  for (const agent of agents) {
    const dump = await call(`http://127.0.0.1:${agent.admin}/config_dump`);
    t.match(dump.body, /"requestMs":\s*2000/, `${agent.name} still has the accepted policy`);
  }
});

t.test('Consul and control plane gone: traffic goes on, and an agent restarts from its own state', async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  const controlPlane = await startControlPlane(t);
  const world: WorldOptions = { t, consulUrl: consul.url, controlPlaneUrl: controlPlane.url };
  await Promise.all(['a', 'b'].map((id) => startInstance(world, 'payments', `payments-${id}`)));
  const caller = await startAgent(world, { service: 'web', id: 'web-1', appPort: null, upstreams: ['payments'] });
  await call(`${controlPlane.url}/v1/policies/MeshDefaults/global?wait=2s`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      apiVersion: 'outrigger.dev/v1',
      kind: 'MeshDefaults',
      metadata: { name: 'global' },
      spec: { timeouts: { request: '7s', backendRequest: '2s' } },
    }),
  });
  await untilServing(caller.admin, 'payments', 2);
  const load = new Load(caller.outbound, 'payments', RATE);
  await sleep(500);
  await Promise.all([consul.kill('SIGKILL'), controlPlane.process.end('SIGKILL')]);
  await sleep(2_000);
  const before = await load.stop();
  t.same(before.failures, [], `${before.sent} requests, none failed while both were gone`);

  await caller.process.end('SIGKILL');
  const restartedAt = performance.now();
  const again = await caller.restart();
  const readyMs = performance.now() - restartedAt;
  t.comment(`ready ${Math.round(readyMs)} ms after the start of the process, Consul and control plane absent`);
  const after = new Load(again.outbound, 'payments', RATE);
  await sleep(1_500);
  const result = await after.stop();
  t.same(result.failures, [], `${result.sent} requests, none failed after the restart`);
  const dump = await call(`http://127.0.0.1:${again.admin}/config_dump`);
  t.match(dump.body, /"requestMs":\s*7000/, 'the last-known-good policy is in force');
});

async function untilServing(adminPort: number, service: string, count: number): Promise<void> {
  let body = '';
  await until(
    async () => {
      body = (await call(`http://127.0.0.1:${adminPort}/clusters?format=json`)).body;
      const clusters = JSON.parse(body) as { service: string; endpoints: { state: string }[] }[];
      const endpoints = clusters.find((one) => one.service === service)?.endpoints ?? [];
      return endpoints.filter(({ state }) => state === 'serving').length === count;
    },
    10_000,
    () => `${count} serving endpoints of ${service}: ${body}`,
  );
}
