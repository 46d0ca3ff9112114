// The service beside the agent in Consul: registered whatever happens, with weight and check, and gone at the end.

import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { createConsulClient } from '../../agent/discovery/consul-client.ts';
import type { ServiceConfig } from '../../agent/discovery/register-payload.ts';
import { createRegistration, type Registration } from '../../agent/discovery/registration.ts';
import { type Teardown, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';
import { startScriptedConsul } from '../support/scripted-consul.ts';

const SERVICE: ServiceConfig = {
  name: 'orders',
  id: 'orders-1',
  port: null,
  address: '127.0.0.1',
  appAddress: '127.0.0.1',
  tags: ['v1'],
  meta: { version: '1' },
  zone: 'a',
  weight: 5,
  check: { http: '/healthz', intervalMs: 200, timeoutMs: 500 },
  register: 'inbound',
};
const LISTENER = { host: '127.0.0.1', port: 15_006 };

function createWorld(
  t: Teardown,
  url: string,
  changes: Partial<ServiceConfig> = {},
  life = 'first',
): { registration: Registration; events: MeshEvent[]; reasons(): string[] } {
  const client = createConsulClient({ url, token: 'secret', tokenFile: null, datacenter: null });
  const events: MeshEvent[] = [];
  const registration = createRegistration({
    service: { ...SERVICE, ...changes },
    life,
    client,
    clock: systemClock,
    random: systemRandom,
    onEvent: (event) => events.push(event),
    timing: { verifyMs: 60, backOffBaseMs: 20, backOffCapMs: 100, callTimeoutMs: 500 },
  });
  t.teardown(async () => {
    await registration.deregister(200);
    client.close();
  });
  return { registration, events, reasons: () => events.map(({ reason }) => reason) };
}

/** An application that answers /healthz with `status`. */
async function startApp(t: Teardown, status: number): Promise<number> {
  const server = createServer((_request, response) => response.writeHead(status).end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

t.test(
  'the registration is one PUT that replaces checks and starts passing only when the app has answered',
  async (t) => {
    for (const [status, expected] of [
      [200, 'passing'],
      [503, 'critical'],
    ] as const) {
      const consul = await startScriptedConsul(t, (_q, response) => response.writeHead(200).end('{}'));
      const { registration, reasons } = createWorld(t, consul.url, { port: await startApp(t, status) });
      await registration.register({ host: '0.0.0.0', port: 15_006 });
      const [put] = consul.questions;
      t.same([put?.method, put?.path], ['PUT', '/v1/agent/service/register']);
      t.equal(put?.query.get('replace-existing-checks'), 'true');
      t.equal(put?.headers['x-consul-token'], 'secret');
      t.match(JSON.parse(put?.body ?? '{}'), {
        ID: 'orders-1',
        Address: '127.0.0.1',
        Port: 15_006,
        Weights: { Passing: 5 },
        Check: { HTTP: 'http://127.0.0.1:15006/healthz', Status: expected },
      });
      t.equal(registration.isRegistered(), true);
      t.same(reasons(), ['registered']);
    }
  },
);

t.test('a Consul that is late or refuses is tried again, and register() does not wait for it', async (t) => {
  const consul = await startScriptedConsul(t, (_q, response) => response.writeHead(403).end('Permission denied'));
  const { registration, events, reasons } = createWorld(t, consul.url, { check: null });
  await registration.register(LISTENER);
  t.equal(registration.isRegistered(), false);
  t.match(events[0]?.text, /not confirmed in Consul: Consul answered 403: Permission denied/);
  await until(() => consul.questions.length >= 4, 2_000);
  t.same(reasons(), ['register_failed'], 'one event, however often it fails');
  consul.play((_q, response) => response.writeHead(200).end());
  await until(() => registration.isRegistered(), 2_000);
  t.same(reasons(), ['register_failed', 'registered', 'registry_recovered']);
});

t.test('a registration that Consul forgot, or has elsewhere, is written again', async (t) => {
  const state = { found: 200, address: '127.0.0.1' };
  const consul = await startScriptedConsul(t, ({ method }, response) => {
    if (method === 'PUT') {
      state.found = 200;
      state.address = '127.0.0.1';
      response.writeHead(200).end();
    } else response.writeHead(state.found).end(JSON.stringify({ Address: state.address, Port: 15_006 }));
  });
  const { registration, reasons } = createWorld(t, consul.url, { check: null });
  await registration.register(LISTENER);
  const puts = (): number => consul.questions.filter(({ path }) => path.endsWith('/register')).length;
  await until(() => consul.questions.length > 3, 2_000);
  t.equal(puts(), 1, 'what is there is left alone');
  state.found = 404;
  await until(() => puts() === 2, 2_000);
  state.address = '10.9.9.9';
  await until(() => puts() === 3, 2_000);
  state.found = 500;
  await sleep(200);
  t.equal(puts(), 3, 'an error is no proof');
  t.same(reasons().slice(0, 5), ['registered', 'registration_lost', 'registered', 'registration_lost', 'registered']);
});

t.test('register: none says nothing to Consul, app registers the own port', async (t) => {
  const consul = await startScriptedConsul(t, (_q, response) => response.writeHead(200).end());
  const none = createWorld(t, consul.url, { register: 'none' });
  await none.registration.register(LISTENER);
  await none.registration.deregister(100);
  t.equal(consul.questions.length, 0);
  const app = createWorld(t, consul.url, { register: 'app', port: 3000, check: null });
  await app.registration.register(LISTENER);
  t.match(JSON.parse(consul.questions[0]?.body ?? '{}'), { Address: '127.0.0.1', Port: 3000 });
});

t.test('deregister() keeps its deadline when Consul hangs or is gone, and says so', async (t) => {
  const consul = await startScriptedConsul(t, (_q, response) => response.writeHead(200).end());
  const { registration, reasons } = createWorld(t, consul.url, { check: null });
  await registration.register(LISTENER);
  consul.play(() => undefined);
  const startedAt = performance.now();
  await registration.deregister(150);
  t.ok(performance.now() - startedAt < 1_500);
  t.equal(reasons().at(-1), 'deregister_failed');
  t.equal(await registration.maintenance(true, 'drain'), false);
  t.equal(reasons().at(-1), 'maintenance_failed');
});

t.test('real Consul: weight, check, maintenance, lost state and deregistration', async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  const port = await startApp(t, 200);
  const { registration, reasons } = createWorld(t, consul.url, { port, register: 'app', weight: 5 });
  const health = async (): Promise<unknown[]> => {
    const answer = await fetch(`${consul.url}/v1/health/service/orders`);
    const body: unknown = await answer.json();
    return Array.isArray(body) ? body : [];
  };
  await registration.register(LISTENER);
  t.same(reasons(), ['registered']);
  await until(async () => (await health()).length === 1, 5_000);
  t.match(await health(), [
    { Service: { ID: 'orders-1', Port: port, Weights: { Passing: 5, Warning: 1 }, Meta: { zone: 'a', version: '1' } } },
  ]);
  t.match(JSON.stringify(await health()), /"CheckID":"service:orders-1".*"Status":"passing"/);

  t.equal(await registration.maintenance(true, 'draining'), true);
  await until(async () => JSON.stringify(await health()).includes('_service_maintenance:orders-1'), 5_000);
  t.equal(await registration.maintenance(false, ''), true);

  await consul.restart({ keepState: false });
  await until(
    async () => (await health()).length === 1,
    10_000,
    () => reasons().join(),
  );
  t.ok(reasons().includes('registration_lost'));

  await registration.deregister(2_000);
  t.equal(reasons().at(-1), 'deregistered');
  await until(async () => (await health()).length === 0, 5_000);
});

t.test('real Consul: what a successor registered stays when the one before it drains and leaves', async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  const former = createWorld(t, consul.url, { check: null });
  const successor = createWorld(t, consul.url, { check: null }, 'second');
  const found = async (): Promise<string> => (await fetch(`${consul.url}/v1/health/service/orders`)).text();
  await former.registration.register(LISTENER);
  t.equal(await former.registration.maintenance(true, 'draining'), true);
  await until(async () => (await found()).includes('_service_maintenance:orders-1'), 5_000);
  await successor.registration.register({ ...LISTENER, port: 15_007 });
  await until(async () => !(await found()).includes('_service_maintenance:orders-1'), 5_000);
  t.equal(await former.registration.maintenance(true, 'draining'), false, 'not ours to close any more');
  await sleep(200);
  t.equal(await former.registration.deregister(1_000), true);
  t.same(former.reasons(), ['registered', 'registration_taken_over'], 'said once, and nothing written again');
  t.match(JSON.parse(await found()), [{ Service: { Port: 15_007, Meta: { outrigger_life: 'second' } } }]);
  t.same(successor.reasons(), ['registered']);
  t.equal(await successor.registration.deregister(1_000), false);
  await until(async () => (await found()) === '[]', 5_000);
});

t.test('maintenance outlives a Consul that lost its state, and is nothing for what was never registered', async (t) => {
  let isLost = false;
  const consul = await startScriptedConsul(t, ({ method, path }, response) => {
    if (method === 'PUT') {
      if (path.endsWith('/register')) isLost = false;
      response.writeHead(200).end();
    } else response.writeHead(isLost ? 404 : 200).end(JSON.stringify({ Address: '127.0.0.1', Port: 15_006 }));
  });
  const none = createWorld(t, consul.url, { register: 'none' });
  await none.registration.register(LISTENER);
  t.equal(await none.registration.maintenance(true, 'draining'), false);
  t.same([consul.questions.length, none.reasons()], [0, []]);

  const { registration } = createWorld(t, consul.url, { check: null });
  const said = (): string[] => consul.questions.filter(({ method }) => method === 'PUT').map(({ path }) => path);
  await registration.register(LISTENER);
  await registration.maintenance(true, 'draining');
  isLost = true;
  await until(
    () => said().length === 4,
    2_000,
    () => said().join(),
  );
  const [register, maintenance] = ['/v1/agent/service/register', '/v1/agent/service/maintenance/orders-1'];
  t.same(said(), [register, maintenance, register, maintenance]);
});

t.test('the first check asks the application where it listens, not where others reach it', async (t) => {
  const consul = await startScriptedConsul(t, (_q, response) => response.writeHead(200).end());
  const port = await startApp(t, 200);
  const { registration } = createWorld(t, consul.url, { port, address: '192.0.2.1' });
  await registration.register(LISTENER);
  t.match(JSON.parse(consul.questions[0]?.body ?? '{}'), { Check: { Status: 'passing' } });
});
