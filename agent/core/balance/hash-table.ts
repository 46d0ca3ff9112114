// What ring hash and Maglev have in common: positions in a circle, each owned by an endpoint, and the way a key takes when its
// endpoint is out, already tried, or has more than its share in flight.

import type { BalancerPolicy } from '#contract/policy/policy.ts';
import type { PickTrace } from '../decision/pick-trace.ts';
import type { EndpointGroup, EndpointView, ServiceView } from '../snapshot.ts';
import { isTried } from './draw.ts';
import { MaglevTable } from './maglev.ts';
import { RingTable } from './ring.ts';

export interface TableMember {
  readonly id: string;
  readonly weight: number;
}

export interface HashTable {
  /** Positions are 0 … size − 1, in a circle. */
  readonly size: number;
  /** Position at which the search for a key begins. */
  start(hash: number): number;
  /** Index of the member that owns a position. */
  ownerAt(position: number): number;
}

/** A table and the endpoints it was built for; kept from view to view while neither ids nor weights change. */
export interface MemberTable {
  readonly policy: BalancerPolicy;
  readonly members: readonly EndpointView[];
  readonly table: HashTable;
}

export function isHashPolicy(policy: BalancerPolicy): policy is 'ringHash' | 'maglev' {
  return policy === 'ringHash' || policy === 'maglev';
}

/**
 * The table of one priority level, over all its endpoints whatever their state: an ejection moves only the keys of the ejected
 * endpoint, and its return moves them back. `former` when it is for the same ids and weights.
 */
export function tableOf(
  policy: 'ringHash' | 'maglev',
  members: readonly EndpointView[],
  former: MemberTable | null,
): MemberTable {
  if (former !== null && former.policy === policy && isSameMembership(former.members, members)) {
    return { policy, members, table: former.table };
  }
  const named = members.map(({ endpoint: { id, weight } }) => ({ id, weight }));
  const table = policy === 'maglev' ? new MaglevTable(named) : new RingTable(named);
  return { policy, members, table };
}

function isSameMembership(former: readonly EndpointView[], members: readonly EndpointView[]): boolean {
  return (
    former.length === members.length &&
    former.every(({ endpoint }, index) => {
      const other = members[index]?.endpoint;
      return other?.id === endpoint.id && other.weight === endpoint.weight;
    })
  );
}

/**
 * The owner of the key, or the next on the circle that may serve it: pickable, untried, and below its bound of requests in
 * flight. When all who may serve are above their bound, the first of them.
 *
 * Bound, with a balance factor f: ceil(f / 100 × requests in flight to the service × own share of the weight), the request at
 * hand included.
 *
 * @returns null when every pickable endpoint was tried
 * @see Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads (2016)
 */
export function pickByHash(
  view: ServiceView,
  group: EndpointGroup,
  hash: number,
  tried: readonly EndpointView[],
  trace: PickTrace | null = null,
): EndpointView | null {
  const { byMember, members } = group;
  if (members === null) return null;
  const { table } = members;
  const factor = view.policy.loadBalancer.hashBalanceFactor;
  const perWeight = factor === 0 ? 0 : (factor / 100) * (Math.max(1, view.stats.inFlight) / group.totalWeight);
  let first: EndpointView | null = null;
  let position = table.start(hash);
  for (let step = 0; step < table.size; step += 1) {
    const candidate = byMember[table.ownerAt(position)] ?? null;
    position = position + 1 === table.size ? 0 : position + 1;
    if (candidate === null || isTried(candidate, tried)) continue;
    if (trace !== null) {
      view.stats.scratch[0] = candidate.stats.inFlight;
      trace.noteOnce(candidate, view.stats.scratch);
    }
    if (factor === 0 || candidate.stats.inFlight < Math.ceil(perWeight * candidate.endpoint.weight)) return candidate;
    first ??= candidate;
  }
  return first;
}
