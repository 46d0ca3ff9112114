// One slow endpoint and one that fails every third request, found by comparison: a whole agent, real sockets.

import { Agent, createServer, get } from 'node:http';
import t from 'tap';
import { startAgentInProcess } from '../support/agent-in-process.ts';
import { type Teardown, until } from '../support/processes.ts';

interface App {
  readonly port: number;
  delayMs: number;
  failsEvery: number;
}

async function startApp(t: Teardown): Promise<App> {
  const app = { port: 0, delayMs: 15, failsEvery: 0 };
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    const isFailure = app.failsEvery > 0 && requests % app.failsEvery === 0;
    setTimeout(() => response.writeHead(isFailure ? 500 : 200).end('ok'), app.delayMs);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  app.port = typeof address === 'object' && address !== null ? address.port : 0;
  return app;
}

/** Requests at 200 a second until stopped. */
function load(t: Teardown, port: number): void {
  const agent = new Agent({ keepAlive: true });
  const timer = setInterval(() => {
    const call = get({ port, host: '127.0.0.1', headers: { host: 'payments' }, agent }, (response) =>
      response.resume(),
    );
    call.on('error', () => {});
  }, 5);
  t.teardown(() => {
    clearInterval(timer);
    agent.destroy();
  });
}

t.test(
  'a slow endpoint loses half its weight, then its place; one that fails in between loses its place',
  async (t) => {
    const apps = await Promise.all(Array.from({ length: 5 }, () => startApp(t)));
    const [slow, flaky] = apps;
    if (slow === undefined || flaky === undefined) throw new Error('no application');
    const ports = apps.map(({ port }) => port);
    const agent = await startAgentInProcess(t, 'payments', ports, {
      loadBalancer: { policy: 'roundRobin' },
      retries: { attempts: 0 },
      outlierDetection: { interval: '2s', latency: { window: '300ms', requestVolume: 10 } },
    });
    slow.delayMs = 150;
    load(t, agent.outbound);
    const ejected = async (reason: string) =>
      (await agent.events()).filter((event) => event.kind === 'ejection' && event.reason === reason);
    await until(async () => (await ejected('latency')).length > 0, 10_000);
    flaky.failsEvery = 3;
    await until(async () => (await ejected('robust_success_rate')).length > 0, 10_000);
    const events = await agent.events();
    const summary = (wanted: string) =>
      events.flatMap(({ kind, reason, endpoint }) =>
        kind === wanted ? [`${reason} ${endpoint?.split(':').at(-1)}`] : [],
      );
    t.same(summary('ejection'), [`latency ${slow.port}`, `robust_success_rate ${flaky.port}`]);
    t.ok(summary('detection').includes(`weight_halved ${slow.port}`));
    t.match(await agent.metrics(), /outrigger_detections_total\{destination="payments",reason="weight_halved"\}/);
  },
);
