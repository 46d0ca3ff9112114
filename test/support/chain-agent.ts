// Agents and applications in a row, a → b → c → d, each application beside an agent of its own, in one process. An application
// calls the next through its agent and passes on `traceparent` and nothing else.

import { Agent, createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import { Hops } from '../../agent/core/retry/hops.ts';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { configureStats, createServiceStats, createServiceView } from '../../agent/core/view.ts';
import { inboundPolicy } from '../../agent/mesh/inbound.ts';
import { type Rig, startRig } from './proxy-rig.ts';

export interface Chain {
  /** Outbound port of the first caller. */
  readonly port: number;
  /** Names of the services, first to last. */
  readonly services: readonly string[];
  /** Requests that reached each application. */
  readonly received: Map<string, number>;
  /** When each application last began to work, performance.now(). */
  readonly lastWork: Map<string, number>;
  readonly outbound: readonly Rig[];
  /** Kills the last application: connections are refused from then on. */
  killLeaf(): Promise<void>;
  /** How the last application answers. */
  leaf: { status: number; delayMs: number };
}

/** @param retries  replaces fields of the default policy's retries for every hop */
export async function startChain(t: Test, names: readonly string[], policy: EffectivePolicy): Promise<Chain> {
  const received = new Map(names.map((name) => [name, 0]));
  const lastWork = new Map<string, number>();
  const leaf = { status: 200, delayMs: 0 };
  const outbound: Rig[] = [];
  let nextPort: number | null = null;
  let nextName = '';
  let leafServer: Server | null = null;
  for (const name of names.toReversed()) {
    const hops = new Hops();
    let own: Rig | null = null;
    if (nextPort !== null) {
      own = await startRig(t, { [nextName]: [nextPort] }, { policy, hops });
      outbound.unshift(own);
    }
    const calls = { port: own?.port ?? 0, host: nextName };
    const keepAlive = new Agent({ keepAlive: true, maxSockets: 200 });
    t.teardown(() => keepAlive.destroy());
    const app = createServer((incoming, answer) => {
      received.set(name, (received.get(name) ?? 0) + 1);
      lastWork.set(name, performance.now());
      incoming.resume();
      if (own === null) {
        setTimeout(() => {
          answer.statusCode = leaf.status;
          answer.end('leaf');
        }, leaf.delayMs);
        return;
      }
      const { traceparent } = incoming.headers;
      const headers = { host: calls.host, ...(traceparent === undefined ? {} : { traceparent }) };
      const call = request({ port: calls.port, method: incoming.method, headers, agent: keepAlive }, (response) => {
        response.resume().on('end', () => {
          answer.statusCode = response.statusCode ?? 500;
          answer.end(name);
        });
      });
      call.on('error', () => {
        answer.statusCode = 500;
        answer.end(name);
      });
      answer.on('close', () => {
        if (!answer.writableEnded) call.destroy();
      });
      call.end();
    });
    await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
    t.teardown(() => {
      app.closeAllConnections();
      app.close();
    });
    leafServer ??= app;
    const { port } = app.address() as AddressInfo;
    const endpoint = {
      id: `${name}@127.0.0.1:${port}`,
      address: '127.0.0.1',
      port,
      weight: 1,
      zone: null,
      tags: [],
      meta: {},
    };
    const beside = inboundPolicy(policy);
    const plan = { service: name, policy: beside, rules: [], subsets: [], permission: { kind: 'allow' } } as const;
    const stats = createServiceStats(name);
    configureStats(stats, beside);
    const view = createServiceView(plan, [{ endpoint, stats: createEndpointStats(endpoint.id) }], stats);
    const inbound = await startRig(t, {}, { direction: 'inbound', route: { kind: 'inbound', view: () => view }, hops });
    nextPort = inbound.port;
    nextName = name;
  }
  const edge = await startRig(t, { [nextName]: [nextPort ?? 0] }, { policy });
  outbound.unshift(edge);
  return {
    port: edge.port,
    services: names,
    received,
    lastWork,
    outbound,
    leaf,
    killLeaf: () =>
      new Promise((resolve) => {
        leafServer?.closeAllConnections();
        leafServer?.close(() => resolve());
      }),
  };
}

export const CHAIN_POLICY: EffectivePolicy = DEFAULT_POLICY;
