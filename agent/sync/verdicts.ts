// Delivers verdicts to the control plane: the latest only, as often as it takes. A newer verdict replaces one that was not
// delivered yet, because the control plane ignores older nonces anyway.

import { setTimeout as sleep } from 'node:timers/promises';
import type { PolicyVerdict } from '#contract/frames.ts';
import type { Random } from '../clock.ts';
import { type BackOff, backOffMs } from '../core/back-off.ts';
import type { Fault } from './control-plane-client.ts';

export class Verdicts {
  readonly #post: (verdict: PolicyVerdict, signal: AbortSignal) => Promise<Fault>;
  readonly #random: Random;
  readonly #backOff: BackOff;
  readonly #stop = new AbortController();
  #latest: PolicyVerdict | null = null;
  #running: Promise<void> | null = null;

  constructor(options: {
    post(verdict: PolicyVerdict, signal: AbortSignal): Promise<Fault>;
    readonly random: Random;
    readonly backOff: BackOff;
  }) {
    this.#post = options.post;
    this.#random = options.random;
    this.#backOff = options.backOff;
  }

  /** Notes a verdict and returns at once. */
  deliver(verdict: PolicyVerdict): void {
    this.#latest = verdict;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  /** Gives up on what is not delivered. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    while (this.#latest !== null && !signal.aborted) {
      const verdict: PolicyVerdict = this.#latest;
      const fault = await this.#post(verdict, signal);
      if (fault === null) {
        failures = 0;
        if (this.#latest === verdict) this.#latest = null;
        continue;
      }
      failures++;
      const delayMs = backOffMs(failures, this.#random, this.#backOff);
      // The only rejection is our own signal, which ends the loop.
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
