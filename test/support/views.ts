// Services made by hand for tests of the core: a policy with a few fields changed, endpoints by number, a view over both.

import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Endpoint } from '../../agent/core/endpoint.ts';
import type { Outcome } from '../../agent/core/outcome.ts';
import type { EndpointView, ServiceStats, ServiceView } from '../../agent/core/snapshot.ts';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { createServiceStats, createServiceView } from '../../agent/core/view.ts';

type Sections = { readonly [K in keyof EffectivePolicy]?: Partial<EffectivePolicy[K]> };

/** The defaults with some fields of some sections replaced. */
export function policyWith(changes: Sections = {}): EffectivePolicy {
  const base = DEFAULT_POLICY;
  return {
    loadBalancer: { ...base.loadBalancer, ...changes.loadBalancer },
    timeouts: { ...base.timeouts, ...changes.timeouts },
    retries: { ...base.retries, ...changes.retries },
    limits: { ...base.limits, ...changes.limits },
    admissionControl: { ...base.admissionControl, ...changes.admissionControl },
    rateLimit: { ...base.rateLimit, ...changes.rateLimit },
    outlierDetection: { ...base.outlierDetection, ...changes.outlierDetection },
    healthCheck: { ...base.healthCheck, ...changes.healthCheck },
    exposeEndpoint: base.exposeEndpoint,
    slo: { ...base.slo, ...changes.slo },
  };
}

/** Endpoint number n of a service, `svc@n@10.0.0.n:8080`. */
export function endpointAt(n: number, changes: Partial<Endpoint> = {}, service = 'svc'): Endpoint {
  const address = `10.0.0.${n}`;
  const id = `${service}@${n}@${address}:8080`;
  return { id, address, port: 8080, weight: 1, zone: null, tags: [], meta: {}, ...changes };
}

/** One endpoint for each weight, numbered from 1. */
export function endpointViews(...weights: readonly number[]): EndpointView[] {
  return weights.map((weight, index) => {
    const endpoint = endpointAt(index + 1, { weight });
    return { endpoint, stats: createEndpointStats(endpoint.id) };
  });
}

export function viewOf(
  endpoints: readonly EndpointView[],
  changes: Sections = {},
  stats: ServiceStats = createServiceStats('svc'),
): ServiceView {
  const plan = {
    service: 'svc',
    policy: policyWith(changes),
    rules: [],
    subsets: [],
    permission: { kind: 'allow' },
  } as const;
  return createServiceView(plan, endpoints, stats);
}

/** A response with status 200 after 5 ms unless told otherwise. */
export function outcome(changes: Partial<Outcome> = {}): Outcome {
  return {
    kind: 'response',
    status: changes.kind === undefined || changes.kind === 'response' ? 200 : 0,
    latencyMs: 5,
    stalledMs: 0,
    retryAfterMs: 0,
    isSent: true,
    isReusedConnection: false,
    isHeadRelayed: false,
    ...changes,
  };
}

/** Shares per endpoint number over many picks. */
export function countPicks(picks: readonly (EndpointView | null)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const view of picks) {
    const number = view?.endpoint.id.split('@')[1] ?? 'none';
    counts[number] = (counts[number] ?? 0) + 1;
  }
  return counts;
}
