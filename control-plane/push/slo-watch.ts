// Looks at the error budgets every two seconds, tells what began or ended to burn, and has the counts exchanged now and then.

import type { AlertChange } from '../core/slo/book.ts';
import { SloExchange, type SloExchangeOptions } from './slo-exchange.ts';

export const LOOK_EVERY_MS = 2_000;
/** What was counted since is lost when the control plane and the agent end together. */
export const EXCHANGE_EVERY_MS = 5_000;

export interface SloWatchOptions extends SloExchangeOptions {
  readonly onChange: (change: AlertChange) => void;
  /** LOOK_EVERY_MS when absent. */
  readonly lookEveryMs?: number | undefined;
}

export class SloWatch {
  readonly #options: SloWatchOptions;
  readonly #exchange: SloExchange;
  #timer: NodeJS.Timeout | null = null;
  #exchangedAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | null = null;
  #isFailing = false;

  constructor(options: SloWatchOptions) {
    this.#options = options;
    this.#exchange = new SloExchange(options);
  }

  /** Settles when what was kept is taken over. */
  async start(): Promise<void> {
    const { clock, lookEveryMs = LOOK_EVERY_MS } = this.#options;
    // A file that is there and cannot be read must not be written over.
    if (this.#options.store.isAlone) await this.#exchange.begin();
    else await this.#guarded(() => this.#exchange.begin());
    this.#exchangedAt = clock.now();
    this.#timer = setInterval(() => this.#look(), lookEveryMs);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#running;
    if (this.#timer !== null) await this.#guarded(() => this.#exchange.end());
    this.#options.store.close();
  }

  #look(): void {
    const { book, intake, clock, isLeader, onChange } = this.#options;
    intake.review(clock.now());
    // Who leads is not known while the store is away, and to be told twice is better than not at all.
    if (isLeader() || this.#isFailing) for (const change of book.evaluate(clock.epochMs())) onChange(change);
    if (this.#running !== null || clock.now() - this.#exchangedAt < EXCHANGE_EVERY_MS) return;
    this.#exchangedAt = clock.now();
    this.#running = this.#guarded(() => this.#exchange.run()).finally(() => {
      this.#running = null;
    });
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#isFailing = false;
    } catch (error) {
      // Said once: a disk that is full is full for a while.
      if (!this.#isFailing) this.#options.onNotice(`the counts of error budgets could not be kept: ${String(error)}`);
      this.#isFailing = true;
    }
  }
}
