// Error budgets through sockets: from reports to the API, to the webhook and over a restart.

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { NO_FAILURES } from '#contract/failures.ts';
import type { EdgeReport, EndpointReport, ServiceReport } from '#contract/frames.ts';
import type { AlertChange, SloView } from '../../control-plane/core/slo/book.ts';
import type { Composed } from '../../control-plane/core/slo/composed.ts';
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

const edge = (requests: number, answered: number, destination = 'payments'): EdgeReport => ({
  direction: 'outbound',
  source: 'orders',
  destination,
  requests,
  successes: requests - answered,
  failures: { ...NO_FAILURES, answered },
  retries: 0,
  inFlight: 0,
});

t.test('reports become a budget, an alert, a webhook, and outlive the control plane', async (t) => {
  const hook = await startHook(t, [200]);
  const folder = t.testdir();
  const slo = { webhooks: [hook.url] };
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

t.test('what policies promise counts service by service, with its origin, and overrides have no say', async (t) => {
  const { url } = await startControlPlane(t);
  const put = (path: string, spec: object) => {
    const [kind, name] = path.split('/');
    const document = { apiVersion: 'outrigger.dev/v1', kind, metadata: { name }, spec };
    return ask(`${url}/v1/policies/${path}`, 'PUT', document);
  };
  t.equal((await put('MeshDefaults/global', { slo: { window: '7d' } })).status, 201);
  t.equal((await put('ServicePolicy/payments', { slo: { target: 99 } })).status, 201);
  const bad = await put('ServicePolicy/carts', { overrides: [{ caller: 'orders', slo: { target: 99 } }] });
  t.match(bad, { status: 422, body: { problems: [{ code: 'OTR_UNKNOWN_KEY', path: 'spec.overrides[0].slo' }] } });
  t.match(await put('ServicePolicy/carts', { slo: { target: 100 } }), {
    status: 422,
    body: { problems: [{ code: 'OTR_RANGE', path: 'spec.slo.target' }] },
  });
  t.equal((await put('ServicePolicy/carts', { slo: { window: '31d' } })).status, 422);
  const edges = [edge(1_000, 4), edge(1_000, 4, 'carts')];
  await ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(1, { startedAtEpochMs: Date.now(), edges }));
  const sevenDays = 7 * 86_400_000;
  const from = { target: 'ServicePolicy/payments', window: 'MeshDefaults/global' };
  const payments = (await ask(`${url}/v1/slo/payments`, 'GET')).body as unknown as SloView;
  t.match(payments, { objective: 0.99, windowMs: sevenDays, from, good: 996, bad: 4 });
  t.equal(payments.budget.left.toFixed(3), '0.600', '4 of 10');
  const carts = (await ask(`${url}/v1/slo/carts`, 'GET')).body as unknown as SloView;
  t.match(carts, { objective: 0.999, windowMs: sevenDays, from: { target: 'default', window: 'MeshDefaults/global' } });
  t.equal(carts.budget.left.toFixed(3), '-3.000', '4 of 1');
  t.match((await ask(`${url}/v1/effective/orders/payments`, 'GET')).body, {
    policy: {
      slo: {
        target: { value: 99, from: { kind: 'ServicePolicy', name: 'payments', revision: 1 } },
        window: { value: '7d', from: { kind: 'MeshDefaults', name: 'global', revision: 1 } },
      },
    },
  });
  t.equal((await put('ServicePolicy/payments', { slo: { target: 90 } })).status, 200);
  t.match((await ask(`${url}/v1/slo/payments`, 'GET')).body, { objective: 0.9 }, 'a change is in force at once');
});

t.test('downtime of a day, a week and a month beside five nines, and what the parts promise', async (t) => {
  const clock = { offset: 0, now: () => performance.now() + clock.offset, epochMs: () => Date.now() + clock.offset };
  const { url } = await startControlPlane(t, { clock });
  const endpoint = (id: string, attempts: number, failures: number): EndpointReport => {
    const quiet = { state: 'serving', weight: 1, inFlight: 0, connections: 0, ewmaMs: null, reason: null } as const;
    return { ...quiet, id, address: '10.0.0.1:1', attempts, failures, ejectedUntilEpochMs: null };
  };
  const seen = { source: 'static', ageMs: null, holding: null, isPanicking: false } as const;
  const startedAtEpochMs = clock.epochMs();
  const say = (agentId: string, sequence: number, service: string, edges: EdgeReport[], services: ServiceReport[]) =>
    ask(
      `${url}/v1/agents/${agentId}/reports`,
      'POST',
      orderReport(sequence, { startedAtEpochMs, service, edges, services }),
    );
  const payments = { ...seen, service: 'payments', endpoints: [endpoint('p1', 100, 1), endpoint('p2', 100, 1)] };
  await say('orders-1', 1, 'orders', [edge(500, 0)], [payments]);
  const orders = { ...seen, service: 'orders', endpoints: [endpoint('o1', 1_000, 1)] };
  await say('web-1', 1, 'web', [{ ...edge(10, 0, 'orders'), source: 'web' }], [orders]);
  // Twelve hours later, reported all the while: one request of a thousand failed.
  let sequence = 1;
  for (let minutes = 0; minutes < 720; minutes += 4) {
    clock.offset += 240_000;
    await say('orders-1', ++sequence, 'orders', [edge(500 + sequence * 10, 0)], [payments]);
  }
  await say('orders-1', ++sequence, 'orders', [edge(10_000, 10)], [payments]);
  const view = (await ask(`${url}/v1/slo/payments`, 'GET')).body as unknown as SloView & { composed: Composed };
  t.match(view, { good: 9_990, bad: 10 });
  t.same(
    view.periods.map(({ name, good, bad, availability, coveredMs, downtimeMs, fiveNinesMs }) => {
      const hours = Math.round(coveredMs / 36_000) / 100;
      return {
        name,
        good,
        bad,
        availability,
        hours,
        downtime: Math.round(downtimeMs / 100) / 10,
        five: Math.round(fiveNinesMs),
      };
    }),
    ['day', 'week', 'month'].map((name) => {
      return { name, good: 9_990, bad: 10, availability: 0.999, hours: 12, downtime: 43.2, five: 432 };
    }),
    '0.1 % of twelve hours is 43.2 s, of which five nines allow 0.43',
  );
  // As of now only agents that report are heard.
  await say('web-1', 2, 'web', [{ ...edge(10, 0, 'orders'), source: 'web' }], [orders]);
  const { composed } = (await ask(`${url}/v1/slo/orders`, 'GET')).body as unknown as { composed: Composed };
  t.same(composed.through, ['payments']);
  t.equal(composed.own?.toFixed(4), '0.9990', 'one endpoint, one of a thousand attempts failed');
  t.equal(composed.path?.toFixed(6), (0.999 * 0.9999).toFixed(6), 'in series with two of 0.99 in parallel');
});

t.test('a total outage at 99.9 % pages through the API after 52 s, give or take a tick, in virtual time', async (t) => {
  const hook = await startHook(t, [200]);
  const started = Date.now();
  // Only the look at the budgets asks for the time when nobody else does anything: so a tick is seen to have happened.
  const clock = { at: 0, asked: 0, now: () => clock.at, epochMs: () => started + clock.at + 0 * clock.asked++ };
  const { url } = await startControlPlane(t, { slo: { webhooks: [hook.url] }, clock, sloLookEveryMs: 5 });
  let sequence = 0;
  let requests = 0;
  let failed = 0;
  const tick = async (ms: number, isOut: boolean): Promise<void> => {
    clock.at += ms;
    // Ten requests a second.
    requests += ms / 100;
    failed += isOut ? ms / 100 : 0;
    const report = orderReport(++sequence, { startedAtEpochMs: started, edges: [edge(requests, failed)] });
    t.equal((await ask(`${url}/v1/agents/orders-1/reports`, 'POST', report)).status, 204);
    const before = clock.asked;
    await until(() => clock.asked >= before + 2, 10_000);
  };
  for (let minutes = 0; minutes < 240; minutes++) await tick(60_000, false);
  t.same(hook.bodies, [], 'nothing while all is well');
  const outageAt = started + clock.at;
  for (let seconds = 0; seconds < 60; seconds += 2) await tick(2_000, true);
  await until(() => hook.bodies.some((text) => text.includes('burn_1h')), 10_000);
  const page = hook.bodies.map((text) => JSON.parse(text) as AlertChange).find(({ alert }) => alert === 'burn_1h');
  const afterMs = (page?.atEpochMs ?? 0) - outageAt;
  t.comment(`paged after ${afterMs} ms of total outage`);
  // The hour's window is between 59 and 60 minutes long.
  t.ok(afterMs >= 52_000 - 1_000 - 2_000 && afterMs <= 52_000 + 2_000, `paged after ${afterMs} ms`);
  const { body } = await ask(`${url}/v1/slo/payments`, 'GET');
  const burns = body.burns as SloView['burns'];
  t.equal(
    burns.find(({ name }) => name === 'burn_1h')?.firingSinceEpochMs,
    page?.atEpochMs,
    'and the API shows since when',
  );
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
