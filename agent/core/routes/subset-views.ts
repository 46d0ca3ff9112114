// The parts of a service that rules may name, each as a view of its own. What is measured, ejected and in panic is the service;
// a subset only leaves out who does not belong to it.

import type { EffectivePolicy, ServicePlan, SubsetFilter } from '#contract/policy/policy.ts';
import { groupEndpoints, type ViewContext } from '../groups.ts';
import type { EndpointView, ServiceView } from '../snapshot.ts';
import { chooseSubset } from '../subset.ts';
import { compileFilter } from './endpoint-filter.ts';

const NO_SUBSETS: ReadonlyMap<string, ServiceView> = new Map();

/**
 * Views of all subsets by name. O(endpoints × subsets) when endpoints or filters changed; else the filters are not asked again.
 *
 * A subset panics when the service does, and when nothing in it serves: an ejected endpoint may answer, another subset is
 * another version.
 *
 * @param whole  the view of the service
 */
export function createSubsetViews(
  plan: ServicePlan,
  whole: Omit<ServiceView, 'subsets'>,
  context: ViewContext,
): ReadonlyMap<string, ServiceView> {
  if (plan.subsets.length === 0) return NO_SUBSETS;
  const policy = groupingPolicy(plan.policy, whole.isPanicking);
  const { former } = context;
  const views = new Map<string, ServiceView>();
  for (const subset of plan.subsets) {
    const known = former?.subsets.get(subset.name) ?? null;
    const isKept = known?.subset?.filter === subset.filter && former?.endpoints === whole.endpoints;
    const endpoints = isKept && known !== null ? known.endpoints : membersOf(whole.endpoints, subset, plan.service);
    const belongs = new Set(endpoints);
    const grouping = groupEndpoints(policy, endpoints, { ...context, former: known });
    const view: ServiceView = {
      ...whole,
      ...grouping,
      endpoints,
      pickable: Object.freeze(grouping.groups.flatMap((group) => group.views)),
      probing: whole.probing.filter((one) => belongs.has(one)),
      excluded: whole.excluded.filter(({ endpoint }) => belongs.has(endpoint)),
      isPanicking: whole.isPanicking,
      held: { view: null },
      cursor: known?.cursor ?? { at: 0 },
      subset,
      subsets: NO_SUBSETS,
    };
    views.set(subset.name, Object.freeze(view));
  }
  return views;
}

/**
 * The endpoints that one agent talks to: where the policy bounds their number, as many of the whole service and as many of each
 * subset, so that a small subset is not left out by chance.
 */
export function chooseEndpoints(
  members: readonly EndpointView[],
  { policy, subsets, service }: ServicePlan,
  agentId: string,
): readonly EndpointView[] {
  const chosen = chooseSubset(members, policy.loadBalancer, agentId);
  if (chosen === members || subsets.length === 0) return chosen;
  const all = new Set(chosen);
  for (const subset of subsets) {
    for (const one of chooseSubset(membersOf(members, subset, service), policy.loadBalancer, agentId)) all.add(one);
  }
  return Object.freeze(members.filter((one) => all.has(one)));
}

/** The endpoints for which the filter holds, in their order. */
export function membersOf(
  endpoints: readonly EndpointView[],
  { filter }: SubsetFilter,
  service: string,
): readonly EndpointView[] {
  const holds = compileFilter(filter, service);
  return Object.freeze(endpoints.filter(({ endpoint }) => holds(endpoint)));
}

/** A threshold that says what the service has decided already. */
function groupingPolicy(policy: EffectivePolicy, isPanicking: boolean): EffectivePolicy {
  const minHealthPercent = isPanicking ? 100 : 0;
  return { ...policy, outlierDetection: { ...policy.outlierDetection, minHealthPercent } };
}

/** A subset that the documents do not define: nobody belongs to it. Checked documents name none. */
export function unknownSubset(whole: ServiceView, name: string): ServiceView {
  const nobody: readonly never[] = [];
  return {
    ...whole,
    endpoints: nobody,
    groups: nobody,
    groupShares: nobody,
    pickable: nobody,
    probing: nobody,
    excluded: nobody,
    held: { view: null },
    subset: { name, filter: '' },
    subsets: NO_SUBSETS,
  };
}

/** Why a pick from this view found nobody. */
export function explainEmpty({ service, subset }: ServiceView): string {
  if (subset === null) return `${service} has no endpoint`;
  if (subset.filter === '') return `${service} has no subset ${subset.name}`;
  return `subset ${subset.name} of ${service} has no endpoint: its filter matches none (${subset.filter})`;
}
