// Witnessed ejection through sockets: a real agent that never called the endpoint, a real control plane, callers that report.

import t from 'tap';
import type { AdvicePush, AgentReport, EndpointReport } from '#contract/frames.ts';
import { startAgentInProcess } from '../support/agent-in-process.ts';
import { ask, follow, orderReport, startControlPlane } from '../support/control-plane-client.ts';
import { OK, startOrigin } from '../support/origin.ts';
import { until } from '../support/processes.ts';
import { call } from '../support/world.ts';

const UNWELL = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';

interface Shown {
  readonly advisories: readonly { readonly endpoint: string }[];
  readonly suspended: readonly string[];
}

t.test('two callers accuse: an idle agent ejects for advised, and takes it back when they find it well', async (t) => {
  const origins = await Promise.all([startOrigin(t), startOrigin(t), startOrigin(t)]);
  const ports = origins.map(({ port }) => port);
  const controlPlane = await startControlPlane(t);
  const agent = await startAgentInProcess(t, 'payments', ports, {}, controlPlane.url);
  const known = async (): Promise<EndpointReport[]> => {
    const { body } = await ask(`${controlPlane.url}/v1/agents/web-1`, 'GET');
    return (
      (body.report as AgentReport | null)?.services.find(({ service }) => service === 'payments')?.endpoints.slice() ??
      []
    );
  };
  await until(async () => (await known()).length === 3, 10_000);
  const endpoints = await known();
  let sequence = 0;
  const say = async (agentId: string, isAccused: boolean): Promise<void> => {
    const service = { service: 'payments', source: 'static', ageMs: null, holding: null, isPanicking: false } as const;
    const said = endpoints.map((endpoint, index) => {
      const isBad = isAccused && index === 0;
      return { ...endpoint, attempts: 10, failures: 2, isAccused: isBad, failuresInARow: isBad ? 2 : 0 };
    });
    const body = orderReport(++sequence, { services: [{ ...service, endpoints: said }] });
    t.equal((await ask(`${controlPlane.url}/v1/agents/${agentId}/reports`, 'POST', body)).status, 204);
  };
  await say('orders-1', true);
  t.same(((await ask(`${controlPlane.url}/v1/advisories`, 'GET')).body as unknown as Shown).advisories, []);
  await say('orders-2', true);
  await until(async () => (await known())[0]?.state === 'ejected', 10_000);
  const [first] = await known();
  t.equal(first?.isAccused, false, 'advice is not echoed as an accusation');
  const ejection = (await agent.events()).find(({ kind }) => kind === 'ejection');
  t.equal(ejection?.reason, 'advised');
  t.match(
    ejection?.text,
    /^payments@127\.0\.0\.1:\d+ ejected for [\d.]+ s \(1st time\): advised by the control plane: 2 callers failed there, \d+ vouch for it; 1 of 3 endpoints out, limit 1$/,
  );
  t.match(await agent.metrics(), /outrigger_ejections_total\{destination="payments",reason="advised"\} 1/);
  t.match((await ask(`${controlPlane.url}/v1/advisories`, 'GET')).body, {
    advisories: [{ endpoint: first?.id, kind: 'instance' }],
  });
  await Promise.all([say('orders-1', false), say('orders-2', false)]);
  await until(async () => (await known())[0]?.state === 'probing', 20_000);
});

t.test('an agent that blames what others find well is told that it is suspended', async (t) => {
  const controlPlane = await startControlPlane(t);
  const stream = await follow(`${controlPlane.url}/v1/agents/broken-1/stream?service=orders`);
  t.teardown(() => stream.stop());
  t.equal((await stream.next()).event, 'policies');
  let sequence = 0;
  const say = (agentId: string, attempts: number, isAccused: boolean) => {
    const rest = { state: 'serving', weight: 1, inFlight: 0, connections: 0, ewmaMs: null, reason: null } as const;
    const said = ['p0', 'p1'].map((id): EndpointReport => {
      const failures = isAccused ? attempts : 0;
      return {
        ...rest,
        id,
        address: '10.0.0.1:1',
        attempts,
        failures,
        isAccused,
        failuresInARow: failures,
        ejectedUntilEpochMs: null,
      };
    });
    const service = { service: 'payments', source: 'static', ageMs: null, holding: null, isPanicking: false } as const;
    const body = orderReport(++sequence, { services: [{ ...service, endpoints: said }] });
    return ask(`${controlPlane.url}/v1/agents/${agentId}/reports`, 'POST', body);
  };
  await say('broken-1', 5, true);
  for (const attempts of [10, 20]) for (const agentId of ['orders-1', 'orders-2']) await say(agentId, attempts, false);
  const { event, data } = await stream.next();
  t.equal(event, 'advice');
  t.same(data as AdvicePush, { advisories: [], isSuspended: true });
  const { advisories, suspended } = (await ask(`${controlPlane.url}/v1/advisories`, 'GET')).body as unknown as Shown;
  t.same({ advisories, suspended }, { advisories: [], suspended: ['broken-1'] });
});

t.test(
  'a real agent that fails where others are well is suspended, says so, and takes its ejections on again',
  async (t) => {
    const origins = await Promise.all(Array.from({ length: 4 }, () => startOrigin(t, UNWELL)));
    const controlPlane = await startControlPlane(t);
    const ports = origins.map(({ port }) => port);
    // What it ejected before it was suspended is back soon.
    const spec = { retries: { attempts: 0 }, outlierDetection: { baseEjectionTime: '1s' } };
    const document = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name: 'payments' }, spec };
    t.equal((await ask(`${controlPlane.url}/v1/policies/ServicePolicy/payments`, 'PUT', document)).status, 201);
    const agent = await startAgentInProcess(t, 'payments', ports, spec, controlPlane.url);
    const known = async (): Promise<readonly EndpointReport[]> => {
      const { body } = await ask(`${controlPlane.url}/v1/agents/web-1`, 'GET');
      return (
        (body.report as AgentReport | null)?.services.find(({ service }) => service === 'payments')?.endpoints ?? []
      );
    };
    await until(async () => (await known()).length === ports.length, 10_000);
    const endpoints = await known();
    const service = { service: 'payments', source: 'static', ageMs: null, holding: null, isPanicking: false } as const;
    let sequence = 0;
    /** Both call every endpoint well, all the time. */
    const vouch = async (): Promise<void> => {
      sequence++;
      const said = endpoints.map((endpoint) => ({
        ...endpoint,
        attempts: 10 * sequence,
        failures: 0,
        isAccused: false,
      }));
      const body = orderReport(sequence, { services: [{ ...service, endpoints: said }] });
      for (const id of ['orders-1', 'orders-2']) await ask(`${controlPlane.url}/v1/agents/${id}/reports`, 'POST', body);
    };
    const isSuspended = async (): Promise<string | undefined> =>
      /^outrigger_accuser_suspended (\d)/m.exec(await agent.metrics())?.[1];
    const sufferUntil = (suspended: '0' | '1') =>
      until(async () => {
        for (let nth = 0; nth < 8; nth++)
          await call(`http://127.0.0.1:${agent.outbound}/`, { headers: { host: 'payments' } });
        await vouch();
        return (await isSuspended()) === suspended;
      }, 30_000);
    t.equal(await isSuspended(), '0');
    await sufferUntil('1');
    const shown = async (): Promise<Shown> =>
      (await ask(`${controlPlane.url}/v1/advisories`, 'GET')).body as unknown as Shown;
    t.same(await shown(), { advisories: [], suspended: ['web-1'] });
    for (const origin of origins) origin.answer = OK;
    await sufferUntil('0');
    t.same((await shown()).suspended, []);
  },
);
