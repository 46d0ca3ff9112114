// Counters of one edge. Owns the layout of its typed arrays; the words of every index come from core's closed lists.

import type { EdgeReport } from '#contract/frames.ts';
import { OUTCOME_KINDS, type OutcomeKind } from '../core/outcome.ts';
import { REASON_STATUS, type RequestResult } from '../core/reason.ts';
import { LatencyHistogram } from './histogram.ts';
import type { Direction, Edge } from './metrics.ts';

/** Every result, `ok` first; index into the request counters. */
export const RESULTS = ['ok', ...(Object.keys(REASON_STATUS) as (keyof typeof REASON_STATUS)[])] as const;
/** `none`: nothing was sent downstream. */
export const CODE_CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;
/** Reasons for retries that one edge tells apart; further ones count as `other`. */
const MAX_RETRY_REASONS = 15;

const RESULT_INDEX: ReadonlyMap<RequestResult, number> = new Map(RESULTS.map((result, index) => [result, index]));
const OUTCOME_INDEX: ReadonlyMap<OutcomeKind, number> = new Map(OUTCOME_KINDS.map((kind, index) => [kind, index]));

export class EdgeCounters implements Edge {
  readonly direction: Direction;
  readonly source: string;
  readonly destination: string;
  readonly latency = new LatencyHistogram();
  readonly #requests = new Float64Array(RESULTS.length * CODE_CLASSES.length);
  readonly #attempts = new Float64Array(OUTCOME_KINDS.length);
  readonly #retries = new Map<string, number>();
  #retried = 0;
  #inFlight = 0;
  #exhausted = 0;

  constructor(direction: Direction, source: string, destination: string) {
    this.direction = direction;
    this.source = source;
    this.destination = destination;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get retryBudgetExhausted(): number {
    return this.#exhausted;
  }

  begin(): void {
    this.#inFlight++;
  }

  end(result: RequestResult, status: number, durationMs: number): void {
    this.#inFlight--;
    const codeClass = status >= 100 && status < 600 ? (status / 100) | 0 : 0;
    const index = (RESULT_INDEX.get(result) ?? 0) * CODE_CLASSES.length + codeClass;
    this.#requests[index] = (this.#requests[index] ?? 0) + 1;
    this.latency.record(durationMs);
  }

  attempt(kind: OutcomeKind): void {
    const index = OUTCOME_INDEX.get(kind) ?? 0;
    this.#attempts[index] = (this.#attempts[index] ?? 0) + 1;
  }

  retry(reason: string): void {
    this.#retried++;
    const isKnown = this.#retries.has(reason) || this.#retries.size < MAX_RETRY_REASONS;
    const key = isKnown ? reason : 'other';
    this.#retries.set(key, (this.#retries.get(key) ?? 0) + 1);
  }

  budgetExhausted(): void {
    this.#exhausted++;
  }

  /** Request counters that are not zero. */
  requests(): { result: string; codeClass: string; count: number }[] {
    const found: { result: string; codeClass: string; count: number }[] = [];
    this.#requests.forEach((count, index) => {
      if (count === 0) return;
      const result = RESULTS[(index / CODE_CLASSES.length) | 0] ?? 'ok';
      found.push({ result, codeClass: CODE_CLASSES[index % CODE_CLASSES.length] ?? 'none', count });
    });
    return found;
  }

  /** Attempt counters that are not zero, by outcome. */
  attempts(): [outcome: string, count: number][] {
    return OUTCOME_KINDS.map((kind, index): [string, number] => [kind, this.#attempts[index] ?? 0]).filter(
      ([, count]) => count > 0,
    );
  }

  retries(): ReadonlyMap<string, number> {
    return this.#retries;
  }

  report(): EdgeReport {
    let successes = 0;
    for (const { result, codeClass, count } of this.requests()) {
      if (result === 'ok' && codeClass !== '5xx') successes += count;
    }
    return {
      direction: this.direction,
      source: this.source,
      destination: this.destination,
      requests: this.latency.count,
      successes,
      retries: this.#retried,
      inFlight: this.#inFlight,
      p50Ms: this.latency.quantile(0.5),
      p99Ms: this.latency.quantile(0.99),
    };
  }
}
