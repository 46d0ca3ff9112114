// The services that are watched in Consul for agents: each once, for as long as somebody wants it and a little longer, and never so
// many that Consul refuses the connections.

import type { Clock } from '../core/clock.ts';
import { type ConsulAccess, ServiceWatch, type WatchState } from './service-watch.ts';

export type { ConsulAccess, WatchState } from './service-watch.ts';

/** Consul takes 200 connections of one address; the store and the agents of this machine need some too. */
export const WATCH_LIMIT = 150;
/** Agents that all start anew must not cost Consul the first read again. */
const LINGER_MS = 30_000;

export interface EndpointWatchesOptions {
  readonly access: () => ConsulAccess | null;
  readonly clock: Clock;
  readonly random: () => number;
  /** There is something to say about the service. */
  readonly onNews: (service: string) => void;
}

interface Watched {
  readonly watch: ServiceWatch;
  wanted: number;
  lingering: NodeJS.Timeout | null;
}

export class EndpointWatches {
  readonly #options: EndpointWatchesOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: EndpointWatchesOptions) {
    this.#options = options;
  }

  /** Services that are watched now. */
  get size(): number {
    return this.#watched.size;
  }

  /** Once for each that wants it. @returns false when as many as may be are watched; then there is nothing to release */
  want(service: string): boolean {
    const known = this.#watched.get(service);
    if (known === undefined && this.#watched.size >= WATCH_LIMIT && !this.#makeRoom()) return false;
    const watched = known ?? this.#begin(service);
    watched.wanted++;
    if (watched.lingering !== null) clearTimeout(watched.lingering);
    watched.lingering = null;
    return true;
  }

  release(service: string): void {
    const watched = this.#watched.get(service);
    if (watched === undefined) return;
    watched.wanted--;
    if (watched.wanted === 0) watched.lingering = setTimeout(() => this.#end(service), LINGER_MS).unref();
  }

  /** Null when nobody wants it. */
  stateOf(service: string): WatchState | null {
    return this.#watched.get(service)?.watch.state ?? null;
  }

  async stop(): Promise<void> {
    for (const service of [...this.#watched.keys()]) this.#end(service);
    await Promise.all(this.#running);
  }

  #begin(service: string): Watched {
    const { access, clock, random, onNews } = this.#options;
    const watch = new ServiceWatch({ service, access, clock, random, onNews: () => onNews(service) });
    const watched: Watched = { watch, wanted: 0, lingering: null };
    this.#watched.set(service, watched);
    const run = watch.run().finally(() => this.#running.delete(run));
    this.#running.add(run);
    return watched;
  }

  /** Nobody wants the one that goes. */
  #makeRoom(): boolean {
    for (const [service, { wanted }] of this.#watched) {
      if (wanted > 0) continue;
      this.#end(service);
      return true;
    }
    return false;
  }

  #end(service: string): void {
    const watched = this.#watched.get(service);
    if (watched === undefined) return;
    if (watched.lingering !== null) clearTimeout(watched.lingering);
    watched.watch.stop();
    this.#watched.delete(service);
  }
}
