// Splits the endpoints of a service into groups that are picked from together (one priority level, or one zone of it) and says
// what share of the requests each group gets. Where priority, zone, panic and warm-up become plain weights.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import { isHashPolicy, type MemberTable, tableOf } from './balance/hash-table.ts';
import { Turns } from './balance/round-robin.ts';
import { NO_ZONE, shareByLoad, shareByZone, type ZoneAmounts, type ZoneLoad } from './locality.ts';
import { loadByPriority, priorityOf } from './priority.ts';
import type { EndpointGroup, EndpointView, ServiceView } from './snapshot.ts';
import { warmingSince, warmUpFactor } from './warm-up.ts';

/** Whose view it is, and when: what a view depends on beside plan, endpoints and states. */
export interface ViewContext {
  /** Monotonic ms, for warm-up. */
  readonly now: number;
  /** Zone of this agent. */
  readonly zone: string | null;
  /** How the agents of the calling service are spread; empty when nobody knows. */
  readonly callers: ZoneAmounts;
  /** The view this one takes over from; its tables serve on while membership does not change. */
  readonly former: ServiceView | null;
}

export interface Grouping {
  readonly groups: readonly EndpointGroup[];
  /** Running sums of the groups' shares, the last 1; empty with fewer than two groups. */
  readonly groupShares: readonly number[];
  readonly isPanicking: boolean;
  /** Monotonic ms at which the last endpoint ends its warm-up; -1 when none is in its window. */
  readonly warmUntil: number;
}

interface Level {
  readonly priority: number;
  readonly members: readonly EndpointView[];
  readonly serving: readonly EndpointView[];
}

interface Share {
  readonly group: EndpointGroup;
  readonly share: number;
}

const NOBODY: readonly null[] = Object.freeze([]);

/** O(endpoints), but for a hash table when the membership of its level changed. */
export function groupEndpoints(
  policy: EffectivePolicy,
  endpoints: readonly EndpointView[],
  context: ViewContext,
): Grouping {
  const levels = levelsOf(endpoints, policy.loadBalancer.failover);
  if (levels.length === 0) return { groups: [], groupShares: [], isPanicking: false, warmUntil: -1 };
  const { loads, panicking } = loadByPriority(
    levels.map(({ members, serving }) => ({ serving: isFailing(serving) ? 0 : serving.length, total: members.length })),
    policy.outlierDetection.minHealthPercent,
  );
  const shares = levels.flatMap((level, index): Share[] => {
    const load = (loads[index] ?? 0) / 100;
    return load === 0 ? [] : sharesOf(level, load, panicking[index] ?? false, policy, context);
  });
  const groups = shares.map(({ group }) => group);
  return {
    groups: Object.freeze(groups),
    groupShares: Object.freeze(shares.length < 2 ? [] : runningSums(shares.map(({ share }) => share))),
    isPanicking: groups.some(({ isPanicking }) => isPanicking),
    warmUntil: warmUntilOf(endpoints, policy, context.now),
  };
}

function levelsOf(endpoints: readonly EndpointView[], failover: EffectivePolicy['loadBalancer']['failover']): Level[] {
  const byPriority = new Map<number, EndpointView[]>();
  // What a person drains is left alone even in panic, unless there is nothing else at all.
  const isAllDraining = endpoints.every(isDraining);
  for (const view of endpoints) {
    if (isDraining(view) && !isAllDraining) continue;
    const priority = priorityOf(view.endpoint, failover);
    const members = byPriority.get(priority);
    if (members === undefined) byPriority.set(priority, [view]);
    else members.push(view);
  }
  return [...byPriority]
    .sort(([a], [b]) => a - b)
    .map(([priority, members]) => ({ priority, members, serving: servingOf(members) }));
}

/** The same list when all of it serves, the normal case. */
function servingOf(members: readonly EndpointView[]): readonly EndpointView[] {
  for (const { stats } of members) if (stats.state !== 'serving') return members.filter(isServing);
  return members;
}

function isDraining({ stats }: EndpointView): boolean {
  return stats.state === 'draining';
}

function isServing({ stats }: EndpointView): boolean {
  return stats.state === 'serving';
}

/**
 * Every one of them would be out, were it not for the ceiling: then whoever went first is out by chance, and the level as a whole is
 * what fails. Nothing of it counts as serving, so that the next level takes over, or all of this one is tried.
 */
function isFailing(serving: readonly EndpointView[]): boolean {
  if (serving.length === 0) return false;
  for (const { stats } of serving) if (!stats.isOverflowing) return false;
  return true;
}

function sharesOf(
  level: Level,
  load: number,
  isPanicking: boolean,
  policy: EffectivePolicy,
  context: ViewContext,
): Share[] {
  const pickable = isPanicking ? level.members : level.serving;
  const { policy: algorithm, zoneAware } = policy.loadBalancer;
  const facts = { priority: level.priority, isPanicking };
  if (isHashPolicy(algorithm)) {
    const former = context.former?.groups.find(({ priority }) => priority === level.priority)?.members ?? null;
    const members = tableOf(algorithm, level.members, former);
    return [{ group: groupOf(pickable, { ...facts, zone: null, members }, policy, context), share: load }];
  }
  const whole = (): Share[] => {
    return [{ group: groupOf(pickable, { ...facts, zone: null, members: null }, policy, context), share: load }];
  };
  const isByZone = zoneAware.isEnabled && !isPanicking && pickable.length >= zoneAware.minHosts;
  if (!isByZone || context.zone === null) return whole();
  const zones = amountsByZone(pickable);
  if (zones.size < 2 || !zones.has(context.zone)) return whole();
  const shares = zoneAware.isLoadAware
    ? shareByLoad(context.zone, loadsByZone(pickable, context.now))
    : shareByZone(context.zone, context.callers, zones);
  return [...shares].map(([zone, share]) => {
    const views = pickable.filter(({ endpoint }) => zoneOf(endpoint.zone) === zone);
    return { group: groupOf(views, { ...facts, zone, members: null }, policy, context), share: share * load };
  });
}

/** A report of utilisation is believed for this long (Envoy). */
const REPORT_MS = 180_000;

/** Of each zone its weight, and the mean of what its endpoints reported, by weight. */
function loadsByZone(views: readonly EndpointView[], now: number): Map<string, ZoneLoad> {
  const sums = new Map<string, { hosts: number; reporting: number; load: number }>();
  for (const { endpoint, stats } of views) {
    const zone = zoneOf(endpoint.zone);
    const sum = sums.get(zone) ?? { hosts: 0, reporting: 0, load: 0 };
    sums.set(zone, sum);
    sum.hosts += endpoint.weight;
    if (stats.utilisationAt < 0 || now - stats.utilisationAt > REPORT_MS) continue;
    sum.reporting += endpoint.weight;
    sum.load += endpoint.weight * stats.utilisation;
  }
  return new Map(
    [...sums].map(([zone, { hosts, reporting, load }]) => {
      return [zone, { hosts, utilisation: reporting === 0 ? null : load / reporting }];
    }),
  );
}

/** Weight of endpoints by zone. */
function amountsByZone(views: readonly EndpointView[]): Map<string, number> {
  const amounts = new Map<string, number>();
  for (const { endpoint } of views) {
    const zone = zoneOf(endpoint.zone);
    amounts.set(zone, (amounts.get(zone) ?? 0) + endpoint.weight);
  }
  return amounts;
}

/** Endpoints by zone, each counted once: how the agents of a service are spread. */
export function countByZone(views: readonly EndpointView[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { endpoint } of views) counts.set(zoneOf(endpoint.zone), (counts.get(zoneOf(endpoint.zone)) ?? 0) + 1);
  return counts;
}

function zoneOf(zone: string | null): string {
  return zone ?? NO_ZONE;
}

function groupOf(
  views: readonly EndpointView[],
  facts: { priority: number; zone: string | null; isPanicking: boolean; members: MemberTable | null },
  policy: EffectivePolicy,
  { now }: ViewContext,
): EndpointGroup {
  const { slowStart } = policy.loadBalancer;
  // Typed arrays: a frozen array of fractions is a list of boxes, and both drawing and building are felt at 1000 endpoints.
  const weights = new Float64Array(views.length);
  const cumulativeWeights = new Float64Array(views.length);
  let hasEqualWeights = true;
  let totalWeight = 0;
  for (let index = 0; index < views.length; index++) {
    const { endpoint, stats } = views[index] as EndpointView; // index < length
    const since = warmingSince(stats);
    const factor = since < 0 ? 1 : warmUpFactor(now - since, slowStart);
    const weight = endpoint.weight * stats.weightFactor * factor;
    totalWeight += weight;
    weights[index] = weight;
    cumulativeWeights[index] = totalWeight;
    if (weight !== weights[0]) hasEqualWeights = false;
  }
  return Object.freeze({
    ...facts,
    views: Object.freeze(views),
    weights,
    hasEqualWeights,
    totalWeight,
    meanWeight: views.length === 0 ? 1 : totalWeight / views.length,
    cumulativeWeights,
    turns: policy.loadBalancer.policy === 'roundRobin' && !hasEqualWeights ? new Turns(weights) : null,
    byMember: facts.members === null ? NOBODY : pickableMembers(facts.members.members, views),
  });
}

function pickableMembers(
  members: readonly EndpointView[],
  views: readonly EndpointView[],
): readonly (EndpointView | null)[] {
  const pickable = new Set(views);
  return Object.freeze(members.map((view) => (pickable.has(view) ? view : null)));
}

function warmUntilOf(endpoints: readonly EndpointView[], policy: EffectivePolicy, now: number): number {
  const { windowMs } = policy.loadBalancer.slowStart;
  let until = -1;
  for (const { stats } of endpoints) {
    const since = warmingSince(stats);
    if (since >= 0 && since + windowMs > now) until = Math.max(until, since + windowMs);
  }
  return until;
}

function runningSums(values: readonly number[]): number[] {
  let sum = 0;
  return values.map((value) => {
    sum += value;
    return sum;
  });
}
