// Active health checks of a whole agent against real servers: out after failed checks without any traffic, back after passed
// ones, and what a hanging, a refusing and a silent server look like in the sentence.

import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import t from 'tap';
import type { HealthCheckPolicy } from '#contract/policy/outlier.ts';
import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import { startProbe } from '../../agent/health/probe.ts';
import { startAgentInProcess } from '../support/agent-in-process.ts';
import { freePorts, type Teardown, until } from '../support/processes.ts';
import { endpointAt } from '../support/views.ts';

interface App {
  readonly port: number;
  status: number;
  /** Checks seen, by path and Host. */
  readonly asked: string[];
}

async function startApp(t: Teardown): Promise<App> {
  const asked: string[] = [];
  const server = createServer(({ url, headers }, response) => {
    asked.push(`${url} ${headers.host}`);
    if (app.status > 0) response.writeHead(app.status).end();
  });
  const app = { port: await listen(t, server), status: 200, asked };
  return app;
}

async function listen(t: Teardown, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const CHECK = { type: 'http', path: '/up', interval: '100ms', timeout: '80ms', unhealthyThreshold: 2 };

t.test('an endpoint that fails its checks is out without any traffic, and back when it passes', async (t) => {
  const apps = [await startApp(t), await startApp(t), await startApp(t)];
  const [sick] = apps;
  if (sick === undefined) throw new Error('no application');
  const agent = await startAgentInProcess(
    t,
    'payments',
    apps.map(({ port }) => port),
    { healthCheck: CHECK },
  );
  await until(() => apps.every(({ asked }) => asked.length > 1), 3000);
  t.equal(sick.asked[0], '/up payments');
  sick.status = 503;
  const told = async (kind: string) => (await agent.events()).find((event) => event.kind === kind);
  await until(async () => (await told('ejection')) !== undefined, 3000);
  t.match(await told('ejection'), {
    service: 'payments',
    reason: 'health_check_failed',
    text: new RegExp(
      `^payments@127\\.0\\.0\\.1:${sick.port} ejected for 30 s \\(1st time\\): 2 active health checks failed in a row, last: answered 503; 1 of 3 endpoints out, limit 1$`,
    ),
  });
  const before = sick.asked.length;
  for (let n = 0; n < 20; n++) {
    const answer = await fetch(`http://127.0.0.1:${agent.outbound}/`, { headers: { host: 'payments' } }).catch(
      () => null,
    );
    await answer?.arrayBuffer();
  }
  t.notOk(
    sick.asked.slice(before).some((line) => line.startsWith('/ ')),
    'no request goes there',
  );
  sick.status = 200;
  await until(async () => (await told('reinstatement')) !== undefined, 3000);
  t.match(await told('reinstatement'), { reason: 'health_check_passed', text: /its active health check passes/ });
  t.match(await agent.metrics(), /outrigger_ejections_total\{destination="payments",reason="health_check_failed"\} 1/);
});

t.test('probes', async (t) => {
  const app = await startApp(t);
  const [closed = 0] = await freePorts(1);
  const silent = createTcpServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const address = silent.address();
  const silentPort = typeof address === 'object' && address !== null ? address.port : 0;
  t.teardown(() => silent.close());
  const probe = (port: number, changes: Partial<HealthCheckPolicy> = {}) =>
    startProbe(endpointAt(1, { address: '127.0.0.1', port }), 'payments', {
      ...DEFAULT_POLICY.healthCheck,
      type: 'http',
      timeoutMs: 100,
      ...changes,
    });
  t.same(await probe(app.port).result, { isPassed: true, text: 'answered 200' });
  app.status = 204;
  t.same(await probe(app.port).result, { isPassed: false, text: 'answered 204' });
  t.same(await probe(app.port, { expectedStatuses: [200, 204] }).result, { isPassed: true, text: 'answered 204' });
  t.same(await probe(closed).result, { isPassed: false, text: 'connection refused' });
  t.same(await probe(closed, { type: 'tcp' }).result, { isPassed: false, text: 'connection refused' });
  t.same(await probe(silentPort, { type: 'tcp' }).result, { isPassed: true, text: 'took the connection' });
  t.same(await probe(silentPort).result, { isPassed: false, text: 'no answer within 100 ms' });
  const canceled = probe(silentPort, { timeoutMs: 60_000 });
  canceled.cancel();
  t.same(await canceled.result, { isPassed: false, text: 'canceled' });
});
