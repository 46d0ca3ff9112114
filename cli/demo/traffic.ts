// The demo's end users: a steady open-loop stream of requests that does not slow down when answers do.

import { Agent, request } from 'node:http';
import type { Clock } from '../../agent/clock.ts';

const TICK_MS = 10;
const TIMEOUT_MS = 20_000;
/** Beyond this many open requests the machine is too slow for the rate; further ones are not sent, and counted as skipped. */
const MAX_OPEN = 2_000;
/** Latencies of the last seconds, for the quantiles on the screen. */
const KEPT_LATENCIES = 2_000;

export interface TrafficCounts {
  readonly sent: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Due but not sent because too many were open. */
  readonly skipped: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** What the latest failure was, or null. */
  readonly lastFailure: string | null;
}

export class Traffic {
  readonly #options: { host: string; port: number; path: string; perSecond: number; clock: Clock };
  readonly #agent = new Agent({ keepAlive: true, maxSockets: MAX_OPEN });
  readonly #latencies: number[] = [];
  #timer: NodeJS.Timeout | null = null;
  #startedAt = 0;
  #due = 0;
  #open = 0;
  #succeeded = 0;
  #failed = 0;
  #skipped = 0;
  #lastFailure: string | null = null;

  constructor(options: { host: string; port: number; path: string; perSecond: number; clock: Clock }) {
    this.#options = options;
  }

  start(): void {
    this.#startedAt = this.#options.clock.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Sends nothing more and waits for open requests, at most `deadlineMs`; those still open then count as neither. */
  async stop(deadlineMs: number): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    const giveUpAt = this.#options.clock.now() + deadlineMs;
    while (this.#open > 0 && this.#options.clock.now() < giveUpAt) {
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    this.#agent.destroy();
  }

  counts(): TrafficCounts {
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    return {
      sent: this.#succeeded + this.#failed,
      succeeded: this.#succeeded,
      failed: this.#failed,
      skipped: this.#skipped,
      p50Ms: quantile(sorted, 0.5),
      p99Ms: quantile(sorted, 0.99),
      lastFailure: this.#lastFailure,
    };
  }

  #tick(): void {
    const { clock, perSecond } = this.#options;
    const due = Math.floor(((clock.now() - this.#startedAt) / 1000) * perSecond);
    for (; this.#due < due; this.#due++) {
      if (this.#open >= MAX_OPEN) this.#skipped++;
      else this.#send();
    }
  }

  #send(): void {
    const { host, port, path, clock } = this.#options;
    const startedAt = clock.now();
    let isEnded = false;
    const end = (failure: string | null): void => {
      if (isEnded) return;
      isEnded = true;
      this.#open--;
      if (failure === null) {
        this.#succeeded++;
        this.#latencies.push(clock.now() - startedAt);
        if (this.#latencies.length > KEPT_LATENCIES) this.#latencies.shift();
      } else {
        this.#failed++;
        this.#lastFailure = failure;
      }
    };
    this.#open++;
    const call = request({ host, port, path, agent: this.#agent, timeout: TIMEOUT_MS });
    call.on('timeout', () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    call.on('error', (error) => end(error.message));
    call.on('response', (answer) => {
      const reason = answer.headers['x-outrigger-reason'];
      answer.resume();
      answer.on('error', (error) => end(error.message));
      answer.on('end', () => {
        const status = answer.statusCode ?? 0;
        end(status < 400 ? null : `status ${status}${typeof reason === 'string' ? ` (${reason})` : ''}`);
      });
      answer.on('close', () => end('the answer broke off'));
    });
    call.end();
  }
}

function quantile(sorted: readonly number[], share: number): number | null {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
}
