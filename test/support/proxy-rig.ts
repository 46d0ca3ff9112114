// A proxy listener over a hand-made snapshot: real sockets, real core, no mesh. Records what telemetry would be told.

import type { Test } from 'tap';
import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import type { EffectivePolicy, ServicePlan } from '#contract/policy/policy.ts';
import type { RouteRule } from '#contract/policy/route-rule.ts';
import { systemClock } from '../../agent/clock.ts';
import type { RequestResult } from '../../agent/core/reason.ts';
import type { EndpointView, MeshSnapshot, ServiceView } from '../../agent/core/snapshot.ts';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { configureStats, createServiceStats, createServiceView } from '../../agent/core/view.ts';
import { createProxyListener, type ProxyListener, type ProxyListenerOptions } from '../../agent/proxy/listener.ts';
import { Pools } from '../../agent/proxy/pools.ts';
import type { AccessRecord } from '../../agent/telemetry/access-log.ts';
import { Decisions } from '../../agent/telemetry/decisions.ts';
import { seededRandom } from './seeded-random.ts';

export type PolicyPatch = { readonly [K in keyof EffectivePolicy]?: Partial<EffectivePolicy[K]> | EffectivePolicy[K] };

export function policyWith(patch: PolicyPatch): EffectivePolicy {
  const merged: Record<string, unknown> = { ...DEFAULT_POLICY };
  for (const [key, value] of Object.entries(patch)) {
    const base = merged[key];
    merged[key] = typeof value === 'object' ? { ...(base as object), ...value } : value;
  }
  return merged as unknown as EffectivePolicy; // every key came from DEFAULT_POLICY
}

export interface Rig {
  readonly port: number;
  readonly listener: ProxyListener;
  readonly pools: Pools;
  readonly metrics: ProxyListenerOptions['metrics'];
  readonly records: AccessRecord[];
  /** `result status` of each request, as the edge was told. */
  readonly ends: { destination: string; result: RequestResult; status: number }[];
  readonly attempts: string[];
  readonly retries: string[];
  readonly sweeps: string[];
  /** `destination reason` of each injected fault and of each copy. */
  readonly faults: string[];
  readonly mirrored: string[];
  readonly decisions: Decisions;
  begun(): number;
  endpoints(service: string): readonly EndpointView[];
  setService(
    service: string,
    ports: readonly number[],
    policy?: EffectivePolicy,
    rules?: readonly RouteRule[],
    permission?: ServiceView['permission'],
    subsets?: ServicePlan['subsets'],
  ): ServiceView;
  snapshot(): MeshSnapshot;
}

export async function startRig(
  t: Test,
  services: Readonly<Record<string, readonly number[]>>,
  options: { readonly policy?: EffectivePolicy } & Partial<ProxyListenerOptions> = {},
): Promise<Rig> {
  const views = new Map<string, ServiceView>();
  let generation = 0;
  const setService: Rig['setService'] = (
    service,
    ports,
    policy,
    rules = [],
    permission = { kind: 'allow' },
    subsets = [],
  ) => {
    const endpoints = ports.map((port) => {
      const id = `${service}@127.0.0.1:${port}`;
      const former = views.get(service)?.endpoints.find((view) => view.endpoint.id === id);
      const endpoint = { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [`port-${port}`], meta: {} };
      return { endpoint, stats: former?.stats ?? createEndpointStats(id) };
    });
    const plan = { service, policy: policy ?? options.policy ?? DEFAULT_POLICY, rules, subsets, permission };
    const stats = views.get(service)?.stats ?? createServiceStats(service);
    configureStats(stats, plan.policy);
    const view = createServiceView(plan, endpoints, stats);
    views.set(service, view);
    generation += 1;
    return view;
  };
  for (const [service, ports] of Object.entries(services)) setService(service, ports);
  const snapshot = (): MeshSnapshot => ({ generation, policyVersion: 0, services: views });

  const pools = new Pools({ clock: systemClock });
  const records: AccessRecord[] = [];
  const ends: Rig['ends'] = [];
  const attempts: string[] = [];
  const retries: string[] = [];
  const sweeps: string[] = [];
  const faults: string[] = [];
  const mirrored: string[] = [];
  let begun = 0;
  const metrics: Rig['metrics'] = {
    edge: (_direction, _source, destination) => ({
      begin: () => {
        begun += 1;
      },
      end: (result, status) => ends.push({ destination, result, status }),
      attempt: (kind) => attempts.push(kind),
      retry: (reason) => retries.push(reason),
      budgetExhausted: () => retries.push('budget_exhausted'),
    }),
    fault: (destination, reason) => faults.push(`${destination} ${reason}`),
    mirrored: (destination, reason) => mirrored.push(`${destination} ${reason}`),
  };
  const decisions = new Decisions('rig');
  const listener = createProxyListener({
    direction: 'outbound',
    address: { host: '127.0.0.1', port: 0 },
    service: 'web',
    route: { kind: 'byHost' },
    mesh: {
      get snapshot() {
        return snapshot();
      },
      requestSweep: (service) => sweeps.push(service),
    },
    pools,
    metrics,
    accessLog: { wants: () => true, write: (record) => records.push(record) },
    clock: systemClock,
    random: seededRandom(7),
    isDraining: () => false,
    decisions,
    ...options,
  });
  const { port } = await listener.listen();
  t.teardown(async () => {
    await listener.close();
    pools.closeAll();
  });
  return {
    port,
    listener,
    pools,
    metrics,
    records,
    ends,
    attempts,
    retries,
    sweeps,
    faults,
    mirrored,
    decisions,
    begun: () => begun,
    endpoints: (service) => views.get(service)?.endpoints ?? [],
    setService,
    snapshot,
  };
}
