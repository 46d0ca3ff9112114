// Error budgets through sockets: from reports to the API, to the webhook and over a restart.

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { NO_FAILURES } from '#contract/failures.ts';
import type { EdgeReport } from '#contract/frames.ts';
import type { AlertChange } from '../../control-plane/core/slo/book.ts';
import { Webhooks } from '../../control-plane/push/webhooks.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';
import { until } from '../support/processes.ts';

interface Teardown {
  teardown(run: () => unknown): unknown;
}

interface Hook {
  readonly url: string;
  readonly bodies: string[];
}

/** Answers with the statuses in turn, the last one for ever. */
async function startHook(t: Teardown, statuses: readonly number[], location = ''): Promise<Hook> {
  const bodies: string[] = [];
  const server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += String(chunk);
    });
    request.on('end', () => {
      const status = statuses[Math.min(bodies.length, statuses.length - 1)] ?? 200;
      bodies.push(body);
      response.writeHead(status, location === '' ? {} : { location }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/alerts`, bodies };
}

const edge = (requests: number, answered: number): EdgeReport => ({
  direction: 'outbound',
  source: 'orders',
  destination: 'payments',
  requests,
  successes: requests - answered,
  failures: { ...NO_FAILURES, answered },
  retries: 0,
  inFlight: 0,
});

t.test('reports become a budget, an alert, a webhook, and outlive the control plane', async (t) => {
  const hook = await startHook(t, [200]);
  const folder = t.testdir();
  const slo = { objective: 0.999, webhooks: [hook.url] };
  const first = await startControlPlane(t, { folder, slo });
  const startedAtEpochMs = Date.now() + 1_000;
  const send = (url: string, sequence: number, requests: number, answered: number) =>
    ask(
      `${url}/v1/agents/orders-1/reports`,
      'POST',
      orderReport(sequence, { startedAtEpochMs, edges: [edge(requests, answered)] }),
    );
  t.equal((await send(first.url, 1, 1_000, 0)).status, 204);
  t.equal((await send(first.url, 2, 1_100, 100)).status, 204);
  const { body } = await ask(`${first.url}/v1/slo/payments`, 'GET');
  t.match(body, { good: 1_000, bad: 100, accounts: { service: 100 }, measuredBy: 'outbound', objective: 0.999 });
  await until(() => hook.bodies.length >= 2, 10_000);
  const alerts = hook.bodies.map((text) => JSON.parse(text) as AlertChange);
  t.match(
    alerts.find(({ alert }) => alert === 'burn_1h'),
    { service: 'payments', state: 'firing', severity: 'page' },
  );
  t.match((await ask(`${first.url}/v1/slo`, 'GET')).body, { slos: [{ service: 'payments' }] });
  t.equal((await ask(`${first.url}/v1/slo/unheard`, 'GET')).status, 404);
  await first.stop();
  const second = await startControlPlane(t, { folder, slo });
  t.match((await ask(`${second.url}/v1/slo/payments`, 'GET')).body, { good: 1_000, bad: 100 });
});

t.test('a webhook is tried again a few times, and never leads elsewhere', async (t) => {
  const elsewhere = await startHook(t, [200]);
  const leading = await startHook(t, [307], elsewhere.url);
  const slow = await startHook(t, [500, 503, 200]);
  const faults: string[] = [];
  const urls = [leading.url, slow.url];
  const webhooks = new Webhooks({ urls, onFault: (text) => faults.push(text), pausesMs: [5, 5, 5] });
  t.teardown(() => webhooks.stop());
  const atEpochMs = Date.now();
  webhooks.send({ service: 'payments', alert: 'burn_1h', severity: 'page', state: 'firing', atEpochMs, text: 'x' });
  await until(() => faults.length === 1 && slow.bodies.length === 3, 10_000);
  t.match(faults[0], /burn_1h of payments was given up: the webhook answered 307/);
  t.equal(leading.bodies.length, 4);
  t.equal(elsewhere.bodies.length, 0);
});
