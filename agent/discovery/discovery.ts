// Who serves what: static endpoints, watches, last-known-good. Hands endpoint sets to the mesh and tells how old and
// how trustworthy they are. Fail static: no fault of a source ever empties a set.

import type { MeshEvent } from '#contract/frames.ts';
import type { Clock, Random } from '../clock.ts';
import type { Endpoint, EndpointSet } from '../core/endpoint.ts';
import { ChosenSource } from './chosen-source.ts';
import type { ConsulClient } from './consul-client.ts';
import { createConsulSource } from './consul-source.ts';
import { type DiscoveryStatus, describer, staticStatus, watchStatus } from './describe.ts';
import type { EndpointFeed } from './endpoint-feed.ts';
import type { HealthSource, Origin } from './health-source.ts';
import type { KnownSet, LastKnownGood } from './last-known-good.ts';
import { NewNames } from './new-names.ts';
import { RecentServices } from './recent.ts';
import { type ChoiceTiming, DEFAULT_CHOICE } from './source-choice.ts';
import { DEFAULT_WATCH_TIMING, Watcher, type WatchTiming } from './watcher.ts';

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
  /** What the control plane says, which then goes before Consul; absent: Consul is asked always. */
  readonly feed?: EndpointFeed | null;
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
  readonly choice: ChoiceTiming;
  /** Between two looks whether another source should be asked. */
  readonly lookMs: number;
  /** An undeclared service is no longer watched after this long without use. */
  readonly idleMs: number;
  readonly idleCheckMs: number;
  /** An undeclared service that Consul does not know is not asked for again within this time. */
  readonly unknownMs: number;
}

const MAX_UNDECLARED = 32;
const MAX_UNKNOWN = 256;

const DEFAULT_TIMING: DiscoveryTiming = {
  watch: DEFAULT_WATCH_TIMING,
  choice: DEFAULT_CHOICE,
  lookMs: 250,
  idleMs: 600_000,
  idleCheckMs: 30_000,
  unknownMs: 2_000,
};

interface Watched {
  readonly watcher: Watcher;
  /** Null: Consul is the only source. */
  readonly chosen: ChosenSource | null;
  /** Resolves after the first answer or failure. */
  readonly first: Promise<void>;
  readonly known: KnownSet | null;
  readonly isDeclared: boolean;
}

export function createDiscovery(options: DiscoveryOptions): Discovery {
  return new Discovery(options);
}

export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #timing: DiscoveryTiming;
  readonly #statics = new Map<string, readonly Endpoint[]>();
  readonly #watched = new Map<string, Watched>();
  readonly #running = new Set<Promise<void>>();
  readonly #recent: RecentServices;
  readonly #newNames: NewNames;
  /** Undeclared names that Consul did not know, with the time until which they are not asked for. Oldest first. */
  readonly #unknown = new Map<string, number>();
  /** Last set with endpoints of each service: from the disk first, then from Consul. */
  #known = new Map<string, KnownSet>();
  /** Uses of each watched service at the last look. */
  readonly #uses = new Map<string, number>();
  readonly #timers: NodeJS.Timeout[] = [];
  /** Between start() and stop(). */
  #isRunning = false;

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
    this.#newNames = new NewNames(options.clock.now());
    this.#recent = new RecentServices(MAX_UNDECLARED, this.#timing.idleMs);
  }

  /** Applies static and last-known endpoints before it returns, then begins watching. */
  start(): void {
    const { upstreams, client, lastKnownGood, applyEndpoints } = this.#options;
    this.#isRunning = true;
    this.#known = new Map(lastKnownGood.load());
    for (const upstream of upstreams) {
      if (upstream.endpoints !== null) {
        const endpoints = staticEndpoints(upstream.service, upstream.endpoints);
        this.#statics.set(upstream.service, endpoints);
        applyEndpoints({ service: upstream.service, source: 'static', endpoints });
      } else if (client !== null) this.#watch(client, upstream.service, true);
    }
    this.#timers.push(setInterval(() => this.#lookOver(), this.#timing.idleCheckMs).unref());
    if (this.#options.feed == null) return;
    this.#timers.push(setInterval(() => this.#lookAtSources(), this.#timing.lookMs).unref());
  }

  /**
   * Makes sure a service is watched, and notes that it was used.
   * Resolves when its first answer or first failure came; at once when it is known already, and before start(). Never rejects.
   */
  async ensure(service: string): Promise<void> {
    const { client, clock } = this.#options;
    if (!this.#isRunning || client === null || this.#statics.has(service)) return;
    let entry = this.#watched.get(service);
    if (entry === undefined) {
      if (clock.now() < (this.#unknown.get(service) ?? Number.NEGATIVE_INFINITY)) return;
      // What was served before needs no leave; a name that nobody has seen does.
      if (!this.#known.has(service) && !this.#newNames.take(clock.now())) return;
      this.#unknown.delete(service);
      entry = this.#watch(client, service, false);
    }
    this.touch(service);
    // Endpoints from the disk serve at once; nobody waits for Consul to confirm them.
    if (entry.known === null) await entry.first;
  }

  /** Notes that an undeclared service was used; cheap enough for every request. */
  touch(service: string): void {
    const entry = this.#watched.get(service);
    if (entry === undefined || entry.isDeclared) return;
    for (const leaver of this.#recent.use(service, this.#options.clock.now())) this.#drop(leaver);
  }

  status(): DiscoveryStatus[] {
    const statics = [...this.#statics].map(([service, endpoints]) => staticStatus(service, endpoints.length));
    const watches = [...this.#watched].map(([service, { watcher, known }]) =>
      watchStatus(service, watcher.status, known, this.#options.clock),
    );
    return [...statics, ...watches];
  }

  /** Ends every watch and writes what is pending. */
  async stop(): Promise<void> {
    const { lastKnownGood } = this.#options;
    this.#isRunning = false;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    // Confirmed again at the very end, so that the age after a restart is the true one.
    for (const { watcher } of this.#watched.values()) watcher.stop();
    this.#recordConfirmed();
    await Promise.all(this.#running);
    await lastKnownGood.flush();
  }

  #watch(client: ConsulClient, service: string, isDeclared: boolean): Watched {
    const { clock, random } = this.#options;
    const known = this.#known.get(service) ?? null;
    const first = Promise.withResolvers<void>();
    const consul = createConsulSource(client);
    const chosen = this.#choosing(service, consul);
    const watcher = new Watcher({
      service,
      source: chosen ?? consul,
      clock,
      random,
      timing: this.#timing.watch,
      initial: known?.endpoints ?? [],
      onEndpoints: (endpoints) => this.#take(service, endpoints, isDeclared),
      onStatus: describer(service, (reason, text, kind) => this.#emit(service, reason, text, kind)),
      onFirst: () => first.resolve(),
    });
    if (known !== null) this.#applyKnown(known);
    const entry = { watcher, chosen, first: first.promise, known, isDeclared };
    this.#watched.set(service, entry);
    // A watch that ends, for whatever reason, must not leave anybody waiting for its first answer.
    const run = watcher.run().finally(() => first.resolve());
    this.#running.add(run);
    void run.then(() => this.#running.delete(run));
    return entry;
  }

  #choosing(service: string, consul: HealthSource): ChosenSource | null {
    const { feed, random } = this.#options;
    if (feed == null) return null;
    feed.want(service);
    const onMoved = (origin: Origin, why: string | null): void => {
      const text =
        why === null
          ? `The control plane says again who serves ${service}; Consul is not asked any more.`
          : `Consul itself is asked who serves ${service}, not the control plane: ${why}.`;
      this.#emit(service, origin === 'consul' ? 'source_consul' : 'source_control_plane', text);
    };
    return new ChosenSource({ service, consul, feed, random, timing: this.#timing.choice, onMoved });
  }

  #lookAtSources(): void {
    const now = this.#options.clock.now();
    for (const { chosen, watcher } of this.#watched.values()) chosen?.look(now, watcher.status.serving.length > 0);
  }

  #applyKnown({ service, endpoints, confirmedAtEpochMs }: KnownSet): void {
    this.#options.applyEndpoints({ service, source: 'disk', endpoints });
    // A wall clock that was set back must not give an age below nothing.
    const ageSeconds = Math.max(0, Math.round((this.#options.clock.epochMs() - confirmedAtEpochMs) / 1000));
    const text = `Serving ${service} from the ${endpoints.length} endpoints known ${ageSeconds} s ago.`;
    this.#emit(service, 'from_disk', text);
  }

  #take(service: string, endpoints: readonly Endpoint[], isDeclared: boolean): void {
    const { clock, applyEndpoints, lastKnownGood } = this.#options;
    const watched = this.#watched.get(service);
    if (watched === undefined) return;
    const { confirmedAt, origin, isDenied } = watched.watcher.status;
    // While an answer is held, what is served is as old as the last one that was believed.
    const confirmedAtEpochMs =
      confirmedAt === null ? (watched.known?.confirmedAtEpochMs ?? clock.epochMs()) : toEpoch(clock, confirmedAt);
    const set = { service, endpoints, confirmedAtEpochMs };
    lastKnownGood.record(set);
    if (endpoints.length > 0) this.#known.set(service, set);
    else this.#known.delete(service);
    if (endpoints.length === 0 && !isDeclared && !isDenied) {
      // Any Host header can name a service that nobody runs: it gets no watch of its own, and the request a 404.
      this.#drop(service);
      this.#remember(service);
      return;
    }
    applyEndpoints({ service, source: origin ?? 'consul', endpoints });
  }

  #remember(service: string): void {
    this.#unknown.delete(service);
    this.#unknown.set(service, this.#options.clock.now() + this.#timing.unknownMs);
    const oldest = this.#unknown.keys().next();
    if (this.#unknown.size > MAX_UNKNOWN && oldest.done !== true) this.#unknown.delete(oldest.value);
  }

  #lookOver(): void {
    this.#dropIdle();
    this.#recordConfirmed();
  }

  /** So that the age on disk stays true while nothing changes, and a disk that refused is tried again. */
  #recordConfirmed(): void {
    const { clock, lastKnownGood } = this.#options;
    for (const [service, { watcher }] of this.#watched) {
      const { confirmedAt, serving } = watcher.status;
      if (confirmedAt === null || serving.length === 0) continue;
      lastKnownGood.record({ service, endpoints: serving, confirmedAtEpochMs: toEpoch(clock, confirmedAt) });
    }
  }

  #dropIdle(): void {
    const { usesOf, clock } = this.#options;
    for (const service of this.#watched.keys()) {
      const count = usesOf?.(service) ?? 0;
      if (count !== (this.#uses.get(service) ?? 0)) this.touch(service);
      this.#uses.set(service, count);
    }
    for (const leaver of this.#recent.expire(clock.now())) this.#drop(leaver);
  }

  #drop(service: string): void {
    this.#recent.forget(service);
    this.#uses.delete(service);
    this.#watched.get(service)?.watcher.stop();
    this.#options.feed?.drop(service);
    if (this.#watched.delete(service)) this.#options.removeService(service);
  }

  #emit(service: string, reason: string, text: string, kind: MeshEvent['kind'] = 'discovery'): void {
    const { clock, onEvent } = this.#options;
    onEvent({ atEpochMs: clock.epochMs(), kind, service, endpoint: null, reason, text });
  }
}

/** An address that is listed twice is one endpoint. */
function staticEndpoints(
  service: string,
  addresses: readonly { readonly host: string; readonly port: number }[],
): Endpoint[] {
  const byId = new Map<string, Endpoint>();
  for (const { host, port } of addresses) {
    const id = `${service}@${host}:${port}`;
    byId.set(id, { id, address: host, port, weight: 1, zone: null, tags: [], meta: {} });
  }
  return [...byId.values()];
}

/** The wall-clock time of a monotonic instant in the past. */
function toEpoch(clock: Clock, at: number): number {
  return Math.round(clock.epochMs() - (clock.now() - at));
}
