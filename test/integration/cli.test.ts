// Commands against a real control plane, with agents that are played by this file: they report, read their stream and answer.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { AgentReport, EndpointReport, PolicyPush } from '#contract/frames.ts';
import { runCommandLine } from '../../cli/program.ts';
import type { Terminal } from '../../cli/terminal.ts';
import { createControlPlane } from '../../control-plane/control-plane.ts';

const POLICY =
  'apiVersion: outrigger.dev/v1\nkind: ServicePolicy\nmetadata: { name: payments }\nspec: { timeouts: { request: 2s } }\n';

interface World {
  readonly url: string;
  readonly folder: string;
  run(...args: string[]): Promise<{ code: number; out: string; err: string }>;
  /** `policy lint`, which knows no control plane. */
  lint(...args: string[]): Promise<{ code: number; out: string; err: string }>;
  /** Connects an agent that gives the same verdict on every push. */
  connect(id: string, service: string, verdict: 'ACK' | 'NACK', endpoints?: readonly EndpointReport[]): Promise<void>;
}

async function createWorld(t: Test): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-cli-'));
  const controlPlane = createControlPlane({
    config: {
      listen: { host: '127.0.0.1', port: 0 },
      store: { kind: 'sqlite', path: join(folder, 'policies.db') },
      registry: null,
      auth: null,
      log: { level: 'silent' },
    },
  });
  const ending = new AbortController();
  const { url } = await controlPlane.start();
  t.teardown(async () => {
    ending.abort();
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    url,
    folder,
    run: (...args) => runHere([...args, '--control-plane', url]),
    lint: (...args) => runHere(['policy', 'lint', ...args]),
    async connect(id, service, verdict, endpoints = []) {
      const response = await fetch(`${url}/v1/agents/${id}/stream`, { signal: ending.signal });
      void answerPushes(url, id, verdict, response).catch(() => {}); // ends with the world
      await post(`${url}/v1/agents/${id}/reports`, reportOf(service, endpoints));
    },
  };
}

async function runHere(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const terminal: Terminal = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    isInteractive: false,
    hasColours: false,
    columns: 0,
    env: {},
    epochMs: () => Date.now(),
    exitCode: 0,
  };
  const code = await runCommandLine(args, terminal);
  return { code, out, err };
}

async function answerPushes(url: string, id: string, verdict: 'ACK' | 'NACK', response: Response): Promise<void> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const data = /^data: ?(.*)$/m.exec(block)?.[1];
      if (data === undefined || !block.includes('event: policies')) continue;
      const { version, nonce } = JSON.parse(data) as PolicyPush; // the contract of the stream
      const problems = verdict === 'ACK' ? [] : [{ code: 'OTR_RANGE', path: 'spec.timeouts', message: 'is too short' }];
      const appliedVersion = verdict === 'ACK' ? version : 0;
      await post(`${url}/v1/agents/${id}/acks`, { version, nonce, verdict, appliedVersion, problems });
    }
  }
}

async function post(url: string, body: unknown): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
}

function reportOf(service: string, endpoints: readonly EndpointReport[]): AgentReport {
  const edge = { requests: 1000, successes: 999, retries: 4, inFlight: 1, latency: [356, 1000] };
  return {
    sequence: 1,
    sentAtEpochMs: Date.now(),
    startedAtEpochMs: Date.now() - 65_000,
    service,
    softwareVersion: '0.1.0',
    adminUrl: 'http://127.0.0.1:15000',
    isReady: true,
    isDraining: false,
    policy: { appliedVersion: 0, wantedVersion: 0, problems: [] },
    services:
      endpoints.length === 0
        ? []
        : [{ service: 'payments', source: 'consul', ageMs: 1500, holding: null, isPanicking: false, endpoints }],
    edges: [{ direction: 'outbound', source: service, destination: 'payments', ...edge }],
    events: [],
    eventsDropped: 0,
  };
}

const WELL: EndpointReport = {
  id: 'payments@payments-1@10.0.0.7:7001',
  address: '10.0.0.7:7001',
  state: 'serving',
  weight: 1,
  inFlight: 2,
  connections: 3,
  ewmaMs: 4.2,
  attempts: 200,
  failures: 1,
  reason: null,
  ejectedUntilEpochMs: null,
};
const OUT: EndpointReport = {
  ...WELL,
  id: 'payments@payments-3@10.0.0.8:7001',
  address: '10.0.0.8:7001',
  state: 'ejected',
  failures: 100,
  reason: 'payments-3@10.0.0.8:7001 ejected 5 s (1st time): 5 consecutive 500',
  ejectedUntilEpochMs: Date.now() + 3_600_000,
};

t.test('policy apply stores a document and counts the agents that have it', async (t) => {
  const world = await createWorld(t);
  const file = join(world.folder, 'policy.yaml');
  writeFileSync(file, POLICY);
  t.match(await world.run('policy', 'list'), { code: 0, out: /no policies are stored/ });
  t.match(await world.run('policy', 'apply', '-f', file), { code: 0, out: /version 1, no agent is connected/ });

  await world.connect('orders-1', 'orders', 'ACK');
  await world.connect('orders-2', 'orders', 'ACK');
  writeFileSync(file, POLICY.replace('2s', '3s'));
  const applied = await world.run('policy', 'apply', '-f', file);
  t.equal(applied.code, 0);
  t.match(applied.out, /^ServicePolicy\/payments applied: version 2, 2 of 2 agents acknowledged in \d+ ms\n$/);

  t.match(await world.run('policy', 'get', 'servicepolicy/payments'), {
    code: 0,
    out: /^apiVersion: [\s\S]*request: 3s/,
  });
  t.match(await world.run('policy', 'list'), { out: /KIND .*\nServicePolicy +payments +2 / });
  const stale = await world.run('policy', 'apply', '-f', file, '--if-revision', '1');
  t.match(stale, { code: 1, err: /is at revision 2[\s\S]*next .*policy get/ });
  t.match(await world.run('policy', 'delete', 'ServicePolicy/payments', '--if-revision', '2'), {
    code: 0,
    out: /^ServicePolicy\/payments deleted: version 3, 2 of 2 agents/,
  });
  t.match(await world.run('policy', 'get', 'ServicePolicy/payments'), {
    code: 1,
    err: /there is no ServicePolicy\/payments/,
  });
});

t.test('an agent that rejects a policy makes apply and status fail, with the reason', async (t) => {
  const world = await createWorld(t);
  await world.connect('orders-1', 'orders', 'NACK');
  const file = join(world.folder, 'policy.yaml');
  writeFileSync(file, POLICY);
  t.match(await world.run('policy', 'apply', '-f', file), { code: 1, out: /0 of 1 agents[\s\S]*1 rejected it/ });
  t.match(await world.run('status'), {
    code: 1,
    out: /orders-1: rejected policy version 1, keeps 0: spec.timeouts: is too short/,
  });
});

t.test('status shows each agent on one line, in every format', async (t) => {
  const world = await createWorld(t);
  t.match(await world.run('status'), { code: 0, out: /no agent has connected yet/ });
  await world.connect('orders-1', 'orders', 'ACK', [WELL, OUT]);
  for (let tries = 0; tries < 100 && !(await world.run('status')).out.includes('0/0'); tries++) await sleep(20);
  const table = await world.run('status');
  t.match(table.out, /^AGENT +SERVICE +READY +POLICY +DISCOVERY +RPS +SUCCESS +P99 +OUT\n/);
  t.match(table.out, /orders-1 +orders +yes +0\/0 +consul 1s .* 37 ms +1\/2\n/);
  t.equal(table.code, 0);
  t.match(JSON.parse((await world.run('status', '-o', 'json')).out), [{ id: 'orders-1', ejected: 1, known: 2 }]);
  t.match((await world.run('status', '-o', 'yaml')).out, /^- id: orders-1\n/);
  t.match((await world.run('status', '-o', 'wide')).out, 'http://127.0.0.1:15000');
});

t.test('endpoints shows the state of each endpoint and the sentence of an ejection', async (t) => {
  const world = await createWorld(t);
  await world.connect('orders-1', 'orders', 'ACK', [WELL, OUT]);
  await world.connect('orders-2', 'orders', 'ACK', [
    WELL,
    { ...OUT, state: 'serving', reason: null, ejectedUntilEpochMs: null },
  ]);
  const all = await world.run('endpoints', 'payments');
  t.equal(all.code, 1, 'an ejected endpoint is a problem');
  t.match(all.out, /payments-1 +10\.0\.0\.7:7001 +serving +4\.2 ms +99\.50 % +- +all 2\n/);
  t.match(all.out, /payments-3 +10\.0\.0\.8:7001 +ejected .* in \d+\.\d s +orders-1\n/);
  t.match(all.out, /\n\npayments-3@10\.0\.0\.8:7001 ejected 5 s \(1st time\): 5 consecutive 500\n$/);
  t.match(await world.run('endpoints', 'payments', '--agent', 'orders-2'), { code: 0, out: /payments-3 .* serving/ });
  const own = await world.run('endpoints', 'orders');
  t.same(
    [own.code, own.out],
    [0, 'no agent calls orders, so nobody watches its endpoints\n'],
    'which says nothing of orders',
  );
  t.match(await world.run('endpoints', 'paymnets'), { code: 1, err: /next .*outrigger endpoints payments/ });
});

t.test('wide tables have the rest', async (t) => {
  const world = await createWorld(t);
  await world.connect('orders-1', 'orders', 'ACK', [WELL, OUT]);
  t.match((await world.run('status', '-o', 'wide')).out, /UPTIME +ADMIN\n/);
  t.match(
    (await world.run('endpoints', 'payments', '-o', 'wide')).out,
    /WEIGHT +STATE +INFLIGHT .* CONNECTIONS .* ID\n/,
  );
});

t.test('policy lint finds what is wrong in one document and between two, at its line, and asks nobody', async (t) => {
  const world = await createWorld(t);
  const file = join(world.folder, 'policy.yaml');
  writeFileSync(file, POLICY);
  const well = await world.lint('-f', file);
  t.same([well.code, well.out], [0, `ServicePolicy/payments is well  ${file}\n`]);
  t.same(JSON.parse((await world.lint('-f', file, '-o', 'json')).out), [{ id: 'ServicePolicy/payments', file }]);
  writeFileSync(file, POLICY.replace('request', 'requset'));
  t.match(await world.lint('-f', file), { code: 2, err: /policy\.yaml:4:21[\s\S]*did you mean request/i });
  const route =
    'apiVersion: outrigger.dev/v1\nkind: HTTPRoute\nmetadata: { name: payments }\nspec:\n' +
    '  parentRefs: [{ kind: Service, name: payments }]\n  rules:\n    - backendRefs: [{ name: payments, subset: v9 }]\n';
  writeFileSync(file, `${POLICY}---\n${route}`);
  t.match(await world.lint('-f', file), { code: 2, err: /policy\.yaml:12:\d+[\s\S]*v9/ });
});

t.test('policy apply --staged begins a rollout that policy rollout shows, pauses and aborts', async (t) => {
  const world = await createWorld(t);
  t.match(await world.run('policy', 'rollout'), { code: 0, out: /no change was ever rolled out/ });
  t.match(await world.run('policy', 'rollout', 'abort'), { code: 1, err: /no rollout is under way/ });
  await world.connect('orders-1', 'orders', 'ACK');
  const file = join(world.folder, 'policy.yaml');
  writeFileSync(file, POLICY);
  t.match(await world.run('policy', 'apply', '-f', file, '--soak', '5m'), {
    code: 2,
    err: /--soak goes with --staged/,
  });
  t.match(await world.run('policy', 'apply', '-f', file, '--staged', '--soak', '5m'), {
    code: 0,
    out: /^ServicePolicy\/payments goes out in stages: version 1\nsee .*rollout --watch\nstop .*rollout abort\n$/,
  });
  t.match(await world.run('policy', 'rollout'), {
    code: 0,
    out: /^ServicePolicy\/payments {2}running, stage 1 of 4: one agent\n/,
  });
  t.match(await world.run('policy', 'rollout', 'pause'), { code: 0, out: /paused, stage 1 of 4/ });
  t.match(JSON.parse((await world.run('policy', 'rollout', '-o', 'json')).out), { state: 'paused', stage: 0 });
  t.match(await world.run('policy', 'rollout', 'resume'), { code: 0, out: /running/ });
  t.match(await world.run('policy', 'apply', '-f', file), { code: 1, err: /rollout .* is running/ });
  t.match(await world.run('policy', 'rollout', 'abort'), { code: 0, out: /aborted/ });
  t.match(await world.run('policy', 'get', 'ServicePolicy/payments'), { code: 1 });
  t.match(await world.run('policy', 'rollout', 'stop'), { code: 2, err: /pause, resume, abort/ });
});
