// Which of several control planes does the work that must have one doer: the one whose Consul session holds a key. The others
// stand by. With one control plane it is always that one.

import type { ConsulKv } from './consul-kv.ts';
import { Patience } from './patience.ts';

export interface Leadership {
  /** Ask again at every step of the work: it may end between two of them. */
  isLeader(): boolean;
  /** Called with every change, not with the state at the beginning. Returns how to stop listening. */
  onChange(listener: (isLeader: boolean) => void): () => void;
  /** Lets another one take over at once. */
  stop(): Promise<void>;
}

export interface ConsulLeadershipOptions {
  readonly kv: ConsulKv;
  /** The key that is held. */
  readonly key: string;
  /** Who this is, for people who look at the key. */
  readonly name: string;
  readonly now: () => number;
  readonly random: () => number;
  /** Consul's shortest is 10 s, and it may let a dead session live twice as long. */
  readonly ttlMs?: number;
}

const TTL_MS = 10_000;

/** There is nobody else. */
export function createLoneLeadership(): Leadership {
  return { isLeader: () => true, onChange: () => () => undefined, stop: async () => undefined };
}

/** Stands for election in the background at once. */
export function createConsulLeadership(options: ConsulLeadershipOptions): Leadership {
  return new ConsulLeadership(options);
}

class ConsulLeadership implements Leadership {
  readonly #options: ConsulLeadershipOptions;
  readonly #ttlMs: number;
  readonly #stop = new AbortController();
  readonly #patience: Patience;
  readonly #listeners = new Set<(isLeader: boolean) => void>();
  readonly #running: Promise<void>;
  #session: string | null = null;
  /** Until when the lock is surely ours: Consul keeps a session for at least its TTL after a renewal was asked for. */
  #heldUntil = Number.NEGATIVE_INFINITY;
  /** What the listeners were told last. */
  #told = false;

  constructor(options: ConsulLeadershipOptions) {
    this.#options = options;
    this.#ttlMs = options.ttlMs ?? TTL_MS;
    this.#patience = new Patience({ now: options.now, random: options.random, signal: this.#stop.signal });
    this.#running = this.#run();
  }

  isLeader(): boolean {
    return this.#options.now() < this.#heldUntil;
  }

  onChange(listener: (isLeader: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    this.#heldUntil = Number.NEGATIVE_INFINITY;
    this.#tell();
    this.#stop.abort();
    await this.#running;
    // A session that cannot be ended now ends by itself.
    if (this.#session !== null) await this.#options.kv.destroySession(this.#session).catch(() => undefined);
    this.#options.kv.close();
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      try {
        await this.#stand();
        failures = 0;
        this.#tell();
        await this.#patience.pause(this.#ttlMs / 4);
      } catch {
        // Every reason is the same here: without an answer the lock runs out, and that is what the listeners hear.
        failures++;
        this.#tell();
        await this.#patience.afterFailure(failures);
      }
    }
  }

  /** Renews, and takes the key or keeps it. A key that somebody removed by hand is taken again. */
  async #stand(): Promise<void> {
    const { kv, key, name, now } = this.#options;
    const askedAt = now();
    if (this.#session !== null && !(await kv.renewSession(this.#session))) this.#session = null;
    this.#session ??= await kv.createSession(name, this.#ttlMs);
    const isHeld = await kv.acquire(key, name, this.#session);
    if (this.#stop.signal.aborted) return;
    this.#heldUntil = isHeld ? askedAt + this.#ttlMs : Number.NEGATIVE_INFINITY;
  }

  #tell(): void {
    const isLeader = this.isLeader();
    if (isLeader === this.#told) return;
    this.#told = isLeader;
    for (const listener of this.#listeners) listener(isLeader);
  }
}
