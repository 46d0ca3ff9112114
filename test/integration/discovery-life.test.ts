// Undeclared services, the end of a discovery, what is kept on disk; and all of it against Consul itself.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { createWorld, FAST, steady, two } from '../support/discovery-world.ts';
import { temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';
import { answerHealth, healthEntry, startScriptedConsul } from '../support/scripted-consul.ts';

t.test('an undeclared service is watched while it is used; one that nobody runs is not', async (t) => {
  const consul = await startScriptedConsul(t, (question, response) => {
    if (question.query.has('index')) return;
    const isKnown = question.path !== '/v1/health/service/typo';
    answerHealth(response, 10, isKnown ? two : []);
  });
  const uses = { payments: 0 };
  const world = createWorld(t, consul.url, {
    upstreams: [],
    timing: { idleMs: 1_000, idleCheckMs: 20, unknownMs: 300 },
    usesOf: (service) => (service === 'payments' ? uses.payments : 0),
  });
  world.discovery.start();
  await world.discovery.ensure('payments');
  t.equal(world.served(), 'consul 7001,7002');
  await world.discovery.ensure('typo');
  await world.discovery.ensure('typo');
  t.equal(world.served('typo'), 'nothing', 'the mesh never hears of it');
  const typos = (): number => consul.questions.filter(({ path }) => path.endsWith('/typo')).length;
  t.equal(typos(), 1, 'asked once within a while');
  await sleep(350);
  await world.discovery.ensure('typo');
  t.equal(typos(), 2);
  for (let i = 0; i < 15; i++) {
    await sleep(80);
    world.discovery.touch('payments');
  }
  t.notOk(world.removed.includes('payments'), 'in use');
  for (let i = 0; i < 15; i++) {
    await sleep(80);
    uses.payments++;
  }
  t.notOk(world.removed.includes('payments'), 'requests counted elsewhere are use as well');
  await until(() => world.removed.includes('payments'), 2_000);
  t.same(world.discovery.status(), []);
  const crowded = createWorld(t, consul.url, { upstreams: [] });
  crowded.discovery.start();
  for (let i = 0; i < 40; i++) await crowded.discovery.ensure(`service-${i}`);
  t.equal(crowded.discovery.status().length, 32);
  t.same(crowded.removed, [
    'service-0',
    'service-1',
    'service-2',
    'service-3',
    'service-4',
    'service-5',
    'service-6',
    'service-7',
  ]);
});

t.test('ensure() resolves after a failure too, and stop() ends every wait at once', async (t) => {
  const world = createWorld(t, 'http://127.0.0.1:9', { upstreams: [] });
  world.discovery.start();
  await world.discovery.ensure('payments');
  t.match(world.discovery.status(), [
    { service: 'payments', source: 'none', ageMs: null, state: 'cold', holding: /nothing is known/ },
  ]);
  const consul = await startScriptedConsul(t, () => undefined);
  const silent = createWorld(t, consul.url, { timing: { watch: { ...FAST, readTimeoutMs: 60_000 } } });
  silent.discovery.start();
  await until(() => consul.questions.length === 1, 2_000);
  const waiting = silent.discovery.ensure('payments');
  const startedAt = performance.now();
  await silent.discovery.stop();
  await waiting;
  t.ok(performance.now() - startedAt < 1_000);
});

t.test(
  'Consul absent at start: endpoints from the disk serve at once and are replaced when it comes (C20)',
  async (t) => {
    const stateDir = temporaryFolder(t);
    const consul = await startScriptedConsul(t, steady(two));
    const first = createWorld(t, consul.url, { stateDir });
    first.discovery.start();
    await first.discovery.ensure('payments');
    await first.discovery.stop();

    consul.play((_q, response) => response.destroy());
    const second = createWorld(t, consul.url, { stateDir });
    second.discovery.start();
    t.equal(second.served(), 'disk 7001,7002', 'applied before start() returns');
    await second.discovery.ensure('payments');
    t.match(second.discovery.status()[0], { source: 'disk', state: 'cold', endpoints: 2 });
    t.type(second.discovery.status()[0]?.ageMs, 'number');
    t.equal(second.events[0]?.reason, 'from_disk');
    consul.play(steady([...two, healthEntry('p3', 7003)]));
    await until(() => second.served() === 'consul 7001,7002,7003', 3_000);
  },
);

t.test(
  'real Consul: a registration is seen, a kill with lost state empties nothing, the next registration is seen',
  async (t) => {
    if (consulOrFail(t) === null) return;
    const consul = await startConsul(t);
    const put = async (id: string, port: number): Promise<void> => {
      const body = JSON.stringify({
        ID: id,
        Name: 'payments',
        Address: '127.0.0.1',
        Port: port,
        Weights: { Passing: 3, Warning: 1 },
      });
      const answer = await fetch(`${consul.url}/v1/agent/service/register`, { method: 'PUT', body });
      t.equal(answer.status, 200);
    };
    await put('p1', 7001);
    await put('p2', 7002);
    const guard = { ...FAST.guard, emptyHoldMs: 60_000 };
    const world = createWorld(t, consul.url, {
      timing: { watch: { ...FAST, waitMs: 1_000, slackMs: 500, readTimeoutMs: 2_000, guard } },
    });
    world.discovery.start();
    await until(
      () => world.served() === 'consul 7001,7002',
      5_000,
      () => world.served(),
    );
    t.equal(world.sets[0]?.endpoints[0]?.weight, 3);
    await put('p3', 7003);
    await until(() => world.served() === 'consul 7001,7002,7003', 5_000);

    await consul.kill('SIGSTOP');
    await until(
      () => world.discovery.status()[0]?.state === 'stale',
      10_000,
      () => 'a frozen Consul is noticed',
    );
    t.match(world.discovery.status()[0], { holding: /no answer within/, endpoints: 3 });
    await consul.kill('SIGCONT');
    await until(() => world.discovery.status()[0]?.state === 'live', 5_000);

    await consul.restart({ keepState: false });
    await until(
      () => world.discovery.status()[0]?.state === 'holding',
      10_000,
      () => JSON.stringify(world.discovery.status()),
    );
    t.equal(world.served(), 'consul 7001,7002,7003');
    await put('p4', 7004);
    await until(
      () => world.served().includes('7004'),
      5_000,
      () => world.served(),
    );
  },
);

t.test('real Consul: a token that loses its rights, then is deleted, empties nothing (C6, C7)', async (t) => {
  if (consulOrFail(t) === null) return;
  // The default is to allow, so that the start can look for a leader without a token; this token's policy decides.
  const acl = { enabled: true, default_policy: 'allow', tokens: { master: 'root', agent: 'root' } };
  const consul = await startConsul(t, { configFiles: [{ acl }] });
  const put = async (path: string, body: unknown, method = 'PUT'): Promise<Record<string, string>> => {
    const headers = { 'x-consul-token': 'root' };
    const answer = await fetch(`${consul.url}/v1/${path}`, { method, headers, body: JSON.stringify(body) });
    const text = await answer.text();
    t.equal(answer.status, 200, `${path}: ${text}`);
    return text.startsWith('{') ? JSON.parse(text) : {};
  };
  const rules = (policy: string): string => `service_prefix "" { policy = "${policy}" }`;
  const policy = await put('acl/policy', { Name: 'agent', Rules: rules('read') });
  const token = await put('acl/token', { Policies: [{ ID: policy.ID }] });
  await put('agent/service/register', { ID: 'p1', Name: 'payments', Address: '127.0.0.1', Port: 7001 });
  const world = createWorld(t, consul.url, {
    access: { token: token.SecretID ?? '' },
    timing: { watch: { ...FAST, readTimeoutMs: 2_000, slackMs: 2_000, guard: { ...FAST.guard, emptyHoldMs: 60_000 } } },
  });
  world.discovery.start();
  await until(() => world.served() === 'consul 7001', 5_000);
  await put(`acl/policy/${policy.ID}`, { ID: policy.ID, Name: 'agent', Rules: rules('deny') });
  await until(() => /possible ACL problem/.test(world.discovery.status()[0]?.holding ?? ''), 10_000);
  t.equal(world.served(), 'consul 7001');
  await put(`acl/token/${token.AccessorID}`, null, 'DELETE');
  await until(() => /403: ACL not found/.test(world.discovery.status()[0]?.failure ?? ''), 10_000);
  t.equal(world.served(), 'consul 7001');
});

t.test('ensure() before start() asks nothing, so that what is static or on disk is known first', async (t) => {
  const consul = await startScriptedConsul(t, steady(two));
  const world = createWorld(t, consul.url, {
    upstreams: [{ service: 'payments', endpoints: [{ host: '127.0.0.1', port: 7009 }] }],
  });
  await world.discovery.ensure('payments');
  world.discovery.start();
  await world.discovery.ensure('payments');
  await sleep(100);
  t.equal(consul.questions.length, 0);
  t.equal(world.served(), 'static 7009');
});

t.test('what is held grows old: only an answer that was believed confirms', async (t) => {
  const consul = await startScriptedConsul(t, steady(two));
  const world = createWorld(t, consul.url);
  world.discovery.start();
  await world.discovery.ensure('payments');
  consul.play((_q, response) => void setTimeout(() => answerHealth(response, 60, []), 40));
  await until(() => world.discovery.status()[0]?.state === 'holding', 3_000);
  const before = world.discovery.status()[0]?.ageMs ?? 0;
  const asked = consul.questions.length;
  await until(() => consul.questions.length > asked + 1, 3_000);
  t.match(world.discovery.status()[0], { source: 'consul', state: 'holding', endpoints: 2 });
  t.ok((world.discovery.status()[0]?.ageMs ?? 0) > before, 'answers that are not believed do not make it younger');
});

t.test('Consul that lost its state behind a proxy that answered 503 meanwhile is given time to settle', async (t) => {
  const consul = await startScriptedConsul(t, steady([...two, healthEntry('p3', 7003)], 900));
  const world = createWorld(t, consul.url);
  world.discovery.start();
  await world.discovery.ensure('payments');
  consul.play((_q, response) => response.writeHead(503).end('no upstream'));
  await until(() => world.discovery.status()[0]?.state === 'stale', 3_000);
  consul.play(steady(two, 7));
  await until(() => world.discovery.status()[0]?.state === 'holding', 3_000);
  t.match(world.discovery.status()[0]?.holding, /registrations have settled/);
  t.equal(world.served(), 'consul 7001,7002,7003');
});

t.test('names that nobody serves cost Consul a few questions a second, however many are called', async (t) => {
  const consul = await startScriptedConsul(t, (_q, response) => response.writeHead(500).end());
  const world = createWorld(t, consul.url, {
    upstreams: [],
    timing: { watch: { ...FAST, backOffBaseMs: 60_000, backOffCapMs: 60_000 } },
  });
  world.discovery.start();
  const startedAt = performance.now();
  for (let n = 0; n < 500; n++) await world.discovery.ensure(`scan-${n}`);
  const allowed = 64 + 4 * Math.ceil((performance.now() - startedAt) / 1000);
  t.ok(consul.questions.length >= 64 && consul.questions.length <= allowed, `${consul.questions.length} questions`);
});
