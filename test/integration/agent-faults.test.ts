// A whole agent process against servers that misbehave: it serves on, says what is wrong and how old its knowledge is, and
// asks no faster than it should.

import { mkdirSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startOrigin } from '../support/origin.ts';
import { freePorts, startNode, type Teardown, temporaryFolder, until } from '../support/processes.ts';
import { answerHealth, healthEntry, type ScriptedConsul, startScriptedConsul } from '../support/scripted-consul.ts';
import { ScriptedControlPlane } from '../support/scripted-control-plane.ts';
import { type AgentProcess, call, Load, sleep, startAgent } from '../support/world.ts';

type Fault = (response: ServerResponse) => void;

/** A Consul that knows two instances and holds blocking questions until it breaks; then every answer is the fault. */
async function startBreakableConsul(
  t: Teardown,
  ports: readonly number[],
): Promise<{ consul: ScriptedConsul; breakWith(fault: Fault): void }> {
  const held: ServerResponse[] = [];
  const consul = await startScriptedConsul(t, ({ query }, response) => {
    if (query.has('index')) held.push(response);
    else answerHealth(response, 100, entries(ports));
  });
  const breakWith = (fault: Fault): void => {
    consul.play((_question, response) => fault(response));
    for (const response of held.splice(0)) fault(response);
  };
  return { consul, breakWith };
}

function entries(ports: readonly number[]): unknown[] {
  return ports.map((port, index) => healthEntry(`p${index}`, port));
}

async function startPayments(t: Test): Promise<number[]> {
  const origins = await Promise.all([startOrigin(t), startOrigin(t)]);
  return origins.map(({ port }) => port);
}

interface Cluster {
  readonly service: string;
  readonly source: string;
  readonly ageMs: number;
  readonly holding: string | null;
  readonly endpoints: readonly unknown[];
}

async function clusterOf({ admin }: AgentProcess, name = 'payments'): Promise<Cluster | undefined> {
  const { body } = await call(`http://127.0.0.1:${admin}/clusters?format=json`);
  return (JSON.parse(body) as Cluster[]).find(({ service }) => service === name);
}

async function ageMetric({ admin }: AgentProcess, name: string): Promise<number> {
  const { body } = await call(`http://127.0.0.1:${admin}/metrics`);
  const line = body.split('\n').find((one) => one.startsWith(`outrigger_discovery_age_seconds{destination="${name}"}`));
  return Number(line?.split(' ')[1]);
}

const caller = { service: 'web', id: 'web-1', appPort: null, upstreams: ['payments'] } as const;
const WATCHED_MS = 5_500;

const FAULTS: Readonly<Record<string, readonly [Fault, RegExp]>> = {
  'empty-list': [(r) => answerHealth(r, 101, []), /no endpoint at all; keeping the 2 known/],
  'lost-state': [(r) => answerHealth(r, 3, []), /keeping the 2 known/],
  html: [(r) => r.writeHead(200, { 'content-type': 'text/html' }).end('<html>'), /X-Consul-Index.*keeping the 2/],
  truncated: [
    (r) => {
      r.writeHead(200, { 'x-consul-index': '101', 'content-length': '999' });
      r.write('[{"Node":', () => r.destroy());
    },
    /broke off after 9 bytes.*keeping the 2/,
  ],
  'status-500': [(r) => r.writeHead(500).end('rpc error'), /500: rpc error.*keeping the 2/],
  'status-403': [(r) => r.writeHead(403).end('Permission denied'), /403: Permission denied.*keeping the 2/],
  'hangs-up': [(r) => r.destroy(), /closed the connection.*keeping the 2/],
};

t.test(
  'a misbehaving Consul is asked twice a second at most; endpoints stay, their age and the reason show',
  async (t) => {
    const ports = await startPayments(t);
    const names = Object.keys(FAULTS);
    let isBroken = false;
    const held = new Map<string, ServerResponse>();
    const consul = await startScriptedConsul(t, ({ path, query }, response) => {
      const name = path.split('/').at(-1) ?? '';
      if (isBroken) FAULTS[name]?.[0](response);
      else if (query.has('index')) held.set(name, response);
      else answerHealth(response, 100, entries(ports));
    });
    const agent = await startAgent({ t, consulUrl: consul.url }, { ...caller, upstreams: names });
    const loads = names.map((name) => new Load(agent.outbound, name, 10));
    await until(() => held.size === names.length, 5_000);
    const before = consul.questions.length;
    isBroken = true;
    for (const [name, response] of held) FAULTS[name]?.[0](response);
    await sleep(WATCHED_MS);
    const asked = consul.questions.slice(before).map(({ path }) => path.split('/').at(-1));
    for (const [index, [name, [, reason]]] of Object.entries(FAULTS).entries()) {
      const times = asked.filter((one) => one === name).length;
      const [cluster, age, load] = [
        await clusterOf(agent, name),
        await ageMetric(agent, name),
        await loads[index]?.stop(),
      ];
      t.same(load?.failures, [], `${name}: ${load?.sent} requests`);
      t.ok((load?.sent ?? 0) > 20, name);
      // Two at once are allowed, then two a second.
      t.ok(times <= 2 + (2 * WATCHED_MS) / 1000, `${name}: asked ${times} times in ${WATCHED_MS} ms`);
      t.ok(times >= 1, `${name}: not given up`);
      t.match(cluster?.holding, reason, name);
      t.equal(cluster?.endpoints.length, 2, name);
      t.ok((cluster?.ageMs ?? 0) >= WATCHED_MS - 500, `${name}: ${cluster?.ageMs} ms old`);
      t.ok(age >= (WATCHED_MS - 500) / 1000, `${name}: the metric says ${age} s`);
    }
  },
);

t.test(
  'Consul absent or silent at the start: the endpoints of the former life serve, and their age goes on',
  async (t) => {
    const ports = await startPayments(t);
    const afterRestart = async (kind: 'absent' | 'silent'): Promise<void> => {
      const { consul, breakWith } = await startBreakableConsul(t, ports);
      const agent = await startAgent({ t, consulUrl: consul.url }, caller);
      await agent.process.end('SIGTERM');
      if (kind === 'absent') consul.close();
      else breakWith(() => undefined);
      await sleep(300);
      const again = await agent.restart();
      const load = new Load(again.outbound, 'payments', 50);
      await sleep(500);
      const { failures, sent } = await load.stop();
      t.same(failures, [], `${kind}: ${sent} requests`);
      const cluster = await clusterOf(again);
      t.match(cluster, { source: 'disk', endpoints: [{}, {}] }, kind);
      t.ok((cluster?.ageMs ?? 0) >= 800, `${kind}: ${cluster?.ageMs} ms old`);
      if (kind === 'absent') t.match(cluster?.holding, /ECONNREFUSED.*keeping the 2 known/);
      await again.process.end('SIGTERM');
    };
    await Promise.all([afterRestart('absent'), afterRestart('silent')]);
  },
);

t.test('Consul absent at the very first start: not ready, and everybody who asks is told why', async (t) => {
  const consul = await startScriptedConsul(t, (_q, response) => response.destroy());
  consul.close();
  const agent = await startAgent({ t, consulUrl: consul.url }, { ...caller, until: 'live' });
  await until(async () => (await clusterOf(agent))?.holding?.includes('ECONNREFUSED') === true, 5_000);
  t.match(await clusterOf(agent), { source: 'none', ageMs: null, holding: /nothing is known yet/, endpoints: [] });
  const ready = await call(`http://127.0.0.1:${agent.admin}/ready`);
  t.match([ready.status, ready.body], [503, /nobody has said yet who serves payments: connect ECONNREFUSED/]);
});

t.test(
  'a pushed policy that does not parse is refused with every problem; the former one serves and the report says so',
  async (t) => {
    const { consul } = await startBreakableConsul(t, await startPayments(t));
    const controlPlane = await new ScriptedControlPlane().start(t);
    const agent = await startAgent({ t, consulUrl: consul.url, controlPlaneUrl: controlPlane.url }, caller);
    const policy = (spec: unknown) => [
      { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name: 'payments' }, spec },
    ];
    await until(() => controlPlane.streams.length > 0, 5_000);
    controlPlane.push(1, policy({ timeouts: { request: '2s', backendRequest: '1s' } }));
    await until(() => controlPlane.acks.some(({ version }) => version === 1), 5_000);
    controlPlane.push(2, policy({ timeouts: { request: 'soon' }, retires: {} }));
    await until(() => controlPlane.acks.some(({ version }) => version === 2), 5_000);
    const [, nack] = controlPlane.acks;
    t.match(nack, { verdict: 'NACK', version: 2, appliedVersion: 1 });
    t.match(nack?.problems.map(({ path }) => path).sort(), [
      'ServicePolicy/payments: spec.retires',
      'ServicePolicy/payments: spec.timeouts.request',
    ]);
    const dump = await call(`http://127.0.0.1:${agent.admin}/config_dump`);
    t.match(dump.body, /"requestMs":2000/);
    const answer = await call(`http://127.0.0.1:${agent.outbound}/`, { headers: { host: 'payments' } });
    t.equal(answer.status, 200);
    await until(() => controlPlane.reports.some(({ policy }) => policy.wantedVersion === 2), 5_000);
    const report = controlPlane.reports.findLast(({ policy }) => policy.wantedVersion === 2);
    t.match(report?.policy, { appliedVersion: 1, problems: [{ code: /OTR_/ }, {}] });
    const refusals = controlPlane.reports
      .flatMap(({ events }) => events)
      .filter(({ reason }) => reason === 'policy_nack');
    t.equal(refusals.length, 1, 'said once');
  },
);

t.test('garbage in the state folder, or no folder to be had: both are said, nothing stops', async (t) => {
  const { consul } = await startBreakableConsul(t, await startPayments(t));
  const garbage = join(temporaryFolder(t), 'state');
  mkdirSync(garbage);
  writeFileSync(join(garbage, 'endpoints.json'), '{"kind":"endpoints"');
  writeFileSync(join(garbage, 'policies.json'), Buffer.from([0, 255, 254]));
  const refusing = join(temporaryFolder(t), 'state');
  writeFileSync(refusing, 'a file where the folder should be refuses root too');
  const worlds = { state_unusable: garbage, state_not_written: refusing };
  const serveWith = async ([reason, stateDir]: readonly [string, string]): Promise<void> => {
    const agent = await startAgent({ t, consulUrl: consul.url }, { ...caller, stateDir });
    await until(
      () => agent.process.output().includes(`"reason":"${reason}"`),
      5_000,
      () => agent.process.output(),
    );
    const answer = await call(`http://127.0.0.1:${agent.outbound}/`, { headers: { host: 'payments' } });
    t.equal(answer.status, 200, reason);
    t.equal(await agent.process.end('SIGTERM'), 0);
  };
  await Promise.all(Object.entries(worlds).map(serveWith));
});

t.test('a wrong configuration is said whole, with places and nearest names, and the exit code is 2', async (t) => {
  const file = join(temporaryFolder(t), 'bad.yaml');
  writeFileSync(
    file,
    'service:\n  name: orders\n  prot: 3000\nlisteners:\n  admin: 127.0.0.1:99999\nlog:\n  level: loud\n',
  );
  const agent = startNode(t, ['cli/main.ts', 'agent', '--config', file]);
  await new Promise((resolve) => agent.child.once('exit', resolve));
  t.equal(agent.child.exitCode, 2);
  const said = agent.output();
  for (const part of [
    /bad\.yaml:3:3/,
    /port/,
    /bad\.yaml:5:10/,
    /127\.0\.0\.1:99999/,
    /bad\.yaml:7:10/,
    /loud/,
    /info/,
  ]) {
    t.match(said, part);
  }
});

t.test('a port that is taken: which key, what to do, exit code 1', async (t) => {
  const server = createServer();
  t.teardown(() => server.close());
  const [taken = 0, free = 0] = await freePorts(2);
  await new Promise<void>((resolve) => server.listen(taken, '127.0.0.1', resolve));
  const file = join(temporaryFolder(t), 'agent.json');
  const listeners = { outbound: `127.0.0.1:${taken}`, admin: `127.0.0.1:${free}` };
  writeFileSync(file, JSON.stringify({ service: { name: 'web' }, listeners, consul: false, controlPlane: false }));
  const agent = startNode(t, ['cli/main.ts', 'agent', '--config', file]);
  await new Promise((resolve) => agent.child.once('exit', resolve));
  t.equal(agent.child.exitCode, 1);
  t.match(agent.output(), `listeners.outbound: cannot listen on 127.0.0.1:${taken}: another process listens there`);
});

t.test('SIGTERM while Consul keeps the start waiting ends in order; a second one ends at once', async (t) => {
  const [appPort = 0] = await freePorts(1);
  const consul = await startScriptedConsul(t, () => undefined);
  const start = () => startAgent({ t, consulUrl: consul.url }, { service: 'web', id: 'web-1', appPort, until: 'live' });
  const [patient, hasty] = await Promise.all([start(), start()]);
  const startedAt = performance.now();
  const ends = [patient.process.end('SIGTERM'), hasty.process.end('SIGTERM')];
  await sleep(300);
  hasty.process.child.kill('SIGTERM');
  t.equal(await ends[1], 1);
  const hastyMs = performance.now() - startedAt;
  t.equal(await ends[0], 0);
  t.ok(hastyMs < performance.now() - startedAt, 'before the orderly one');
  t.notMatch(patient.process.output(), /agent started/);
  t.match(patient.process.output(), /agent stopped/);
});
