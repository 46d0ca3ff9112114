// Three control planes over one Consul, each with a part of the agents: every one of them shows the whole fleet, counts an agent once when
// it moves, leads to any agent's admin API, and is not put out by what others leave lying in Consul.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import type { EndpointReport } from '#contract/frames.ts';
import { SketchRecorder } from '#contract/latency-sketch.ts';
import type { AgentView } from '../../control-plane/core/agent-view.ts';
import type { EdgeTotal, ServiceView } from '../../control-plane/core/views.ts';
import { runCommand } from '../support/command-line.ts';
import { ask, follow, orderReport } from '../support/control-plane-client.ts';
import { type ControlPlaneProcess, startControlPlaneProcess } from '../support/control-plane-process.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

const REPORT_EVERY_MS = 500;
const AGENTS = 6;

/** An agent that reports to one control plane, until it is told of another. */
class Reporter {
  readonly id: string;
  url: string;
  requests: number;
  #sequence = 0;
  readonly #adminUrl: string;
  readonly #startedAtEpochMs = Date.now();
  readonly #latency = new SketchRecorder();
  readonly #pending: object[] = [];

  constructor(index: number, url: string, adminUrl: string) {
    this.id = `orders-${index}`;
    this.url = url;
    this.requests = 100 + index;
    this.#adminUrl = adminUrl;
    // Each agent has its own latencies, so that a quantile of one is none of all.
    for (let count = 0; count < 100; count++) this.#latency.record(10 * (index + 1));
  }

  tell(event: object): void {
    this.#pending.push(event);
  }

  async report(): Promise<void> {
    const counts = { requests: this.requests, successes: this.requests - 1, retries: 2, inFlight: 1 };
    const edge = { direction: 'outbound' as const, source: 'orders', destination: 'payments', ...counts };
    const seen = {
      service: 'payments',
      source: 'consul' as const,
      ageMs: 0,
      holding: null,
      isPanicking: false,
      endpoints: [endpointIn('p1', this.id === 'orders-0' ? 'ejected' : 'serving'), endpointIn('p2', 'serving')],
    };
    const report = orderReport(++this.#sequence, {
      startedAtEpochMs: this.#startedAtEpochMs,
      adminUrl: this.#adminUrl,
      edges: [{ ...edge, latency: this.#latency.sketch() }],
      services: [seen],
      events: this.#pending.splice(0) as never[], // as they come, the API judges them
    });
    await ask(`${this.url}/v1/agents/${this.id}/reports`, 'POST', report).catch(() => null);
  }
}

function endpointIn(id: string, state: EndpointReport['state']): EndpointReport {
  const counts = { weight: 1, inFlight: 0, connections: 0, ewmaMs: null, attempts: 0, failures: 0 };
  return { id, address: '10.0.0.7:80', state, ...counts, reason: null, ejectedUntilEpochMs: null };
}

function startReporting(t: Test, reporters: readonly Reporter[]): void {
  let isOver = false;
  const loop = async (): Promise<void> => {
    while (!isOver) {
      await Promise.all(reporters.map((one) => one.report()));
      await new Promise((resolve) => setTimeout(resolve, REPORT_EVERY_MS));
    }
  };
  const running = loop();
  t.teardown(async () => {
    isOver = true;
    await running;
  });
}

/** An admin API that says which path it was asked for; `/hang` is never answered. */
async function startAdmin(t: Test): Promise<string> {
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    if (request.url !== '/hang')
      response.end(JSON.stringify({ path: request.url, authorization: request.headers.authorization ?? null }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const agentsAt = async (url: string): Promise<AgentView[]> =>
  ((await ask(`${url}/v1/agents?limit=100`, 'GET')).body as unknown as { agents: AgentView[] }).agents; // the API
const edgesAt = async (url: string): Promise<EdgeTotal[]> =>
  ((await ask(`${url}/v1/edges`, 'GET')).body as unknown as { edges: EdgeTotal[] }).edges; // the API
const serviceAt = async (url: string): Promise<ServiceView> =>
  (await ask(`${url}/v1/services/payments`, 'GET')).body as unknown as ServiceView; // the API

/** The first event of the page's stream: everything, with the events that are kept. */
async function stateAt(url: string): Promise<{ events: { text: string; controlPlane: string | null }[] }> {
  const stream = await follow(`${url}/v1/events`);
  const { data } = await stream.next();
  stream.stop();
  return data as { events: { text: string; controlPlane: string | null }[] }; // the API
}

t.test('three control planes show one fleet', { timeout: 110_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  const ports = await freePorts(3);
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  const start = (index: number): Promise<ControlPlaneProcess> =>
    startControlPlaneProcess(t, {
      folder: temporaryFolder(t),
      store: { consul: { url: consul.url } },
      port: ports[index] ?? 0,
    });
  const replicas = await Promise.all([0, 1, 2].map(start));
  const admin = await startAdmin(t);
  const reporters = Array.from({ length: AGENTS }, (_, index) => new Reporter(index, urls[index % 3] ?? '', admin));
  startReporting(t, reporters);
  const said = (): number => reporters.reduce((sum, { requests }) => sum + requests, 0);
  const names = reporters.map(({ id }) => id);

  let last = '';
  const settled = async (at: readonly string[], what: string): Promise<void> => {
    await until(
      async () => {
        const seen = await Promise.all(
          at.map(async (url) => ({ agents: await agentsAt(url), edges: await edgesAt(url) })),
        );
        last = JSON.stringify(
          seen.map(({ agents, edges }) => [agents.map(({ id, state }) => `${id} ${state}`), edges[0]?.requests]),
        );
        return seen.every(
          ({ agents, edges: [edge] }) =>
            JSON.stringify(agents.map(({ id }) => id)) === JSON.stringify(names) &&
            agents.every(({ state }) => state === 'live') &&
            edge?.requests === said() &&
            edge.successes === said() - AGENTS &&
            edge.agents === AGENTS &&
            edge.silentAgents === 0,
        );
      },
      45_000,
      () => `${what}: ${last}, ${said()} were said`,
    );
    t.pass(what);
  };
  await settled(urls, 'each shows all six agents and the sum of their counts');

  const views = await Promise.all(urls.map(serviceAt));
  for (const view of views) {
    t.match(view, { measuredBy: 'outbound', inFlight: AGENTS });
    t.equal(view.availability.life.valid, said());
    t.match(view.endpoints, [
      { id: 'p1', state: 'ejected' },
      { id: 'p2', state: 'serving' },
    ]);
    t.equal(view.endpoints[0]?.observers.length, AGENTS);
    t.equal(view.edges.length, AGENTS);
    t.ok(Math.abs((view.p50Ms ?? 0) - 30) < 1, `the median of all agents' requests: ${view.p50Ms}`);
    t.ok(Math.abs((view.p99Ms ?? 0) - 60) < 2, `and their p99: ${view.p99Ms}`);
  }
  t.equal(
    (await agentsAt(urls[0] ?? '')).filter(({ controlPlane }) => controlPlane === null).length,
    2,
    'two of them report here',
  );

  reporters[0]?.tell({
    atEpochMs: Date.now(),
    kind: 'ejection',
    service: 'payments',
    endpoint: 'p1',
    reason: 'consecutive_5xx',
    text: 'payments p1 was ejected for a test',
  });
  await until(
    async () => {
      const states = await Promise.all(urls.map(stateAt));
      return states.every(({ events }) => events.filter(({ text }) => text.includes('for a test')).length === 1);
    },
    30_000,
    () => 'the event is told by each, once',
  );
  const there = (await stateAt(urls[2] ?? '')).events.find(({ text }) => text.includes('for a test'));
  t.equal(typeof there?.controlPlane, 'string', 'with the host that it was told to');

  const relayed = await ask(`${urls[2]}/v1/agents/orders-0/admin/clusters`, 'GET');
  t.match(relayed, { status: 200, body: { path: '/clusters', authorization: null } }, 'the way to an agent elsewhere');
  t.match(await ask(`${urls[2]}/v1/agents/orders-0/admin/hang`, 'GET'), {
    status: 504,
    body: { code: 'OTR_ERR_AGENT_TIMEOUT' },
  });
  t.match(await ask(`${urls[2]}/v1/agents/orders-9/admin/clusters`, 'GET'), { status: 404 });
  t.match(await ask(`${urls[2]}/v1/agents/orders-0`, 'GET'), { status: 200, body: { id: 'orders-0', report: null } });

  const asked = await runCommand(['endpoints', 'payments', '--agent', 'orders-0', '--control-plane', urls[2] ?? '']);
  t.match(asked, { code: 1, err: /orders-0 reports to the control plane on \S+, which keeps its report/ });
  t.match(await runCommand(['status', '--control-plane', urls[2] ?? '']), { out: /^orders-0 .*\n(.*\n)*orders-5 /m });

  // What nobody can read, and what another release wrote.
  const leave = (key: string, text: string): Promise<Response> =>
    fetch(`${consul.url}/v1/kv/outrigger/board/fleet/${key}`, { method: 'PUT', body: text });
  const envelope = (value: unknown): string => JSON.stringify({ atEpochMs: Date.now() + 20_000, value });
  await leave('garbage', 'not JSON');
  await leave('loose', envelope('not packed'));
  await leave('newer', envelope(gzipSync(JSON.stringify({ form: 2 })).toString('base64')));
  await until(
    () =>
      replicas.every(({ process }) =>
        [
          /fleet\/garbage in Consul was not written/,
          /loose about its agents cannot be unpacked/,
          /newer about its agents is of form 2/,
        ].every((text) => text.test(process.output())),
      ),
    30_000,
    () => replicas.map(({ process }) => process.output().slice(-2_000)).join('\n'),
  );
  await settled(urls, 'they are left out, with a sentence, and nothing else is');

  await replicas[0]?.process.end('SIGKILL');
  for (const reporter of reporters) {
    if (reporter.url === urls[0]) reporter.url = urls[1] ?? '';
    reporter.requests += 50;
  }
  await settled(urls.slice(1), 'its agents have moved, and each is counted once');
  // The dead one's word is forgotten, and with it what only it had counted over its life.
  await until(
    async () => (await serviceAt(urls[1] ?? '')).availability.life.valid < said(),
    60_000,
    () => 'the note of the dead one is gone',
  );
  await settled(urls.slice(1), 'and they stay');
});
