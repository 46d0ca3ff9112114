// Tells the control plane whose endpoints this agent wants: the newest list only, as often as it takes, on every new stream anew.

import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchList as Wanted } from '#contract/endpoint-frames.ts';
import type { Random } from '../clock.ts';
import { type BackOff, backOffMs } from '../core/back-off.ts';
import type { ControlPlaneClient, Fault } from './control-plane-client.ts';
import type { EndpointListener } from './policy-stream.ts';

export interface WatchListOptions {
  readonly client: ControlPlaneClient;
  readonly agentId: string;
  readonly life: string;
  readonly random: Random;
  readonly feed: EndpointListener & {
    /** The control plane does not take the list. */
    refused(why: string): void;
  };
  readonly backOff?: BackOff;
}

/** Services that come within this are told together. */
const GATHER_MS = 20;
const TIMEOUT_MS = 5_000;

export class WatchList implements EndpointListener {
  readonly #options: WatchListOptions;
  readonly #stop = new AbortController();
  #services: readonly string[] = [];
  /** Counts what is to be told; what was told up to `#told` is settled. */
  #changes = 0;
  #told = 0;
  #isOpen = false;
  #running: Promise<void> | null = null;

  constructor(options: WatchListOptions) {
    this.#options = options;
  }

  set(services: readonly string[]): void {
    this.#services = services;
    this.#deliver();
  }

  /** A new stream, whose other end knows nothing. */
  opened(): void {
    this.#isOpen = true;
    this.#options.feed.opened();
    this.#deliver();
  }

  closed(why: string): void {
    this.#isOpen = false;
    this.#options.feed.closed(why);
  }

  take(data: string): void {
    this.#options.feed.take(data);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  #deliver(): void {
    this.#changes++;
    if (!this.#isOpen) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { random, feed, backOff = { baseMs: 500, capMs: 30_000 } } = this.#options;
    let failures = 0;
    await this.#pause(GATHER_MS);
    while (this.#isOpen && this.#told !== this.#changes && !signal.aborted) {
      const changes = this.#changes;
      const fault = await this.#post();
      if (fault === null) {
        failures = 0;
        this.#told = changes;
        await this.#pause(GATHER_MS);
        continue;
      }
      failures++;
      if (!signal.aborted) feed.refused(fault);
      await this.#pause(backOffMs(failures, random, backOff));
    }
  }

  #post(): Promise<Fault> {
    const { client, agentId, life } = this.#options;
    const wanted: Wanted = { life, services: this.#services };
    return client.post(`/v1/agents/${encodeURIComponent(agentId)}/watches`, wanted, this.#stop.signal, TIMEOUT_MS);
  }

  async #pause(ms: number): Promise<void> {
    // The only rejection is our own signal, after which every loop looks at it.
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}
