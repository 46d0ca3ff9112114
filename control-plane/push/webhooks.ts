// Tells the configured addresses about alerts: a few tries each, a bounded queue, and nowhere else, wherever an answer points.

import type { AlertChange } from '../core/slo/book.ts';

/** Pauses between the tries of one delivery. */
const PAUSES_MS = [1_000, 5_000, 25_000];
const TIMEOUT_MS = 5_000;
/** Alerts under way to one address; of more the newest are dropped, and said. */
const QUEUE_LIMIT = 100;

export interface WebhooksOptions {
  readonly urls: readonly string[];
  /** Told of a delivery that was given up. */
  readonly onFault: (text: string) => void;
  readonly pausesMs?: readonly number[];
}

export class Webhooks {
  readonly #options: WebhooksOptions;
  readonly #stop = new AbortController();
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: WebhooksOptions) {
    this.#options = options;
  }

  send(change: AlertChange): void {
    for (const url of this.#options.urls) {
      if (this.#underWay.size >= QUEUE_LIMIT * this.#options.urls.length) {
        this.#options.onFault(`the alert ${change.alert} of ${change.service} was not sent: too many are under way`);
        return;
      }
      const delivery = this.#deliver(url, change).finally(() => this.#underWay.delete(delivery));
      this.#underWay.add(delivery);
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#underWay);
  }

  async #deliver(url: string, change: AlertChange): Promise<void> {
    const { onFault, pausesMs = PAUSES_MS } = this.#options;
    let fault = await this.#post(url, change);
    for (const pauseMs of pausesMs) {
      if (fault === null || this.#stop.signal.aborted) return;
      await pause(pauseMs, this.#stop.signal);
      if (!this.#stop.signal.aborted) fault = await this.#post(url, change);
    }
    if (fault !== null) onFault(`the alert ${change.alert} of ${change.service} was given up: ${fault}`);
  }

  /** Redirects are refused: who answers must not choose where the control plane goes next. */
  async #post(url: string, change: AlertChange): Promise<string | null> {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(change),
        redirect: 'manual',
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      await response.body?.cancel();
      return response.ok ? null : `the webhook answered ${response.status}`;
    } catch (error) {
      return error instanceof Error ? `the webhook did not answer: ${error.message}` : String(error);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
