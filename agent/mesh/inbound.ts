// The view that the inbound listener works with: one endpoint, the application itself.

import type { EffectivePolicy, ServicePlan } from '#contract/policy/policy.ts';
import type { EndpointView, ServiceView } from '../core/snapshot.ts';
import { createEndpointStats } from '../core/stats.ts';
import { configureStats, createServiceStats, createServiceView } from '../core/view.ts';

/**
 * No retries (the caller's agent retries, at another endpoint), no ejection (there is no other endpoint here), and every
 * timeout twice the outbound one, so that the caller always gives up first and its retry never meets a request that this side
 * has just abandoned (Kuma's rule).
 */
export function inboundPolicy(outbound: EffectivePolicy): EffectivePolicy {
  const { connectMs, requestMs, backendRequestMs, idleMs } = outbound.timeouts;
  return {
    ...outbound,
    timeouts: {
      connectMs: 2 * connectMs,
      requestMs: 2 * requestMs,
      backendRequestMs: 2 * backendRequestMs,
      idleMs: 2 * idleMs,
    },
    retries: { ...outbound.retries, attempts: 0, onConditions: [], onStatuses: [] },
    outlierDetection: {
      ...outbound.outlierDetection,
      consecutive5xxErrors: 0,
      consecutiveGatewayErrors: 0,
      consecutiveLocalOriginFailures: 0,
      maxEjectionPercent: 0,
    },
  };
}

/** Where the application listens. */
export interface InboundTarget {
  readonly address: string;
  readonly port: number;
}

/**
 * @param plan    what the documents say about the service; intentions and routes are the caller's agent's business
 * @param former  an earlier view of the same target, whose measurement is carried on
 */
export function createInboundView(plan: ServicePlan, target: InboundTarget, former: ServiceView | null): ServiceView {
  const policy = Object.freeze(inboundPolicy(plan.policy));
  const stats = former?.stats ?? createServiceStats(plan.service);
  configureStats(stats, policy);
  const endpoint = former?.endpoints[0] ?? appEndpoint(plan.service, target);
  return createServiceView({ ...plan, policy, rules: [], permission: { kind: 'allow' } }, [endpoint], stats);
}

function appEndpoint(service: string, { address, port }: InboundTarget): EndpointView {
  const id = `${service}@${address}:${port}`;
  const endpoint = Object.freeze({ id, address, port, weight: 1, zone: null, tags: [], meta: {} });
  return Object.freeze({ endpoint, stats: createEndpointStats(id) });
}
