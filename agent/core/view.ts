// Derives what a pick needs (who is pickable, in which groups, who is owed a probe, panic) from plan, endpoints and their
// states. The only place that builds a ServiceView, for mesh/ and for tests.

import type { EffectivePolicy, ServicePlan } from '#contract/policy/policy.ts';
import { groupEndpoints, type ViewContext } from './groups.ts';
import { AdmissionControl } from './limits/admission.ts';
import { GradientLimit } from './limits/gradient.ts';
import { PendingQueue } from './limits/pending-queue.ts';
import { TokenBucket } from './limits/token-bucket.ts';
import { RetryBudget } from './retry/budget.ts';
import { HedgeDelay } from './retry/hedge-delay.ts';
import { routeTableOf } from './routes/route-table.ts';
import { createSubsetViews } from './routes/subset-views.ts';
import type { EndpointView, Exclusion, ServiceStats, ServiceView } from './snapshot.ts';

/** Fresh measurement of one service. The caller keeps it for as long as it knows the name. */
export function createServiceStats(service: string): ServiceStats {
  return {
    service,
    inFlight: 0,
    picks: 0,
    cursor: { at: 0 },
    retryBudget: new RetryBudget(),
    scratch: new Float64Array(1),
    pending: new PendingQueue(),
    rateLimit: new TokenBucket(),
    admission: new AdmissionControl(),
    gradient: new GradientLimit(),
    hedgeDelay: new HedgeDelay(),
  };
}

/** Hands a policy to everything of a service that measures against it. */
export function configureStats(stats: ServiceStats, policy: EffectivePolicy): void {
  stats.retryBudget.configure(policy);
  stats.rateLimit.configure(policy);
  stats.admission.configure(policy);
  stats.gradient.configure(policy);
}

/** No zone, no callers known, nothing to take over. */
export const PLAIN_CONTEXT: ViewContext = Object.freeze({ now: 0, zone: null, callers: new Map(), former: null });

/**
 * Builds the frozen view of one service. O(endpoints).
 *
 * @param members  all that discovery told, when the policy has this agent talk to a part of them only
 *
 * Panic: serving × 100 < minHealthPercent × all. A service of which nothing serves is always served by everything it has,
 * whatever the threshold says: an ejected endpoint may answer, an empty list cannot. With several priority levels see
 * priority.ts.
 */
export function createServiceView(
  plan: ServicePlan,
  endpoints: readonly EndpointView[],
  stats: ServiceStats,
  context: ViewContext = PLAIN_CONTEXT,
  members: readonly EndpointView[] = endpoints,
): ServiceView {
  const known = Object.isFrozen(endpoints) ? endpoints : Object.freeze([...endpoints]);
  const grouping = groupEndpoints(plan.policy, known, context);
  const [first] = grouping.groups;
  const isOneGroup = grouping.groups.length === 1 && first !== undefined;
  const whole: Omit<ServiceView, 'subsets'> = {
    service: plan.service,
    policy: plan.policy,
    permission: plan.permission,
    routes: routeTableOf(plan.service, plan.rules, context.former?.routes ?? null),
    subset: null,
    members,
    endpoints: known,
    ...grouping,
    pickable: isOneGroup ? first.views : Object.freeze(grouping.groups.flatMap(({ views }) => views)),
    probing: probingOf(known),
    held: { view: null },
    cursor: stats.cursor,
    excluded: excludedOf(known),
    stats,
  };
  return Object.freeze({ ...whole, subsets: createSubsetViews(plan, whole, context) });
}

const NOBODY: readonly EndpointView[] = Object.freeze([]);

function probingOf(known: readonly EndpointView[]): readonly EndpointView[] {
  for (const { stats } of known) {
    if (stats.state === 'probing') return Object.freeze(known.filter((view) => view.stats.state === 'probing'));
  }
  return NOBODY;
}

const NONE_EXCLUDED: readonly Exclusion[] = Object.freeze([]);

function excludedOf(known: readonly EndpointView[]): readonly Exclusion[] {
  let excluded: Exclusion[] | null = null;
  for (const endpoint of known) {
    const { state, ejectionReason: reason, ejectionText: text, ejectedUntil: until } = endpoint.stats;
    if (state === 'serving') continue;
    excluded ??= [];
    excluded.push({ endpoint, state, reason, text, until });
  }
  return excluded === null ? NONE_EXCLUDED : Object.freeze(excluded);
}
