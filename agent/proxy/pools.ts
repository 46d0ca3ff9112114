// Connections to endpoints, by endpoint id: lends idle ones, opens new ones up to the limit, closes those of endpoints that
// left. Knows nothing of requests.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Clock } from '../clock.ts';
import type { EndpointView, MeshSnapshot } from '../core/snapshot.ts';
import { Deadlines } from './deadlines.ts';
import { responseNames } from './http1/response-head.ts';
import { UpstreamConnection, type UpstreamSink } from './upstream-connection.ts';

/** An upstream that said how long it keeps idle connections may count from another instant than we do. */
const KEEP_ALIVE_MARGIN_MS = 500;

/** The connections of one endpoint. */
export class EndpointPool {
  readonly service: string;
  /** The application itself, which no snapshot lists: reconcile leaves it alone. */
  readonly isPinned: boolean;
  /** Its endpoint left or is ejected: no connection is kept once its response is over. */
  isDraining = false;
  /** Its last answer was HTTP/1.0, or 411: what it is sent must have a length. */
  wantsLength = false;
  readonly all = new Set<UpstreamConnection>();
  readonly #idle: UpstreamConnection[] = [];
  readonly #deadlines: Deadlines;
  /** Of the response heads read so far. */
  readonly responseNames = responseNames();
  #idleTimeoutMs = 60_000;

  constructor(service: string, isPinned: boolean, deadlines: Deadlines) {
    this.service = service;
    this.isPinned = isPinned;
    this.#deadlines = deadlines;
  }

  get idleCount(): number {
    return this.#idle.length;
  }

  /** The connection used last is taken first: the others can grow old and be closed. */
  takeIdle(sink: UpstreamSink): UpstreamConnection | null {
    const connection = this.#idle.pop();
    if (connection === undefined) return null;
    connection.take(sink);
    return connection;
  }

  open(view: EndpointView, policy: EffectivePolicy, sink: UpstreamSink): UpstreamConnection | null {
    this.#idleTimeoutMs = policy.limits.idleTimeoutMs;
    if (this.all.size >= policy.limits.maxConnections) {
      const idle = this.#idle[0];
      if (idle === undefined) return null;
      idle.destroy();
    }
    const connection = new UpstreamConnection(this, sink, view.endpoint.address, view.endpoint.port);
    this.all.add(connection);
    this.#deadlines.add(connection);
    return connection;
  }

  /** @param keepAliveMs  what the upstream said it keeps an idle connection, 0 if it did not say */
  release(connection: UpstreamConnection, keepAliveMs: number): void {
    const promised = keepAliveMs === 0 ? Number.POSITIVE_INFINITY : keepAliveMs - KEEP_ALIVE_MARGIN_MS;
    const restMs = Math.min(this.#idleTimeoutMs, promised);
    if (this.isDraining || restMs <= 0) {
      connection.destroy();
      return;
    }
    connection.rest(this.#deadlines.now + restMs);
    this.#idle.push(connection);
  }

  /** Called by a connection that is gone. O(idle), only ever paid when a connection is lost. */
  forget(connection: UpstreamConnection): void {
    this.all.delete(connection);
    this.#deadlines.remove(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  closeIdle(): void {
    for (const connection of [...this.#idle]) connection.destroy();
  }
}

export class Pools {
  readonly #pools = new Map<string, EndpointPool>();
  readonly #deadlines: Deadlines;

  constructor(options: { readonly clock: Clock }) {
    this.#deadlines = new Deadlines(options.clock);
  }

  /**
   * A connection for one attempt: an idle one, ready to be written to, or a new one that will call `onConnected`.
   *
   * @param isFresh   a kept connection just failed: open a new one whatever is idle
   * @param isPinned  the endpoint is the agent's own application
   * @returns         null when the endpoint has all the connections it may have
   */
  acquire(
    service: string,
    view: EndpointView,
    policy: EffectivePolicy,
    sink: UpstreamSink,
    isFresh: boolean,
    isPinned: boolean,
  ): UpstreamConnection | null {
    // The application may be a static endpoint of its own caller as well; the two live and die apart.
    const key = isPinned ? `app ${view.endpoint.id}` : view.endpoint.id;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = new EndpointPool(service, isPinned, this.#deadlines);
      this.#pools.set(key, pool);
    }
    if (isFresh) pool.closeIdle();
    return pool.takeIdle(sink) ?? pool.open(view, policy, sink);
  }

  /** Whether a body in chunks must be given a length before it goes to this endpoint. */
  wantsLength(view: EndpointView, isPinned: boolean): boolean {
    return this.#pools.get(isPinned ? `app ${view.endpoint.id}` : view.endpoint.id)?.wantsLength === true;
  }

  /**
   * Closes what is idle at endpoints that left or are ejected; what is busy there closes when its response is over. An
   * endpoint that comes back, or is needed all the same in panic, begins with new connections.
   */
  reconcile(snapshot: MeshSnapshot): void {
    const isUsed = new Map<string, boolean>();
    for (const view of snapshot.services.values()) {
      for (const member of view.endpoints) {
        const { state } = member.stats;
        const isOut = state === 'ejected' || state === 'draining';
        // Panic uses what is ejected, but what is drained only when there is nothing else.
        const isNeeded = view.isPanicking && (state === 'ejected' || view.pickable.includes(member));
        isUsed.set(member.endpoint.id, !isOut || isNeeded);
      }
    }
    for (const [id, pool] of this.#pools) {
      pool.isDraining = !pool.isPinned && isUsed.get(id) !== true;
      if (!pool.isDraining) continue;
      pool.closeIdle();
      if (pool.all.size === 0) this.#pools.delete(id);
    }
  }

  /** Connections by destination, for gauges and /clusters. */
  connections(): { destination: string; active: number; idle: number }[] {
    const byService = new Map<string, { destination: string; active: number; idle: number }>();
    for (const pool of this.#pools.values()) {
      const count = byService.get(pool.service) ?? { destination: pool.service, active: 0, idle: 0 };
      count.idle += pool.idleCount;
      count.active += pool.all.size - pool.idleCount;
      byService.set(pool.service, count);
    }
    return [...byService.values()];
  }

  /** Connections of one endpoint, busy and idle. */
  connectionsOf(endpointId: string): number {
    return this.#pools.get(endpointId)?.all.size ?? 0;
  }

  closeAll(): void {
    for (const pool of this.#pools.values()) for (const connection of [...pool.all]) connection.destroy();
    this.#pools.clear();
  }
}
