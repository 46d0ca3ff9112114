// Slow successes through a real agent: spent from the error budget, booked to the endpoint that is slow, and still successes.

import t from 'tap';
import type { SloView } from '../../control-plane/core/slo/book.ts';
import type { ServiceView } from '../../control-plane/core/views.ts';
import { startAgentInProcess } from '../support/agent-in-process.ts';
import { ask, startControlPlane } from '../support/control-plane-client.ts';
import { OK, startOrigin } from '../support/origin.ts';
import { until } from '../support/processes.ts';
import { call } from '../support/world.ts';

const REQUESTS = 30;
const THRESHOLD_MS = 350;

t.test('a request above the latency threshold is a bad event, of the endpoint that is slow', async (t) => {
  const slow = await startOrigin(t, ({ socket }) => void setTimeout(() => socket.write(OK), 2 * THRESHOLD_MS));
  const quick = [await startOrigin(t), await startOrigin(t)];
  const { url } = await startControlPlane(t);
  const spec = {
    slo: { target: 90, latencyThreshold: `${THRESHOLD_MS}ms` },
    loadBalancer: { policy: 'roundRobin' },
    outlierDetection: { latency: { enforcing: 0 } },
  };
  const document = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name: 'payments' }, spec };
  t.equal((await ask(`${url}/v1/policies/ServicePolicy/payments`, 'PUT', document)).status, 201);
  const ports = [slow, ...quick].map(({ port }) => port);
  const agent = await startAgentInProcess(t, 'payments', ports, spec, url);
  for (let nth = 0; nth < REQUESTS; nth++) {
    const { status } = await call(`http://127.0.0.1:${agent.outbound}/`, { headers: { host: 'payments' } });
    t.equal(status, 200);
  }
  const budget = async () => (await ask(`${url}/v1/slo/payments`, 'GET')).body as unknown as SloView;
  await until(async () => {
    const { good = 0, bad = 0 } = await budget();
    return good + bad === REQUESTS;
  }, 10_000);
  const { bad, accounts, latencyThresholdMs, from } = await budget();
  const asked = slow.requests();
  // A machine that stands still may make a quick one slow.
  t.ok(bad >= asked && bad <= asked + 2, `${bad} bad events, ${asked} answers of the slow one`);
  t.ok(asked >= REQUESTS / 4, `${asked} requests went there`);
  t.equal(latencyThresholdMs, THRESHOLD_MS);
  t.equal(from.latencyThreshold, 'ServicePolicy/payments');
  const services = (await ask(`${url}/v1/services`, 'GET')).body.services as ServiceView[];
  const { availability } = services.find(({ service }) => service === 'payments') ?? {};
  t.match(availability?.life, { good: REQUESTS, valid: REQUESTS }, 'they succeeded all the same');
  await until(
    async () => (await budget()).accounts.instance >= asked,
    10_000,
    () => JSON.stringify(accounts),
  );
});
