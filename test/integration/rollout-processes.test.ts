// Staged changes over real processes: a control plane, agents, upstreams that are quick, slow or broken, and traffic. A route to the
// slow or the broken ones, and a delay on purpose, reach one agent and go back by themselves.

import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { ask } from '../support/control-plane-client.ts';
import { freePorts, startNode, temporaryFolder, until } from '../support/processes.ts';
import { Load, startControlPlane } from '../support/world.ts';

const AGENTS = 4;
const CALLS_PER_SECOND = 25;
const DELAY_MS = 200;
const ROUTE = '/v1/policies/HTTPRoute/payments';

/** Answers with its word as the body. */
async function startUpstream(t: Test, word: string, { status = 200, delayMs = 0 } = {}): Promise<string> {
  const server = createServer((_request, response) => {
    setTimeout(() => response.writeHead(status).end(word), delayMs);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function startAgents(
  t: Test,
  url: string,
  upstreams: Readonly<Record<string, readonly string[]>>,
): Promise<number[]> {
  return Promise.all(
    Array.from({ length: AGENTS }, async (_, index) => {
      const [outbound = 0, admin = 0] = await freePorts(2);
      const folder = temporaryFolder(t);
      const config = {
        service: { name: 'orders', id: `orders-${index}`, register: false },
        listeners: { outbound: `127.0.0.1:${outbound}`, admin: `127.0.0.1:${admin}` },
        upstreams: Object.entries(upstreams).map(([service, endpoints]) => ({ service, endpoints })),
        consul: false,
        controlPlane: { url },
        stateDir: `${folder}/state`,
      };
      writeFileSync(`${folder}/agent.json`, JSON.stringify(config));
      const process = startNode(t, ['cli/main.ts', 'agent', '--config', `${folder}/agent.json`]);
      await process.waitFor('agent started', 40_000);
      return outbound;
    }),
  );
}

const route = (rule: object) => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'payments' },
  spec: { parentRefs: [{ kind: 'Service', name: 'payments' }], rules: [rule] },
});

interface Shown {
  readonly state: string;
  readonly reason: string;
  readonly stage: number;
}

t.test(
  'a change that makes requests slow, or breaks them, reaches one agent of four',
  { timeout: 115_000 },
  async (t) => {
    const quick = await Promise.all([startUpstream(t, 'quick'), startUpstream(t, 'quick')]);
    const slow = await startUpstream(t, 'slow', { delayMs: DELAY_MS });
    const broken = await startUpstream(t, 'broken', { status: 500 });
    const { url } = await startControlPlane(t);
    const ports = await startAgents(t, url, { payments: quick, 'payments-slow': [slow], 'payments-broken': [broken] });
    const loads = ports.map((port) => new Load(port, 'payments', CALLS_PER_SECOND));
    t.teardown(() => Promise.all(loads.map((load) => load.stop())));
    const shown = async (): Promise<Shown> => (await ask(`${url}/v1/rollouts`, 'GET')).body.rollout as Shown;
    const trials = async (): Promise<string[]> => {
      const { body } = await ask(`${url}/v1/agents`, 'GET');
      const agents = body.agents as { id: string; policy: { isTrial: boolean } }[];
      return agents.filter(({ policy }) => policy.isTrial).map(({ id }) => id);
    };
    await until(
      async () => ((await ask(`${url}/v1/agents`, 'GET')).body.agents as unknown[]).length === AGENTS,
      20_000,
    );

    /** Puts the route in stages until it goes back. @returns the agents that ever had it, why it went back, and after how long */
    const halted = async (
      rule: object,
    ): Promise<{ readonly touched: readonly string[]; readonly reason: string; readonly ms: number }> => {
      const startedAt = performance.now();
      const put = await ask(`${url}${ROUTE}?rollout=staged&soak=60s`, 'PUT', route(rule));
      t.equal(put.status, 201);
      const touched = new Set<string>();
      let last = '';
      await until(
        async () => {
          for (const agentId of await trials()) touched.add(agentId);
          const rollout = await shown();
          last = JSON.stringify(rollout);
          return rollout.state === 'halted';
        },
        40_000,
        () => last,
      );
      const ms = Math.round(performance.now() - startedAt);
      t.equal((await ask(`${url}${ROUTE}`, 'GET')).status, 404, 'there was none before, and there is none after');
      await until(async () => (await trials()).length === 0, 10_000);
      return { touched: [...touched], reason: (await shown()).reason, ms };
    };
    /** Agents that gave their application something else than a quick answer, so far. */
    const hurt = (): number[] =>
      loads.flatMap((load, index) =>
        Object.keys(load.answered()).some((word) => word === 'slow') || load.failures().length > 0 ? [index] : [],
      );

    const bySlowness = await halted({ name: 'all', backendRefs: [{ name: 'payments-slow' }] });
    t.comment(`slow upstream: ${bySlowness.touched} had it for ${bySlowness.ms} ms: ${bySlowness.reason}`);
    t.match(
      bySlowness.reason,
      /^Half of the requests of orders takes more than \d{3}\.\d ms where it is in force, \d+\.\d ms elsewhere\.$/,
    );
    t.equal(bySlowness.touched.length, 1, `1 of ${AGENTS} agents had it`);
    t.same(
      hurt().map((index) => `orders-${index}`),
      bySlowness.touched,
      'and no application of another one noticed',
    );

    const byFault = await halted({
      name: 'all',
      filters: [{ type: 'FaultInjection', faultInjection: { delay: { duration: `${DELAY_MS}ms` } } }],
    });
    t.comment(`injected delay: ${byFault.touched} had it for ${byFault.ms} ms: ${byFault.reason}`);
    t.match(byFault.reason, /^Half of the requests of orders takes more than \d{3}\.\d ms where it is in force/);
    t.equal(byFault.touched.length, 1);

    t.same(
      loads.flatMap((load) => load.failures()),
      [],
      'nothing failed so far',
    );
    const byFailure = await halted({ name: 'all', backendRefs: [{ name: 'payments-broken' }] });
    t.comment(`broken upstream: ${byFailure.touched} had it for ${byFailure.ms} ms: ${byFailure.reason}`);
    t.match(byFailure.reason, /^\d+\.\d % of \d+ requests failed where it is in force, 0\.0 % elsewhere\.$/);
    t.equal(byFailure.touched.length, 1);
    const failing = loads.flatMap((load, index) => (load.failures().length > 0 ? [`orders-${index}`] : []));
    t.same(failing, byFailure.touched, 'and no application of another one noticed');

    const good = await ask(
      `${url}${ROUTE}?rollout=staged&soak=2s`,
      'PUT',
      route({ name: 'all', timeouts: { request: '9s' } }),
    );
    t.equal(good.status, 201);
    await until(async () => (await shown()).state === 'completed', 40_000);
    t.pass('and a good change goes through');
  },
);
