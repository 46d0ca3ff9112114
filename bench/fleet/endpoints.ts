// One changed endpoint on its way to a fleet whose control plane watches Consul: how soon everybody has it, and what it weighs on the wire.
// Consul is played by a server of this process that answers as Consul does, at full length.

import { createServer, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SimulatedAgent } from './simulated-agent.ts';

const ENDPOINTS = 20;
const CHANGES = 20;
const CHANGE_EVERY_MS = 1_000;
const DEADLINE_MS = 30_000;

export interface PlayedConsul {
  readonly url: string;
  /** Gives one endpoint of a service another port. @returns the index of the answer that says so */
  change(service: string): string;
  /** Questions that wait for a change. */
  waiting(): number;
  close(): void;
}

export async function playConsul(): Promise<PlayedConsul> {
  const indexes = new Map<string, number>();
  const held = new Map<string, Set<() => void>>();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://consul');
    const service = decodeURIComponent(url.pathname.split('/').at(-1) ?? '');
    const answer = (): void => answerHealth(response, service, indexes.get(service) ?? 1);
    if (Number(url.searchParams.get('index') ?? 0) < (indexes.get(service) ?? 1)) {
      answer();
      return;
    }
    const others = held.get(service) ?? new Set();
    held.set(service, others.add(answer));
    response.on('close', () => others.delete(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    change: (service) => {
      const index = (indexes.get(service) ?? 1) + 1;
      indexes.set(service, index);
      for (const answer of held.get(service) ?? []) answer();
      return String(index);
    },
    waiting: () => [...held.values()].reduce((sum, answers) => sum + answers.size, 0),
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Bodies with everything that Consul says of an instance with one check of its own. */
function answerHealth(response: ServerResponse, service: string, index: number): void {
  const entries = Array.from({ length: ENDPOINTS }, (_, position) => {
    const id = `${service}-${position}`;
    const port = position === 0 ? 10_000 + index : 7_000 + position;
    const node = `node-${position}.example`;
    const common = { Node: node, Notes: '', Output: 'HTTP GET: 200 OK Output: ok', Definition: {}, Type: 'http' };
    const serviceCheck = { CheckID: `service:${id}`, Name: `${service} through its agent`, Status: 'passing' };
    const nodeCheck = { CheckID: 'serfHealth', Name: 'Serf Health Status', Status: 'passing' };
    return {
      Node: { ID: `00000000-0000-0000-0000-${position}`, Node: node, Address: `10.0.0.${position}`, Datacenter: 'dc1' },
      Service: {
        ID: id,
        Service: service,
        Address: `10.0.0.${position}`,
        Port: port,
        Tags: ['v1'],
        Meta: { version: '1', zone: 'a' },
        Weights: { Passing: 1, Warning: 1 },
      },
      Checks: [
        { ...common, ...nodeCheck },
        { ...common, ...serviceCheck, ServiceID: id, ServiceName: service },
      ],
    };
  });
  response.setHeader('x-consul-index', String(index));
  response.setHeader('x-consul-knownleader', 'true');
  response.setHeader('x-consul-lastcontact', '0');
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(entries));
}

/** All agents want the same services, whose first changes again and again. */
export async function measureEndpoints(
  agents: readonly SimulatedAgent[],
  consul: PlayedConsul,
  services: readonly string[],
): Promise<Record<string, string>> {
  const [changing = ''] = services;
  let times: number[] = [];
  let characters = 0;
  let wanted = '1';
  for (const agent of agents) {
    agent.onEndpoints = (service, index, length) => {
      characters += length;
      if (service === changing && index === wanted) times.push(performance.now());
    };
  }
  const startedAt = performance.now();
  const statuses = await Promise.all(agents.map((agent) => agent.watch(services)));
  const refused = statuses.filter((status) => status !== 204).length;
  await all(() => times.length >= agents.length, 'the first sets');
  const firstMs = performance.now() - startedAt;
  await sleep(2_000);
  const firstKiB = characters / 1024 / agents.length;

  const delays: number[] = [];
  const slowest: number[] = [];
  characters = 0;
  for (let change = 0; change < CHANGES; change++) {
    times = [];
    const at = performance.now();
    wanted = consul.change(changing);
    await all(() => times.length >= agents.length, `change ${change}`);
    delays.push(...times.map((time) => time - at));
    slowest.push(Math.max(...times) - at);
    await sleep(CHANGE_EVERY_MS);
  }
  delays.sort((a, b) => a - b);
  slowest.sort((a, b) => a - b);
  const at = (share: number): string => (delays[Math.ceil(share * delays.length) - 1] ?? Number.NaN).toFixed(0);
  return {
    'endpoints: refused wishes': String(refused),
    'endpoints: questions at Consul': String(consul.waiting()),
    [`first sets (${services.length}×${ENDPOINTS}), s`]: (firstMs / 1000).toFixed(2),
    'first sets, KiB an agent': firstKiB.toFixed(1),
    'one endpoint changed, p50, ms': at(0.5),
    'one endpoint changed, p99, ms': at(0.99),
    'slowest agent, worst change, ms': (slowest.at(-1) ?? Number.NaN).toFixed(0),
    'one change, KiB an agent': (characters / 1024 / agents.length / CHANGES).toFixed(2),
    'one change, MiB to all': (characters / 1024 / 1024 / CHANGES).toFixed(2),
  };
}

async function all(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await sleep(5);
  }
}
