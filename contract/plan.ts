// What all documents together say about requests from one caller to one service. Pure; durations become milliseconds here.

import type { EffectivePolicy, PolicyDocument, ServicePlan } from './policy.ts';

/** What applies where no document says anything. */
export const DEFAULT_POLICY: EffectivePolicy = {
  loadBalancer: { policy: 'peakEwma', choiceCount: 2 },
  timeouts: { connectMs: 1_000, requestMs: 15_000, backendRequestMs: 5_000, idleMs: 60_000 },
  retries: {
    attempts: 1,
    onConditions: ['connectFailure', 'reset', 'timeout', 'gatewayError'],
    onStatuses: [],
    methods: ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'],
    budget: { percent: 20, intervalMs: 10_000, minRetriesPerSecond: 10 },
  },
  limits: { maxConnections: 1024, maxConcurrentRequests: 10_000, idleTimeoutMs: 60_000 },
  outlierDetection: {
    consecutive5xxErrors: 5,
    consecutiveGatewayErrors: 5,
    consecutiveLocalOriginFailures: 5,
    intervalMs: 10_000,
    baseEjectionTimeMs: 30_000,
    maxEjectionTimeMs: 300_000,
    maxEjectionPercent: 50,
    minHealthPercent: 50,
  },
  exposeEndpoint: false,
};

/**
 * The plan of one (caller, service) pair. MeshDefaults < ServicePolicy < its overrides < HTTPRoute rule.
 *
 * @param documents valid and consistent documents, order irrelevant
 */
export function planService(_documents: readonly PolicyDocument[], _caller: string, service: string): ServicePlan {
  return { service, policy: DEFAULT_POLICY, rules: [], permission: { kind: 'allow' } };
}
