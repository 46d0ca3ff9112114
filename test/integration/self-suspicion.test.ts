// A loop that is blocked for 800 ms of every second, healthy upstreams in another thread, timeouts of 500 ms: nobody is
// ejected. The same without knowing oneself, as a control.

import { Agent, get } from 'node:http';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { Mesh } from '../../agent/mesh/mesh.ts';
import { createProxyListener } from '../../agent/proxy/listener.ts';
import { Pools } from '../../agent/proxy/pools.ts';
import { Metrics } from '../../agent/telemetry/metrics.ts';
import type { SloView } from '../../control-plane/core/slo/book.ts';
import { startAgentInProcess } from '../support/agent-in-process.ts';
import { ask, startControlPlane } from '../support/control-plane-client.ts';
import { type Teardown, until } from '../support/processes.ts';
import { sleep } from '../support/world.ts';

const SPEC = {
  timeouts: { backendRequest: '500ms', request: '5s' },
  retries: { attempts: 0 },
  loadBalancer: { policy: 'roundRobin' },
};

/** Four servers that answer after 50 ms, in a thread of their own. */
const ORIGINS = `
  const { parentPort } = require('node:worker_threads');
  const { createServer } = require('node:http');
  const servers = Array.from({ length: 4 }, () =>
    createServer((request, response) => setTimeout(() => response.end('ok'), 50)).listen(0, '127.0.0.1'));
  Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve)))).then(() =>
    parentPort.postMessage(servers.map((server) => server.address().port)));
`;

async function startOrigins(t: Teardown): Promise<number[]> {
  const worker = new Worker(ORIGINS, { eval: true });
  t.teardown(() => void worker.terminate());
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

/** Requests at about one a millisecond while the loop runs, which it does for 200 ms of every second. */
async function suffer(t: Teardown, port: number, host: string, seconds: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  t.teardown(() => agent.destroy());
  const open = new Set<Promise<void>>();
  for (let second = 0; second < seconds; second++) {
    for (let part = 0; part < 20; part++) {
      for (let n = 0; n < 8; n++) {
        const one = new Promise<void>((resolve) => {
          const call = get({ port, host: '127.0.0.1', headers: { host }, agent }, (response) => {
            response.resume().on('close', resolve);
          });
          call.on('error', () => resolve());
        });
        open.add(one);
        void one.then(() => open.delete(one));
      }
      await sleep(10);
    }
    // From here the loop goes on with its timers, not with what has arrived: deadlines see the time first.
    await new Promise((resolve) => setImmediate(resolve));
    const until = performance.now() + 800;
    while (performance.now() < until);
  }
  await Promise.all(open);
}

t.test('a blocked loop ejects nobody', async (t) => {
  const ports = await startOrigins(t);
  const { url } = await startControlPlane(t);
  const metadata = { name: 'payments' };
  const document = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata, spec: SPEC };
  t.equal((await ask(`${url}/v1/policies/ServicePolicy/payments`, 'PUT', document)).status, 201);
  const agent = await startAgentInProcess(t, 'payments', ports, SPEC, url);
  await suffer(t, agent.outbound, 'payments', 4);
  const metrics = await agent.metrics();
  t.notMatch(metrics, /outrigger_ejections_total\{/);
  const own = Number(/^outrigger_self_timeouts_total (\d+)/m.exec(metrics)?.[1]);
  t.ok(own > 20, `${own} timeouts were its own`);
  t.ok(Number(/^outrigger_self_stalled_seconds_total ([\d.]+)/m.exec(metrics)?.[1]) > 2);
  const budget = async () => (await ask(`${url}/v1/slo/payments`, 'GET')).body as unknown as SloView;
  await until(async () => (await budget()).bad >= own, 10_000);
  const { bad, accounts } = await budget();
  t.ok(accounts.caller >= 0.99 * bad, `${accounts.caller} of ${bad} bad events are booked to the caller`);
  t.comment(`${accounts.caller} of ${bad} bad events are booked to the caller`);
  const events = await agent.events();
  t.match(
    events.find(({ reason }) => reason === 'self_suspect'),
    { text: /^this agent stood still for \d+ %/ },
  );
});

t.test('without knowing itself it ejects healthy endpoints', async (t) => {
  const ports = await startOrigins(t);
  const events: MeshEvent[] = [];
  const mesh = new Mesh({
    caller: 'web',
    clock: systemClock,
    random: systemRandom,
    onEvent: (event) => events.push(event),
    onFault: (fault) => t.fail(String(fault)),
  });
  const metadata = { name: 'payments' };
  const document = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata, spec: SPEC } as const;
  mesh.applyPolicy({ version: 1, nonce: '1', documents: [document] });
  const endpoints = ports.map((port) => {
    const id = `payments@127.0.0.1:${port}`;
    return { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
  });
  mesh.applyEndpoints({ service: 'payments', source: 'static', endpoints });
  const pools = new Pools({ clock: systemClock });
  const metrics = new Metrics();
  const listener = createProxyListener({
    direction: 'outbound',
    address: { host: '127.0.0.1', port: 0 },
    service: 'web',
    route: { kind: 'byHost' },
    mesh,
    pools,
    metrics,
    accessLog: { wants: () => false, write: () => {} },
    clock: systemClock,
    random: systemRandom,
    isDraining: () => false,
  });
  const { port } = await listener.listen();
  t.teardown(async () => {
    await listener.close();
    pools.closeAll();
    metrics.close();
  });
  await suffer(t, port, 'payments', 2);
  const ejections = events.filter(({ kind }) => kind === 'ejection');
  t.ok(ejections.length > 0, `${ejections.length} ejections`);
  t.comment(ejections.map(({ text }) => text).join('\n'));
});
