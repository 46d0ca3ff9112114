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

function total(amounts: ZoneAmounts): number {
  let sum = 0;
  for (const amount of amounts.values()) sum += amount;
  return sum;
}
