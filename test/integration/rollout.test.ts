// Staged changes through a whole control plane: to one agent, to more, to all, back by themselves, and under an operator's hand.

import { Agent as HttpAgent } from 'node:http';
import t, { type Test } from 'tap';
import type { EdgeReport, PolicyPush } from '#contract/frames.ts';
import { SketchRecorder } from '#contract/latency-sketch.ts';
import { SimulatedAgent } from '../../bench/fleet/simulated-agent.ts';
import { ask, startControlPlane } from '../support/control-plane-client.ts';
import { temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

const PAYMENTS = '/v1/policies/ServicePolicy/payments';
const REPORT_EVERY_MS = 200;
/** Calls of one agent between two reports. */
const CALLS = 20;

function document(request: string, name = 'payments') {
  return { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name }, spec: { timeouts: { request } } };
}

/** The request timeout of payments in a set, null where there is none. */
function timeoutIn(push: PolicyPush | null): string | null {
  const policy = push?.documents.find(({ metadata }) => metadata.name === 'payments');
  const timeouts = policy?.spec.timeouts as { request: string } | undefined;
  return timeouts?.request ?? null;
}

interface Fleet {
  readonly agents: readonly SimulatedAgent[];
  /** Agents that ever had this request timeout. */
  touchedBy(request: string): number;
  having(request: string | null): number;
}

/** Agents that call payments; every call fails while the timeout is 1 ms, and takes 300 ms in place of 5 while it is 7 s. */
function startFleet(
  t: Test,
  urls: readonly string[],
  count: number,
  refuses: (index: number) => boolean = () => false,
): Fleet {
  const connections = new HttpAgent({ keepAlive: true, maxSockets: 8 });
  const touched = new Map<string, Set<number>>();
  const agents = Array.from({ length: count }, (_, index) => {
    let requests = 0;
    let successes = 0;
    const latency = new SketchRecorder();
    const edges = (): EdgeReport[] => {
      requests += CALLS;
      successes += timeoutIn(agent.push) === '1ms' ? 0 : CALLS;
      for (let call = 0; call < CALLS; call++) latency.record(timeoutIn(agent.push) === '7s' ? 300 : 5);
      const none = { retries: 0, inFlight: 0, latency: latency.sketch() };
      return [{ direction: 'outbound', source: 'orders', destination: 'payments', requests, successes, ...none }];
    };
    const agent: SimulatedAgent = new SimulatedAgent({
      urls: [...urls.slice(index % urls.length), ...urls.slice(0, index % urls.length)],
      id: `orders-${index}`,
      service: 'orders',
      connections,
      random: () => 0.5,
      edges,
      judge: (push) => {
        const timeout = timeoutIn(push);
        if (timeout !== null) touched.set(timeout, (touched.get(timeout) ?? new Set()).add(index));
        if (timeout !== '3s' || !refuses(index)) return { verdict: 'ACK', problems: [] };
        const problem = { code: 'OTR_RANGE', path: 'ServicePolicy/payments: spec', message: 'is too much' } as const;
        return { verdict: 'NACK', problems: [problem] };
      },
    });
    agent.start();
    return agent;
  });
  const timer = setInterval(() => {
    for (const agent of agents) void agent.report();
  }, REPORT_EVERY_MS);
  t.teardown(() => {
    clearInterval(timer);
    for (const agent of agents) agent.stop();
    connections.destroy();
  });
  return {
    agents,
    touchedBy: (request) => touched.get(request)?.size ?? 0,
    having: (request) => agents.filter(({ push }) => timeoutIn(push) === request).length,
  };
}

interface Shown {
  readonly id: string;
  readonly state: string;
  readonly reason: string;
}

async function rolloutAt(url: string): Promise<Shown | null> {
  return (await ask(`${url}/v1/rollouts`, 'GET')).body.rollout as Shown | null;
}

async function untilState(url: string, state: string, timeoutMs = 30_000): Promise<void> {
  let last = '';
  await until(
    async () => {
      const rollout = await rolloutAt(url);
      last = JSON.stringify(rollout);
      return rollout?.state === state;
    },
    timeoutMs,
    () => last,
  );
}

const AGENTS = 40;

t.test('a change that breaks requests reaches one agent and goes back by itself', { timeout: 60_000 }, async (t) => {
  const { url } = await startControlPlane(t);
  t.equal((await ask(`${url}${PAYMENTS}`, 'PUT', document('2s'))).status, 201);
  const fleet = startFleet(t, [url], AGENTS);
  await until(() => fleet.having('2s') === AGENTS, 10_000);
  const put = await ask(`${url}${PAYMENTS}?rollout=staged&soak=10s`, 'PUT', document('1ms'));
  t.match(put, { status: 200, body: { revision: 2, version: 2 } });
  await untilState(url, 'halted');
  t.match(
    (await rolloutAt(url))?.reason,
    /^(?:[5-9]\d|100)\.\d % of \d+ requests failed where it is in force, 0\.0 % elsewhere\.$/,
  );
  await until(() => fleet.having('2s') === AGENTS, 10_000);
  t.equal(fleet.touchedBy('1ms'), 1, `1 of ${AGENTS} agents had it`);
  const { body } = await ask(`${url}${PAYMENTS}`, 'GET');
  t.match(body, { revision: 3, author: 'rollout', document: document('2s') });
  t.match(body.message, /requests failed where it is in force/);
  // A push is there before its verdict is.
  await until(async () => {
    const listed = (await ask(`${url}/v1/agents`, 'GET')).body.agents as { policy: { isInSync: boolean } }[];
    return listed.filter(({ policy }) => policy.isInSync).length === AGENTS;
  }, 10_000);
});

t.test(
  'a change that makes requests slow reaches one agent of 40 and goes back by itself',
  { timeout: 60_000 },
  async (t) => {
    const { url } = await startControlPlane(t);
    const fleet = startFleet(t, [url], AGENTS);
    await until(() => fleet.agents.every(({ push }) => push !== null), 10_000);
    t.equal((await ask(`${url}${PAYMENTS}?rollout=staged&soak=30s`, 'PUT', document('7s'))).status, 201);
    await untilState(url, 'halted');
    t.match(
      (await rolloutAt(url))?.reason,
      /^Half of the requests of orders takes more than [23]\d\d\.\d ms where it is in force, [45]\.\d ms elsewhere\.$/,
    );
    await until(() => fleet.having(null) === AGENTS, 10_000);
    t.equal(fleet.touchedBy('7s'), 1, `1 of ${AGENTS} agents had it`);
  },
);

t.test('in a fleet of one the minute before is compared with', { timeout: 60_000 }, async (t) => {
  const { url } = await startControlPlane(t);
  const fleet = startFleet(t, [url], 1);
  await until(async () => {
    const services = (await ask(`${url}/v1/services`, 'GET')).body.services as {
      availability: { life: { valid: number } };
    }[];
    return services.some(({ availability }) => availability.life.valid >= 10 * CALLS);
  }, 20_000);
  t.equal((await ask(`${url}${PAYMENTS}?rollout=staged&soak=30s`, 'PUT', document('7s'))).status, 201);
  await untilState(url, 'halted');
  t.match((await rolloutAt(url))?.reason, /^Half of the requests .* in force, [45]\.\d ms in the minute before\.$/);
  await until(() => fleet.having(null) === 1, 10_000);
});

t.test(
  'a good change goes to one, to a tenth, to half, to all; other policies go to everybody meanwhile',
  { timeout: 90_000 },
  async (t) => {
    const { url } = await startControlPlane(t);
    const fleet = startFleet(t, [url], AGENTS);
    await until(() => fleet.agents.every(({ push }) => push !== null), 10_000);
    const put = await ask(`${url}${PAYMENTS}?rollout=staged&soak=2s`, 'PUT', document('3s'));
    t.match(put, { status: 201, body: { version: 1 } });
    const seen = new Set<number>();
    await until(() => {
      seen.add(fleet.having('3s'));
      return fleet.having('3s') === 1;
    }, 10_000);
    const listed = (await ask(`${url}/v1/agents`, 'GET')).body.agents as { policy: { isTrial: boolean } }[];
    t.equal(listed.filter(({ policy }) => policy.isTrial).length, 1, 'the list of agents shows who has it');
    t.match(await ask(`${url}${PAYMENTS}`, 'PUT', document('9s')), { status: 409, body: { code: 'OTR_ERR_ROLLOUT' } });
    const second = await ask(`${url}/v1/policies/ServicePolicy/carts?rollout=staged`, 'PUT', document('9s', 'carts'));
    t.equal(second.status, 409, 'one rollout at a time');
    t.equal((await ask(`${url}/v1/policies/ServicePolicy/carts`, 'PUT', document('9s', 'carts'))).status, 201);
    const hasCarts = ({ push }: SimulatedAgent) =>
      push?.documents.some(({ metadata }) => metadata.name === 'carts') === true;
    await until(() => fleet.agents.every(hasCarts), 10_000);
    t.equal(fleet.having('3s'), 1, 'and the change under way stays where it was');
    await until(
      async () => {
        seen.add(fleet.having('3s'));
        return (await rolloutAt(url))?.state === 'completed';
      },
      40_000,
      () => `at ${fleet.having('3s')}`,
    );
    await until(() => fleet.having('3s') === AGENTS, 5_000);
    // Who is in a tenth is a matter of hashes: of 40 agents it may be the first one alone.
    const steps = [...seen].filter((count) => count > 0 && count < AGENTS);
    t.ok(
      steps.some((count) => count <= AGENTS / 3),
      `a small share had it in between: ${[...seen]}`,
    );
    t.ok(
      steps.some((count) => count > AGENTS / 4),
      `and about half: ${[...seen]}`,
    );
    const versions = new Set(fleet.agents.map(({ push }) => push?.version));
    t.equal(versions.size, 1, 'in the end all are at one version');
  },
);

t.test('a refusal takes a change back; an operator pauses, resumes and aborts', { timeout: 60_000 }, async (t) => {
  const { url } = await startControlPlane(t);
  const fleet = startFleet(t, [url], 4, () => true);
  await until(() => fleet.agents.every(({ push }) => push !== null), 10_000);
  await ask(`${url}${PAYMENTS}?rollout=staged&soak=30s`, 'PUT', document('3s'));
  await untilState(url, 'halted');
  t.match((await rolloutAt(url))?.reason, /^orders-\d refused it: ServicePolicy\/payments: spec is too much\.$/);
  t.equal((await ask(`${url}${PAYMENTS}`, 'GET')).status, 404, 'there was none before');
  t.equal(fleet.touchedBy('3s'), 1);

  await ask(`${url}${PAYMENTS}?rollout=staged&soak=1s`, 'PUT', document('4s'));
  const id = (await rolloutAt(url))?.id;
  t.match(await ask(`${url}/v1/rollouts/${id}/pause`, 'POST'), { status: 200, body: { state: 'paused' } });
  t.match(await ask(`${url}/v1/rollouts/${id}/resume`, 'POST'), { status: 200, body: { state: 'running' } });
  await until(() => fleet.having('4s') > 0, 10_000);
  t.match(await ask(`${url}/v1/rollouts/${id}/abort`, 'POST'), { status: 200, body: { state: 'aborted' } });
  await until(() => fleet.having(null) === 4, 10_000);
  t.equal((await ask(`${url}/v1/rollouts/${id}/resume`, 'POST')).status, 404);
  t.equal((await ask(`${url}/v1/rollouts/none/abort`, 'POST')).status, 404);
  for (const query of ['rollout=all', 'soak=5s', 'rollout=staged&soak=never', 'rollout=staged&soak=10ms']) {
    t.equal((await ask(`${url}${PAYMENTS}?${query}`, 'PUT', document('5s'))).status, 400, query);
  }
});

t.test(
  'over two control planes: one decides for the agents of both, and after its end the other',
  { timeout: 120_000 },
  async (t) => {
    if (consulOrFail(t) === null) return;
    const consul = await startConsul(t);
    const start = () => startControlPlane(t, { folder: temporaryFolder(t), consulUrl: consul.url });
    const planes = [await start(), await start()];
    const urls = planes.map(({ url }) => url);
    const [first = '', second = ''] = urls;
    t.equal((await ask(`${first}${PAYMENTS}`, 'PUT', document('2s'))).status, 201);
    const fleet = startFleet(t, urls, AGENTS);
    await until(() => fleet.having('2s') === AGENTS, 10_000);
    await ask(`${second}${PAYMENTS}?rollout=staged&soak=30s`, 'PUT', document('1ms'));
    await untilState(first, 'halted', 60_000);
    await until(() => fleet.having('2s') === AGENTS, 10_000);
    t.equal(fleet.touchedBy('1ms'), 1, `1 of ${AGENTS} agents had it`);
    // Both replicas were asked what they see: the rest is the agents of both.
    await ask(`${first}${PAYMENTS}?rollout=staged&soak=2s`, 'PUT', document('3s'));
    const seen = async (url: string) =>
      (await ask(`${url}/v1/rollouts`, 'GET')).body.rollout as { health: Seen | null };
    for (const url of urls) {
      await until(async () => {
        const { health } = await seen(url);
        return health !== null && health.cohort.agents >= 1 && health.cohort.agents + health.rest.agents === AGENTS;
      }, 20_000);
    }
    // Whichever led, the other one goes on alone; the agents of the first move to it and are not taken for silent.
    await planes[0]?.stop();
    await untilState(second, 'completed', 90_000);
    await until(() => fleet.having('3s') === AGENTS, 10_000);
  },
);

interface Seen {
  readonly cohort: { readonly agents: number };
  readonly rest: { readonly agents: number };
}
