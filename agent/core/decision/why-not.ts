// Why an endpoint was not the one that was picked: one reason for each. Pure; says what follows from the record and from the view
// that the pick was made from.

import { formatHostPort } from '#contract/text/host-port.ts';
import { NO_HASH } from '../pick.ts';
import { priorityOf } from '../priority.ts';
import { compileFilter } from '../routes/endpoint-filter.ts';
import type { EndpointGroup, EndpointView, ServiceView } from '../snapshot.ts';
import type { AttemptRecord } from './decision-record.ts';

export interface NotChosen {
  /** `10.0.0.7:8080` */
  readonly endpoint: string;
  readonly state: string;
  /** Stable word: that of an ejection, or one of this file's. */
  readonly reason: string;
  readonly text: string;
}

/** An instance that Consul has and counts as unfit. */
export interface Unfit {
  readonly address: string;
  readonly port: number;
  readonly reason: 'critical' | 'maintenance';
  readonly checks: readonly string[];
}

/** At most this many endpoints are listed. */
export const MAX_LISTED = 100;

/**
 * Everybody but the chosen one: those that this view knows, those of the service that are no part of it, and those that Consul left
 * out. O(endpoints).
 *
 * @param unfit  as of now, not of the pick: records do not keep it
 */
export function whyNot(view: ServiceView, attempt: AttemptRecord, unfit: readonly Unfit[]): readonly NotChosen[] {
  const { endpoint: chosen, tried } = attempt;
  const list: NotChosen[] = [];
  const say = (one: EndpointView, state: string, reason: string, text: string): void => {
    if (list.length < MAX_LISTED) list.push({ endpoint: labelOf(one), state, reason, text });
  };
  const exclusions = new Map(view.excluded.map((one) => [one.endpoint.stats, one]));
  const pickable = new Set(view.pickable);
  for (const one of view.endpoints) {
    if (one.stats === chosen?.stats) continue;
    const out = exclusions.get(one.stats);
    if (tried.some(({ stats }) => stats === one.stats)) say(one, 'tried', 'tried', 'it failed this request already');
    else if (pickable.has(one)) say(one, out?.state ?? 'serving', ...whyNotPicked(view, attempt, one));
    else if (out === undefined) say(one, 'serving', ...whyNotPickable(view, one));
    else {
      const leftMs = Math.max(0, out.until - attempt.now);
      const left = out.until > 0 ? `, ${(leftMs / 1000).toFixed(1)} s left` : '';
      say(one, out.state, out.reason, `${out.text === '' ? out.state : out.text}${left}`);
    }
  }
  for (const one of strangers(view)) say(one, one.stats.state, ...whyNoPart(view, one));
  for (const { address, port, reason, checks } of unfit) {
    if (list.length === MAX_LISTED) break;
    if (view.members.some(({ endpoint }) => endpoint.address === address && endpoint.port === port)) continue;
    const why = checks.length === 0 ? '' : ` (check ${checks.join(', ')})`;
    const text = reason === 'critical' ? `it is critical in Consul now${why}` : 'it is in maintenance in Consul now';
    list.push({ endpoint: formatHostPort({ host: address, port }), state: reason, reason, text });
  }
  return list;
}

/** The group that the chosen one is of, and its share of the requests in percent; null without one. */
export function groupOf(
  view: ServiceView,
  chosen: EndpointView | null,
): { readonly group: EndpointGroup; readonly sharePercent: number } | null {
  const index = view.groups.findIndex(({ views }) => views.some(({ stats }) => stats === chosen?.stats));
  const group = view.groups[index];
  return group === undefined ? null : { group, sharePercent: shareOf(view, index) };
}

/** It could have been picked. */
function whyNotPicked(
  view: ServiceView,
  attempt: AttemptRecord,
  one: EndpointView,
): readonly [reason: string, text: string] {
  const samples = attempt.samples();
  const own = samples.find(({ endpoint }) => endpoint.stats === one.stats);
  const best = samples.find(({ endpoint }) => endpoint.stats === attempt.endpoint?.stats);
  if (own !== undefined && best !== undefined)
    return ['compared', `compared: load ${rounded(own.load)} against ${rounded(best.load)}`];
  if (attempt.way === 'probe') return ['probe_first', 'an endpoint that was out was owed this request as a probe'];
  if (attempt.way === 'again') return ['same_again', 'the same endpoint was asked again'];
  const home = view.groups.findIndex(({ views }) => views.includes(one));
  const group = view.groups[home];
  if (group !== undefined && group !== groupOf(view, attempt.endpoint)?.group) {
    const where = group.zone === null ? `priority level ${group.priority}` : `zone ${group.zone}`;
    return [group.zone === null ? 'priority' : 'zone', `${where} gets ${shareOf(view, home)} % of the requests`];
  }
  const { policy, choiceCount } = view.policy.loadBalancer;
  if (policy === 'roundRobin') return ['not_its_turn', 'it was not its turn'];
  if (policy === 'random') return ['not_drawn', 'chance took another one'];
  if (policy !== 'ringHash' && policy !== 'maglev') {
    const drawn = Math.min(choiceCount, view.pickable.length);
    return ['not_drawn', `not drawn: ${drawn} of ${view.pickable.length} are compared for each pick`];
  }
  if (attempt.hash === NO_HASH) return ['no_key', 'the request has no key to hash: chance took another one'];
  return ['other_key', 'the key of the request belongs to another one'];
}

/** It serves, and yet is in no group that requests go to. */
function whyNotPickable(view: ServiceView, { endpoint }: EndpointView): readonly [reason: string, text: string] {
  const level = priorityOf(endpoint, view.policy.loadBalancer.failover);
  const carrying = view.groups.filter(({ priority }) => priority === level);
  if (carrying.length === 0) return ['priority', `priority level ${level}: the levels before it carry all requests`];
  return ['zone', `zone ${endpoint.zone ?? 'unknown'}: the agent's own zone carries all requests`];
}

function strangers({ members, endpoints }: ServiceView): readonly EndpointView[] {
  if (members.length === endpoints.length) return [];
  const known = new Set(endpoints.map(({ stats }) => stats));
  return members.filter(({ stats }) => !known.has(stats));
}

/** Either its tags and metadata are not those of the subset, or the service is larger than what one agent talks to. */
function whyNoPart({ subset, service, policy }: ServiceView, one: EndpointView): readonly [string, string] {
  if (subset !== null && !compileFilter(subset.filter, service)(one.endpoint))
    return ['not_in_subset', `it is not in subset ${subset.name}: ${subset.filter}`];
  const { subsetSize } = policy.loadBalancer;
  return ['not_of_this_agent', `this agent talks to ${subsetSize} of its level, and it is not one of them`];
}

/** Percent, of the running sums. */
function shareOf({ groupShares }: ServiceView, index: number): number {
  const share = groupShares.length === 0 ? 1 : (groupShares[index] ?? 1) - (groupShares[index - 1] ?? 0);
  return Math.round(share * 1000) / 10;
}

export function labelOf(view: EndpointView | null): string {
  if (view === null) return 'nobody';
  return formatHostPort({ host: view.endpoint.address, port: view.endpoint.port });
}

export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
