// The embedded registry: a Consul-compatible HTTP API over state in memory, so that a laptop needs no Consul.
// Joins the parts and owns their lifetimes; everything is forgotten when the process ends (docs/registry.md).

import { randomUUID } from 'node:crypto';
import { CheckSchedule } from './check-schedule.ts';
import { createHttp } from './http.ts';
import { LocalAgent } from './local-agent.ts';
import { runProbe } from './probe.ts';
import { agentRoutes } from './routes/agent-routes.ts';
import { catalogRoutes } from './routes/catalog-routes.ts';
import { healthRoutes } from './routes/health-routes.ts';
import { kvRoutes } from './routes/kv-routes.ts';
import { SessionExpiry, sessionRoutes } from './routes/session-routes.ts';
import { txnRoutes } from './routes/txn-routes.ts';
import type { NodeInput } from './state/model.ts';
import { Store } from './state/store.ts';
import type { After, Clock, Random } from './time.ts';
import { Waiters } from './waiters.ts';

const DATACENTER = 'dc1';
const NODE_NAME = 'outrigger-registry';
/** The longest delay a timer takes; longer ones would fire at once. */
const MAX_TIMER_MS = 2_147_483_647;

export interface RegistryOptions {
  readonly clock: Clock;
  readonly log: { error(details: object, message: string): void };
  /** Staggers checks and waits; Math.random when absent. */
  readonly random?: Random;
}

export interface Registry {
  /**
   * Serves on `address`; port 0 takes a free one. There is no authentication: whoever reaches the address may write.
   *
   * @returns the address it is bound to
   * @throws when the address cannot be bound
   */
  listen(address: { readonly host: string; readonly port: number }): Promise<{ host: string; port: number }>;
  /** Answers all blocked queries, stops all checks, closes all connections. Idempotent. */
  close(): Promise<void>;
}

export function createRegistry({ clock, log, random = Math.random }: RegistryOptions): Registry {
  const bound = { host: '127.0.0.1', port: 0 };
  const now = (): number => clock.now();
  const store = new Store(now);
  const waiters = new Waiters(store, after, random);
  const schedule = new CheckSchedule({
    after,
    random,
    run: runProbe,
    report: (checkId, status, output) => agent.report(checkId, status, output),
  });
  const agent = new LocalAgent({ node: ownNode(), store, after, random, schedule });
  const expiry = new SessionExpiry(store, after);
  const reading = { store, waiters, datacenter: DATACENTER };
  const http = createHttp(
    [
      ...agentRoutes({ agent, waiters, address: () => bound }),
      ...healthRoutes(reading),
      ...catalogRoutes({ ...reading, leader: () => `${bound.host}:${bound.port}` }),
      ...kvRoutes({ ...reading, now }),
      ...sessionRoutes({ ...reading, node: agent.node.Node, expiry }),
      ...txnRoutes({ ...reading, now }),
    ],
    (error) => log.error({ err: error }, 'registry handler failed'),
  );
  return {
    listen: async ({ host, port }) => {
      await http.listen({ host, port });
      const address = http.server.address();
      if (typeof address === 'object' && address !== null) Object.assign(bound, { host, port: address.port });
      return { ...bound };
    },
    close: async () => {
      schedule.stopAll();
      agent.close();
      expiry.close();
      waiters.close();
      await http.close();
    },
  };
}

/** Timers that do not keep a process alive which is otherwise done. */
const after: After = (delayMs, run) => {
  const timer = setTimeout(run, Math.min(delayMs, MAX_TIMER_MS));
  timer.unref();
  return () => clearTimeout(timer);
};

function ownNode(): NodeInput {
  const address = '127.0.0.1';
  return {
    ID: randomUUID(),
    Node: NODE_NAME,
    Address: address,
    Datacenter: DATACENTER,
    TaggedAddresses: { lan: address, lan_ipv4: address, wan: address, wan_ipv4: address },
    Meta: { 'consul-network-segment': '' },
  };
}
