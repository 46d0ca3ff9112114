// Zone-aware routing: stay in the own zone as far as its capacity covers the callers there, and spill the rest to zones that
// have more capacity than callers.

/** Amounts by zone; callers by count, endpoints by weight. */
export type ZoneAmounts = ReadonlyMap<string, number>;

/** The zone of everything that names none. */
export const NO_ZONE = '';

/**
 * Share of this caller's requests by zone; the shares are 1 together and zones with none are left out.
 *
 * With L the callers' and U the endpoints' shares by zone: U ≥ L at home keeps everything there; otherwise U / L stays and the
 * rest goes to the other zones by max(0, U − L). Callers a 10, b 5, c 5 and endpoints a 4, b 6, c 10: a 40, b 10, c 50 %.
 *
 * @param own       zone of the caller; must hold some of `upstream`
 * @param callers   how the callers are spread; empty when nobody knows: then evenly over all zones named
 * @param upstream  weight of what serves, by zone
 * @see Envoy, zone aware routing
 */
export function shareByZone(own: string, callers: ZoneAmounts, upstream: ZoneAmounts): Map<string, number> {
  const spread = callers.size > 0 ? callers : new Map([...upstream.keys(), own].map((zone) => [zone, 1]));
  const callerTotal = total(spread);
  const upstreamTotal = total(upstream);
  const demand = (zone: string) => (spread.get(zone) ?? 0) / callerTotal;
  const capacity = (zone: string) => (upstream.get(zone) ?? 0) / upstreamTotal;
  const isCovered = capacity(own) >= demand(own);
  if (isCovered) return new Map([[own, 1]]);
  const stays = capacity(own) / demand(own);
  const spare = new Map<string, number>();
  for (const zone of upstream.keys()) {
    const left = capacity(zone) - demand(zone);
    if (zone !== own && left > 0) spare.set(zone, left);
  }
  const spareTotal = total(spare);
  return new Map([
    [own, stays],
    ...[...spare].map(([zone, left]) => [zone, ((1 - stays) * left) / spareTotal] as const),
  ]);
}

/** How much of a zone is free. */
export interface ZoneLoad {
  /** Serving endpoints, by weight. */
  readonly hosts: number;
  /** Mean utilisation, 0 to 1 and above; null when no endpoint of it has said anything lately. */
  readonly utilisation: number | null;
}

/** The own zone keeps everything while it is at most this much busier than the mean of the others. */
const LOCAL_TOLERANCE = 0.1;
/** Share that is always spread over all zones by size, so that a zone nobody uses is still heard of. */
const PROBE_SHARE = 0.03;

/**
 * Share of this caller's requests by zone, by what is free there: size × max(0, 1 − utilisation). Zones of 10 hosts at 70, 30 and
 * 40 % get 18.75, 43.75 and 37.5 %. A zone that says nothing counts as free; when nothing is free anywhere, size alone decides.
 *
 * @param own  zone of the caller; must be one of `zones`
 * @see Envoy, load-aware locality (1.40)
 */
export function shareByLoad(own: string, zones: ReadonlyMap<string, ZoneLoad>): Map<string, number> {
  const bySize = proportions(new Map([...zones].map(([zone, one]) => [zone, one.hosts])));
  const byRoom = freeShares(zones);
  const wanted = isRoomAtHome(own, zones) ? new Map([[own, 1]]) : total(byRoom) > 0 ? byRoom : bySize;
  return new Map(
    [...zones.keys()].map((zone) => {
      const share = (wanted.get(zone) ?? 0) * (1 - PROBE_SHARE) + (bySize.get(zone) ?? 0) * PROBE_SHARE;
      return [zone, share];
    }),
  );
}

/** In proportion to what is free, nothing else; all 0 when nothing is. */
export function freeShares(zones: ReadonlyMap<string, ZoneLoad>): Map<string, number> {
  return proportions(
    new Map([...zones].map(([zone, one]) => [zone, one.hosts * Math.max(0, 1 - (one.utilisation ?? 0))])),
  );
}

function isRoomAtHome(own: string, zones: ReadonlyMap<string, ZoneLoad>): boolean {
  const { hosts: others, load } = [...zones].reduce(
    (sum, [zone, one]) =>
      zone === own ? sum : { hosts: sum.hosts + one.hosts, load: sum.load + one.hosts * (one.utilisation ?? 0) },
    { hosts: 0, load: 0 },
  );
  return others === 0 || (zones.get(own)?.utilisation ?? 0) <= load / others + LOCAL_TOLERANCE;
}

function proportions(amounts: ZoneAmounts): Map<string, number> {
  const sum = total(amounts);
  return new Map([...amounts].map(([zone, amount]) => [zone, sum === 0 ? 0 : amount / sum]));
}

function total(amounts: ZoneAmounts): number {
  let sum = 0;
  for (const amount of amounts.values()) sum += amount;
  return sum;
}
