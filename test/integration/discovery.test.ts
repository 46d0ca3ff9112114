// What discovery makes of every fault of Consul, against a server that plays them.

import { writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { createWorld, FAST, reasons, steady, two } from '../support/discovery-world.ts';
import { temporaryFolder, until } from '../support/processes.ts';
import { answerHealth, healthEntry, type Script, startScriptedConsul } from '../support/scripted-consul.ts';

t.test('a watch reads first without an index, then blocks with it, and applies each change once', async (t) => {
  const pending: ServerResponse[] = [];
  const consul = await startScriptedConsul(t, ({ query }, response) => {
    if (query.has('index')) pending.push(response);
    else answerHealth(response, 10, two);
  });
  const world = createWorld(t, consul.url, { timing: { watch: { ...FAST, waitMs: 60_000 } } });
  world.discovery.start();
  await world.discovery.ensure('payments');
  t.equal(world.served(), 'consul 7001,7002');
  await until(() => pending.length === 1, 2_000);
  const [first, second] = consul.questions;
  t.equal(first?.path, '/v1/health/service/payments');
  t.equal(first?.query.has('index'), false);
  t.equal(first?.query.has('passing'), false, 'all entries are read and judged here');
  t.same([second?.query.get('index'), second?.query.get('wait')], ['10', '60000ms']);
  // The same body under a new index is no change.
  const open = pending.shift();
  if (open !== undefined) answerHealth(open, 11, two);
  await until(() => pending.length === 1, 2_000);
  t.equal(world.sets.length, 1);
  const last = pending.shift();
  if (last !== undefined) answerHealth(last, 12, [...two, healthEntry('p3', 7003)]);
  await until(() => world.served() === 'consul 7001,7002,7003', 2_000);
  t.equal(world.sets.length, 2);
  t.match(world.discovery.status(), [
    { service: 'payments', source: 'consul', state: 'live', holding: null, endpoints: 3 },
  ]);
});

t.test('every kind of bad answer keeps the last set, says why, and the watch goes on (C5, C6, C10)', async (t) => {
  const faults: Record<string, [Script, RegExp]> = {
    'HTTP 500': [(_q, r) => r.writeHead(500).end('No cluster leader'), /500: No cluster leader/],
    'HTTP 403': [(_q, r) => r.writeHead(403).end('ACL not found'), /403: ACL not found/],
    'HTTP 429': [(_q, r) => r.writeHead(429).end('slow down'), /429/],
    'HTTP 400': [(_q, r) => r.writeHead(400).end('bad'), /400/],
    '200 with HTML': [
      (_q, r) => r.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
      /without X-Consul-Index/,
    ],
    'HTML with an index': [(_q, r) => answerHealth(r, 5, '<html>'), /not a list of instances: <html>/],
    'a list without an index': [(_q, r) => answerHealth(r, null, []), /without X-Consul-Index/],
    'truncated JSON': [(_q, r) => answerHealth(r, 5, '[{"Node"'), /not a list/],
    'an object': [(_q, r) => answerHealth(r, 5, {}), /not a list/],
    'a body that breaks off': [
      (_q, r) => {
        r.writeHead(200, { 'x-consul-index': '5', 'content-length': '1000' });
        r.write('[', () => r.destroy());
      },
      /broke off after \d+ bytes/,
    ],
    'a body without end': [
      (_q, r) => {
        r.writeHead(200, { 'x-consul-index': '5' });
        r.write(`[${' '.repeat(20_000)}`);
      },
      /larger than 10000 bytes/,
    ],
    'a connection closed at once': [(_q, r) => r.destroy(), /200 connections per client address/],
    'no answer at all': [() => undefined, /no answer within \d+ ms/],
    'one byte at a time': [
      (_q, r) => {
        r.writeHead(200, { 'x-consul-index': '5' });
        const timer = setInterval(() => r.write(' '), 50);
        r.on('close', () => clearInterval(timer));
      },
      /no answer within \d+ ms/,
    ],
  };
  await Promise.all(
    Object.entries(faults).map(async ([name, [fault, expected]]) => {
      const consul = await startScriptedConsul(t, steady(two));
      const world = createWorld(t, consul.url, { maxBodyBytes: 10_000 });
      world.discovery.start();
      await world.discovery.ensure('payments');
      consul.play(fault);
      await until(
        () => reasons(world).includes('source_failed'),
        3_000,
        () => `${name} noticed`,
      );
      t.match(world.events.find(({ reason }) => reason === 'source_failed')?.text, expected, name);
      t.equal(world.served(), 'consul 7001,7002', `${name}: the last set stays`);
      t.match(world.discovery.status()[0], { state: 'stale', holding: /keeping the 2 known/, endpoints: 2 }, name);
      consul.play(steady([...two, healthEntry('p3', 7003)]));
      await until(
        () => world.served() === 'consul 7001,7002,7003',
        3_000,
        () => `${name} survived`,
      );
      await until(() => world.discovery.status()[0]?.state === 'live', 3_000);
      t.equal(reasons(world).filter((reason) => reason === 'source_failed').length, 1, `${name}: one event`);
    }),
  );
});

t.test('after any error the next question carries no index; an index that goes backwards is one change', async (t) => {
  const consul = await startScriptedConsul(t, steady(two, 100));
  const world = createWorld(t, consul.url);
  world.discovery.start();
  await world.discovery.ensure('payments');
  await until(() => consul.questions.length === 2, 2_000);
  const before = consul.questions.length;
  consul.hangUp();
  await until(() => consul.questions.length > before, 2_000);
  t.equal(consul.questions[before]?.query.has('index'), false, 'first question after the error');
  await until(() => consul.questions.length > before + 1, 2_000);
  // The state was restored: a lower index, one endpoint more, one less.
  const restored = [healthEntry('p1', 7001), healthEntry('p3', 7003)];
  consul.play((_question, response, number) => {
    if (number % 2 === 0 || world.sets.length === 1) answerHealth(response, 7, restored);
  });
  consul.hangUp();
  await until(() => world.served() === 'consul 7001,7003', 4_000);
  t.same(
    world.sets.map(({ endpoints }) => endpoints.map(({ port }) => port).sort()),
    [
      [7001, 7002],
      [7001, 7002, 7003],
      [7001, 7003],
    ],
    'added at once, removed once Consul has settled',
  );
});

t.test('a server that answers at once is asked at most twice a second, whatever it says (C10, C11)', async (t) => {
  const scripts: Record<string, Script> = {
    'same index': (_q, r) => answerHealth(r, 5, two),
    'index 0': (_q, r) => answerHealth(r, 0, two),
    'index abc': (_q, r) => answerHealth(r, 'abc', two),
    'index moves': (_q, r, n) => answerHealth(r, n, two),
    'index falls': (_q, r, n) => answerHealth(r, 1_000_000 - n, two),
    'everything moves': (_q, r, n) => answerHealth(r, n, [healthEntry(`p${n % 3}`, 7000 + (n % 3)), ...two]),
    'no index': (_q, r) => answerHealth(r, null, two),
    'error and answer in turns': (_q, r, n) => (n % 2 === 0 ? r.writeHead(500).end() : answerHealth(r, 5, two)),
  };
  await Promise.all(
    Object.entries(scripts).map(async ([name, script]) => {
      const consul = await startScriptedConsul(t, script);
      const guard = { ...FAST.guard, confirmMs: 10, settleMs: 10 };
      // Real pacing: 2 seconds of a real second each.
      const world = createWorld(t, consul.url, {
        timing: { watch: { ...FAST, pacerSecondMs: 1_000, minGapMs: 100, guard } },
      });
      world.discovery.start();
      await sleep(2_000);
      await world.discovery.stop();
      // A burst of at most four (two whole tokens at half price), then two a second.
      const { length } = consul.questions;
      t.ok(length >= 2 && length <= 9, `${name}: ${length} questions in 2 s`);
    }),
  );
});

t.test(
  'an empty answer after a full one is held, reported as a possible ACL problem, and believed in the end (C7, C8)',
  async (t) => {
    const consul = await startScriptedConsul(t, steady(two));
    const world = createWorld(t, consul.url);
    world.discovery.start();
    await world.discovery.ensure('payments');
    consul.play(({ query }, response) => {
      const waitMs = query.has('index') ? Number.parseInt(query.get('wait') ?? '0', 10) : 0;
      setTimeout(() => answerHealth(response, 11, []), waitMs);
    });
    consul.hangUp();
    await until(() => world.discovery.status()[0]?.state === 'holding', 2_000);
    t.match(world.discovery.status()[0]?.holding, /keeping the 2 known .*possible ACL problem/);
    t.match(world.events.find(({ reason }) => reason === 'holding')?.text, /possible ACL problem/);
    t.equal(world.served(), 'consul 7001,7002');
    await until(() => world.served() === 'consul ', 3_000);
    t.same(reasons(world).slice(-1), ['released']);
  },
);

t.test('a set is not shrunk by more than half without a second read that carries no index', async (t) => {
  const five = [1, 2, 3, 4, 5].map((n) => healthEntry(`p${n}`, 7000 + n));
  const consul = await startScriptedConsul(t, ({ query }, response) => {
    if (query.get('index') === '10') answerHealth(response, 11, five.slice(0, 1));
    else if (!query.has('index')) answerHealth(response, 10, five);
  });
  const world = createWorld(t, consul.url);
  world.discovery.start();
  await until(() => consul.questions.length >= 3, 2_000);
  t.equal(consul.questions[2]?.query.has('index'), false, 'the confirming read');
  t.equal(world.sets.length, 1, 'a glitch that the second read does not confirm changes nothing');
  consul.play(steady(five.slice(0, 1), 12));
  consul.hangUp();
  await until(() => world.served() === 'consul 7001', 3_000);
});

t.test('all critical: all are used, and that is said (C12)', async (t) => {
  const consul = await startScriptedConsul(
    t,
    steady([healthEntry('p1', 7001, { status: 'critical' }), healthEntry('p2', 7002, { status: 'critical' })]),
  );
  const world = createWorld(t, consul.url);
  world.discovery.start();
  await world.discovery.ensure('payments');
  t.equal(world.served(), 'consul 7001,7002');
  t.match(world.discovery.status()[0]?.holding, /all 2 endpoints are critical in Consul; using all/);
  t.match(world.events, [{ kind: 'panic', reason: 'all_critical', service: 'payments' }]);
});

t.test('token and datacenter travel as header and query; a token file is read again for each question', async (t) => {
  const consul = await startScriptedConsul(t, (_q, response) => answerHealth(response, 10, two));
  const tokenFile = join(temporaryFolder(t), 'token');
  writeFileSync(tokenFile, 'first\n');
  const world = createWorld(t, consul.url, { access: { token: 'unused', tokenFile, datacenter: 'dc7' } });
  world.discovery.start();
  await world.discovery.ensure('payments');
  writeFileSync(tokenFile, 'second\n');
  await until(() => consul.questions.some(({ headers }) => headers['x-consul-token'] === 'second'), 2_000);
  t.equal(consul.questions[0]?.headers['x-consul-token'], 'first');
  t.equal(consul.questions[0]?.query.get('dc'), 'dc7');
  t.notOk(consul.questions.some(({ query }) => query.has('token')));
});

t.test('static endpoints never ask Consul; without Consul nothing is asked at all', async (t) => {
  const consul = await startScriptedConsul(t, steady(two));
  const upstreams = [{ service: 'legacy', endpoints: [{ host: '10.0.0.7', port: 7001 }] }];
  const world = createWorld(t, consul.url, { upstreams });
  world.discovery.start();
  await world.discovery.ensure('legacy');
  t.equal(world.served('legacy'), 'static 7001');
  t.equal(world.sets[0]?.endpoints[0]?.id, 'legacy@10.0.0.7:7001');
  t.match(world.discovery.status(), [{ service: 'legacy', source: 'static', ageMs: null, state: 'static' }]);
  t.equal(consul.questions.length, 0);
  const alone = createWorld(t, null, { upstreams: [...upstreams, { service: 'payments', endpoints: null }] });
  alone.discovery.start();
  await alone.discovery.ensure('payments');
  t.equal(alone.served('payments'), 'nothing');
});
