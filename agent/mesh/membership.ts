// Who is in a service: takes a discovered set over what was known, keeping views that did not change and measurement always.

import type { Endpoint, EndpointSet } from '../core/endpoint.ts';
import type { EndpointView } from '../core/snapshot.ts';
import { createEndpointStats, type EndpointStats } from '../core/stats.ts';

/** A flapping registration must not wipe out an ejection or an average. */
const KEEP_LEAVERS_MS = 600_000;

/** About 300 bytes each; beyond it the longest gone are forgotten first. */
const MAX_LEAVERS = 10_000;

/** Statistics of endpoints that left, for their return. */
export class Leavers {
  /** In order of leaving, oldest first. */
  readonly #byId = new Map<string, { readonly stats: EndpointStats; readonly leftAt: number }>();

  get size(): number {
    return this.#byId.size;
  }

  keep(stats: EndpointStats, now: number): void {
    this.#byId.delete(stats.id);
    this.#byId.set(stats.id, { stats, leftAt: now });
    this.#forget(now);
  }

  /** Statistics of an endpoint that came back in time; it is no leaver any more. */
  takeBack(id: string, now: number): EndpointStats | null {
    this.#forget(now);
    const stats = this.#byId.get(id)?.stats ?? null;
    this.#byId.delete(id);
    return stats;
  }

  #forget(now: number): void {
    for (const [id, { leftAt }] of this.#byId) {
      if (now - leftAt < KEEP_LEAVERS_MS && this.#byId.size <= MAX_LEAVERS) break;
      this.#byId.delete(id);
    }
  }
}

export interface Membership {
  /** In order of id, so that equal sets give equal snapshots whatever order they were told in. Frozen. */
  readonly views: readonly EndpointView[];
  readonly joined: number;
  readonly left: number;
  /** False when every view is the former one: nothing to rebuild. */
  readonly isChanged: boolean;
}

/** Diff by endpoint id. Leavers go to `leavers`, returners come from there. Of two endpoints with one id the first counts. */
export function diffMembership(
  former: readonly EndpointView[],
  set: EndpointSet,
  leavers: Leavers,
  now: number,
): Membership {
  const formerById = new Map(former.map((view) => [view.endpoint.id, view]));
  const byId = new Map<string, EndpointView>();
  let joined = 0;
  for (const endpoint of set.endpoints) {
    if (byId.has(endpoint.id)) continue;
    const known = formerById.get(endpoint.id);
    if (known === undefined) joined++;
    byId.set(endpoint.id, known !== undefined && isSame(known.endpoint, endpoint) ? known : view(endpoint, known));
  }
  function view(endpoint: Endpoint, known: EndpointView | undefined): EndpointView {
    const stats = known?.stats ?? leavers.takeBack(endpoint.id, now) ?? createEndpointStats(endpoint.id);
    // Where all are new at once nobody is there to carry the rest of the load: no warm-up.
    if (known === undefined) stats.joinedAt = former.length > 0 ? now : -1;
    return Object.freeze({ endpoint: freezeEndpoint(endpoint), stats });
  }
  let left = 0;
  for (const { endpoint, stats } of former) {
    if (byId.has(endpoint.id)) continue;
    left++;
    leavers.keep(stats, now);
  }
  const views = Object.freeze([...byId.values()].sort(byEndpointId));
  const isChanged = views.length !== former.length || views.some((one, index) => one !== former[index]);
  return { views, joined, left, isChanged };
}

function byEndpointId(a: EndpointView, b: EndpointView): number {
  return a.endpoint.id < b.endpoint.id ? -1 : 1;
}

/** Copied, so that a caller that goes on using its object cannot change a snapshot. */
function freezeEndpoint(endpoint: Endpoint): Endpoint {
  const { id, address, port, weight, zone, tags, meta } = endpoint;
  return Object.freeze({
    id,
    address,
    port,
    weight,
    zone,
    tags: Object.freeze([...tags]),
    meta: Object.freeze({ ...meta }),
  });
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return (
    a.address === b.address &&
    a.port === b.port &&
    a.weight === b.weight &&
    a.zone === b.zone &&
    a.tags.length === b.tags.length &&
    a.tags.every((tag, index) => tag === b.tags[index]) &&
    Object.keys(a.meta).length === Object.keys(b.meta).length &&
    Object.entries(a.meta).every(([key, value]) => b.meta[key] === value)
  );
}
