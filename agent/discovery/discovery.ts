// Who serves what: static endpoints, Consul watches, last-known-good. Hands endpoint sets to the mesh and tells how old and
// how trustworthy they are. Fail static: no fault of a source ever empties a set.

import type { MeshEvent, ServiceReport } from '#contract/frames.ts';
import type { Clock, Random } from '../clock.ts';
import type { Endpoint, EndpointSet } from '../core/endpoint.ts';
import type { ConsulClient } from './consul-client.ts';
import type { DropReason } from './decode.ts';
import type { KnownSet, LastKnownGood } from './last-known-good.ts';
import { RecentServices } from './recent.ts';
import { DEFAULT_WATCH_TIMING, Watcher, type WatchStatus, type WatchTiming } from './watcher.ts';

/** One upstream of the configuration, as far as discovery needs it. */
export interface UpstreamConfig {
  readonly service: string;
  /** Static endpoints: Consul is never asked. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[] | null;
}

export interface DiscoveryOptions {
  readonly upstreams: readonly UpstreamConfig[];
  /** null: `consul: false`, only static endpoints exist. Closed by whoever made it. */
  readonly client: ConsulClient | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly lastKnownGood: LastKnownGood;
  applyEndpoints(set: EndpointSet): void;
  /** An undeclared service that was not used for a while, or never existed. */
  removeService(service: string): void;
  onEvent(event: MeshEvent): void;
  /** A number that grows with every request to the service. What moved since the last look counts as used, at no cost per request. */
  usesOf?(service: string): number;
  readonly timing?: Partial<DiscoveryTiming>;
}

export interface DiscoveryTiming {
  readonly watch: WatchTiming;
  /** An undeclared service is no longer watched after this long without use. */
  readonly idleMs: number;
  readonly idleCheckMs: number;
  /** An undeclared service that Consul does not know is not asked for again within this time. */
  readonly unknownMs: number;
}

/**
 * `live`: the source's newest answer is served. `holding`: it is not, see `holding`. `stale`: the source does not answer.
 * `cold`: it has not answered yet since the start.
 */
export type DiscoveryState = 'static' | 'live' | 'holding' | 'stale' | 'cold';

export interface DiscoveryStatus extends Pick<ServiceReport, 'service' | 'source' | 'ageMs' | 'holding'> {
  readonly state: DiscoveryState;
  readonly endpoints: number;
  /** Entries of the newest answer that could not be used, by reason. */
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  /** Last fault while the source does not answer, else null. */
  readonly failure: string | null;
}

export interface Discovery {
  /** Applies static and last-known endpoints before it returns, then begins watching. */
  start(): void;
  /**
   * Makes sure a service is watched, and notes that it was used.
   * Resolves when its first answer or first failure came; at once when it is known already. Never rejects.
   */
  ensure(service: string): Promise<void>;
  /** Notes that an undeclared service was used; cheap enough for every request. */
  touch(service: string): void;
  status(): DiscoveryStatus[];
  /** Ends every watch and writes what is pending. */
  stop(): Promise<void>;
}

const MAX_UNDECLARED = 32;
const MAX_UNKNOWN = 256;

interface Watched {
  readonly watcher: Watcher;
  readonly first: Promise<void>;
  readonly known: KnownSet | null;
  readonly isDeclared: boolean;
}

export function createDiscovery(options: DiscoveryOptions): Discovery {
  const { client, clock, random, lastKnownGood, applyEndpoints, removeService, onEvent } = options;
  const timing: DiscoveryTiming = {
    watch: DEFAULT_WATCH_TIMING,
    idleMs: 600_000,
    idleCheckMs: 30_000,
    unknownMs: 2_000,
    ...options.timing,
  };
  const statics = new Map<string, readonly Endpoint[]>();
  const watched = new Map<string, Watched>();
  const running = new Set<Promise<void>>();
  const recent = new RecentServices(MAX_UNDECLARED, timing.idleMs);
  /** Undeclared names that Consul did not know, with the time until which they are not asked for. Oldest first. */
  const unknown = new Map<string, number>();
  let known = new Map<string, KnownSet>();
  const uses = new Map<string, number>();
  let idleTimer: NodeJS.Timeout | null = null;
  let isStopped = false;

  const emit = (service: string, reason: string, text: string, kind: MeshEvent['kind'] = 'discovery'): void =>
    onEvent({ atEpochMs: clock.epochMs(), kind, service, endpoint: null, reason, text });

  function start(): void {
    known = new Map(lastKnownGood.load());
    for (const upstream of options.upstreams) {
      if (upstream.endpoints !== null) {
        const endpoints = upstream.endpoints.map((address) => staticEndpoint(upstream.service, address));
        statics.set(upstream.service, endpoints);
        applyEndpoints({ service: upstream.service, source: 'static', endpoints });
      } else if (client !== null) watch(client, upstream.service, true);
    }
    idleTimer = setInterval(dropIdle, timing.idleCheckMs).unref();
  }

  function dropIdle(): void {
    for (const [service, entry] of watched) {
      const count = options.usesOf?.(service) ?? 0;
      if (count !== (uses.get(service) ?? 0)) touch(service, entry);
      uses.set(service, count);
    }
    recent.expire(clock.now()).forEach(drop);
  }

  function watch(client: ConsulClient, service: string, isDeclared: boolean): Watched {
    const fromDisk = known.get(service) ?? null;
    const first = Promise.withResolvers<void>();
    const describe = describer(service, emit);
    const watcher = new Watcher({
      service,
      client,
      clock,
      random,
      timing: timing.watch,
      initial: fromDisk?.endpoints ?? [],
      onEndpoints: (endpoints) => take(service, endpoints, isDeclared),
      onStatus: describe,
      onFirst: () => first.resolve(),
    });
    if (fromDisk !== null) {
      applyEndpoints({ service, source: 'disk', endpoints: fromDisk.endpoints });
      const age = Math.round((clock.epochMs() - fromDisk.confirmedAtEpochMs) / 1000);
      emit(
        service,
        'from_disk',
        `Serving ${service} from the ${fromDisk.endpoints.length} endpoints known ${age} s ago.`,
      );
    }
    const entry = { watcher, first: first.promise, known: fromDisk, isDeclared };
    watched.set(service, entry);
    // A watch that ends, for whatever reason, must not leave anybody waiting for its first answer.
    const run = watcher.run().finally(() => first.resolve());
    running.add(run);
    void run.then(() => running.delete(run));
    return entry;
  }

  function take(service: string, endpoints: readonly Endpoint[], isDeclared: boolean): void {
    if (!watched.has(service)) return;
    if (endpoints.length === 0 && !isDeclared) {
      // Any Host header can name a service that nobody runs: it gets no watch of its own, and the request a 404.
      drop(service);
      remember(service);
      return;
    }
    applyEndpoints({ service, source: 'consul', endpoints });
    const set = { service, endpoints, confirmedAtEpochMs: clock.epochMs() };
    if (endpoints.length === 0) known.delete(service);
    else known.set(service, set);
    lastKnownGood.record(set);
  }

  function remember(service: string): void {
    unknown.delete(service);
    unknown.set(service, clock.now() + timing.unknownMs);
    const oldest = unknown.keys().next();
    if (unknown.size > MAX_UNKNOWN && oldest.done !== true) unknown.delete(oldest.value);
  }

  function drop(service: string): void {
    recent.forget(service);
    uses.delete(service);
    watched.get(service)?.watcher.stop();
    if (watched.delete(service)) removeService(service);
  }

  async function ensure(service: string): Promise<void> {
    if (isStopped || client === null || statics.has(service)) return;
    let entry = watched.get(service);
    if (entry === undefined) {
      if (clock.now() < (unknown.get(service) ?? Number.NEGATIVE_INFINITY)) return;
      unknown.delete(service);
      entry = watch(client, service, false);
    }
    touch(service, entry);
    // Endpoints from the disk serve at once; nobody waits for Consul to confirm them.
    if (entry.known === null) await entry.first;
  }

  function touch(service: string, entry: Watched | undefined = watched.get(service)): void {
    if (entry !== undefined && !entry.isDeclared) recent.use(service, clock.now()).forEach(drop);
  }

  function status(): DiscoveryStatus[] {
    const fixed = [...statics].map(
      ([service, endpoints]): DiscoveryStatus => ({
        service,
        source: 'static',
        ageMs: null,
        holding: null,
        state: 'static',
        endpoints: endpoints.length,
        dropped: {},
        failure: null,
      }),
    );
    return [...fixed, ...[...watched].map(([service, entry]) => statusOf(service, entry, clock))];
  }

  async function stop(): Promise<void> {
    isStopped = true;
    if (idleTimer !== null) clearInterval(idleTimer);
    // Confirmed again at the very end, so that the age after a restart is the true one.
    for (const [service, { watcher }] of watched) {
      const { confirmedAt, serving } = watcher.status;
      watcher.stop();
      if (confirmedAt === null || serving.length === 0) continue;
      lastKnownGood.record({ service, endpoints: serving, confirmedAtEpochMs: toEpoch(clock, confirmedAt) });
    }
    await Promise.all(running);
    await lastKnownGood.flush();
  }

  return { start, ensure, touch: (service) => touch(service), status, stop };
}

function statusOf(service: string, { watcher, known }: Watched, clock: Clock): DiscoveryStatus {
  const { confirmedAt, holding, failure, health, serving } = watcher.status;
  const source = confirmedAt !== null ? 'consul' : known !== null ? 'disk' : 'none';
  const ageMs =
    confirmedAt !== null
      ? clock.now() - confirmedAt
      : known !== null
        ? Math.max(0, clock.epochMs() - known.confirmedAtEpochMs)
        : null;
  const state = confirmedAt === null ? 'cold' : failure !== null ? 'stale' : holding !== null ? 'holding' : 'live';
  return {
    service,
    source,
    ageMs,
    holding: failure === null ? holding : `Consul does not answer (${failure}); ${held(serving.length)}`,
    state,
    endpoints: serving.length,
    dropped: health?.dropped ?? {},
    failure,
  };
}

function held(count: number): string {
  return count === 0 ? 'nothing is known yet' : `keeping the ${count} known`;
}

/** Turns changes of a watch's status into events: one when something begins, one when it ends. */
function describer(
  service: string,
  emit: (service: string, reason: string, text: string, kind?: MeshEvent['kind']) => void,
): (status: WatchStatus) => void {
  let former: Pick<WatchStatus, 'holding' | 'failure'> = { holding: null, failure: null };
  let dropped = '{}';
  return (status) => {
    if (status.failure !== null && former.failure === null) {
      const kept = held(status.serving.length);
      emit(service, 'source_failed', `Consul does not tell who serves ${service}: ${status.failure}; ${kept}.`);
    } else if (status.failure === null && former.failure !== null) {
      emit(service, 'source_recovered', `Consul tells who serves ${service} again.`);
    }
    if (status.holding !== null && status.holding !== former.holding) {
      const isPanic = status.health?.isPanicSet === true;
      emit(
        service,
        isPanic ? 'all_critical' : 'holding',
        `${service}: ${status.holding}.`,
        isPanic ? 'panic' : 'discovery',
      );
    } else if (status.holding === null && former.holding !== null) {
      emit(service, 'released', `What Consul says about ${service} is served as it is again.`);
    }
    const drops = JSON.stringify(status.health?.dropped ?? {});
    if (drops !== dropped && drops !== '{}') {
      emit(service, 'bad_entries', `Entries of ${service} in Consul were left out: ${drops.slice(1, -1)}.`);
    }
    dropped = drops;
    former = { holding: status.holding, failure: status.failure };
  };
}

function staticEndpoint(service: string, address: { readonly host: string; readonly port: number }): Endpoint {
  const { host, port } = address;
  return { id: `${service}@${host}:${port}`, address: host, port, weight: 1, zone: null, tags: [], meta: {} };
}

/** The wall-clock time of a monotonic instant in the past. */
function toEpoch(clock: Clock, at: number): number {
  return Math.round(clock.epochMs() - (clock.now() - at));
}
