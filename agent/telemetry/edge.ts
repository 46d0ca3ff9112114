// Counters of one edge. Owns the layout of its typed arrays; the words of every index come from core's closed lists.

import { FAILURE_KINDS, type FailureCounts, type FailureKind, NO_FAILURES } from '#contract/failures.ts';
import type { EdgeReport } from '#contract/frames.ts';
import { failureKindOf } from '../core/failure-kind.ts';
import { OUTCOME_KINDS, type OutcomeKind } from '../core/outcome.ts';
import { REASON_STATUS, type RequestResult } from '../core/reason.ts';
import { LatencyHistogram } from './histogram.ts';
import type { Direction, Edge } from './metrics.ts';
import { SeriesBudget } from './series-budget.ts';

/** Every result, `ok` first; index into the request counters. */
export const RESULTS = ['ok', ...(Object.keys(REASON_STATUS) as (keyof typeof REASON_STATUS)[])] as const;
/** `none`: nothing was sent downstream. */
export const CODE_CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;
/** Reasons for retries that one edge tells apart; further ones count as `other`. */
const MAX_RETRY_REASONS = 15;

/** Requests and attempts that found no series of their own: one slot behind the closed lists. */
const OTHER_REQUESTS = RESULTS.length * CODE_CLASSES.length;
const OTHER_ATTEMPTS = OUTCOME_KINDS.length;
const OTHER = 'other';
/** Series that an edge has from its start: the histogram's 18, in flight, budget exhausted, and `other` three times. */
export const SERIES_PER_EDGE = 23;

const RESULT_INDEX: ReadonlyMap<RequestResult, number> = new Map(RESULTS.map((result, index) => [result, index]));
const FAILURE_INDEX: ReadonlyMap<FailureKind, number> = new Map(FAILURE_KINDS.map((kind, index) => [kind, index]));
const OUTCOME_INDEX: ReadonlyMap<OutcomeKind, number> = new Map(OUTCOME_KINDS.map((kind, index) => [kind, index]));

export class EdgeCounters implements Edge {
  readonly direction: Direction;
  readonly source: string;
  readonly destination: string;
  readonly latency = new LatencyHistogram();
  readonly #requests = new Float64Array(OTHER_REQUESTS + 1);
  readonly #attempts = new Float64Array(OTHER_ATTEMPTS + 1);
  /** By kind of failure. Apart from the series, which are bounded and may fold. */
  readonly #failures = new Float64Array(FAILURE_KINDS.length);
  readonly #retries = new Map<string, number>();
  #retried = 0;
  #slow = 0;
  #inFlight = 0;
  #exhausted = 0;
  readonly #budget: SeriesBudget;
  #taken = 0;

  /** @param budget  where further series are taken; the first SERIES_PER_EDGE are the caller's affair */
  constructor(
    direction: Direction,
    source: string,
    destination: string,
    budget: SeriesBudget = new SeriesBudget(Number.POSITIVE_INFINITY),
  ) {
    this.direction = direction;
    this.source = source;
    this.destination = destination;
    this.#budget = budget;
  }

  /** Series taken since the start, to be given back when the edge goes. */
  get seriesTaken(): number {
    return this.#taken;
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

  end(result: RequestResult, status: number, durationMs: number, isOwnFault = false, slowAboveMs = 0): void {
    this.#inFlight--;
    const codeClass = status >= 100 && status < 600 ? (status / 100) | 0 : 0;
    const index = (RESULT_INDEX.get(result) ?? 0) * CODE_CLASSES.length + codeClass;
    this.#count(this.#requests, index, OTHER_REQUESTS);
    this.latency.record(durationMs);
    const failure = failureKindOf(result, status, isOwnFault);
    if (failure === null) {
      if (slowAboveMs > 0 && durationMs > slowAboveMs && status !== 101) this.#slow++;
      return;
    }
    const kind = FAILURE_INDEX.get(failure) ?? 0;
    this.#failures[kind] = (this.#failures[kind] ?? 0) + 1;
  }

  attempt(kind: OutcomeKind): void {
    this.#count(this.#attempts, OUTCOME_INDEX.get(kind) ?? 0, OTHER_ATTEMPTS);
  }

  retry(reason: string): void {
    this.#retried++;
    const isKnown = this.#retries.has(reason) || (this.#retries.size < MAX_RETRY_REASONS && this.#take());
    const key = isKnown ? reason : OTHER;
    if (!isKnown) this.#budget.fold();
    this.#retries.set(key, (this.#retries.get(key) ?? 0) + 1);
  }

  budgetExhausted(): void {
    this.#exhausted++;
  }

  /** Adds one, at the index or, when that is new and no series is left for it, at the one of `other`. */
  #count(counters: Float64Array, index: number, other: number): void {
    const before = counters[index] ?? 0;
    if (before > 0 || this.#take()) {
      counters[index] = before + 1;
      return;
    }
    counters[other] = (counters[other] ?? 0) + 1;
    this.#budget.fold();
  }

  #take(): boolean {
    const isTaken = this.#budget.take(1);
    if (isTaken) this.#taken += 1;
    return isTaken;
  }

  /** Request counters that are not zero. */
  requests(): { result: string; codeClass: string; count: number }[] {
    const found: { result: string; codeClass: string; count: number }[] = [];
    this.#requests.forEach((count, index) => {
      if (count === 0) return;
      if (index === OTHER_REQUESTS) {
        found.push({ result: OTHER, codeClass: 'none', count });
        return;
      }
      const result = RESULTS[(index / CODE_CLASSES.length) | 0] ?? 'ok';
      found.push({ result, codeClass: CODE_CLASSES[index % CODE_CLASSES.length] ?? 'none', count });
    });
    return found;
  }

  /** Attempt counters that are not zero, by outcome. */
  attempts(): [outcome: string, count: number][] {
    return [...OUTCOME_KINDS, OTHER]
      .map((kind, index): [string, number] => [kind, this.#attempts[index] ?? 0])
      .filter(([, count]) => count > 0);
  }

  retries(): ReadonlyMap<string, number> {
    return this.#retries;
  }

  failures(): FailureCounts {
    const counts = { ...NO_FAILURES };
    FAILURE_KINDS.forEach((kind, index) => {
      counts[kind] = this.#failures[index] ?? 0;
    });
    return counts;
  }

  report(): EdgeReport {
    const failures = this.failures();
    const failed = FAILURE_KINDS.reduce((sum, kind) => sum + failures[kind], 0);
    return {
      direction: this.direction,
      source: this.source,
      destination: this.destination,
      requests: this.latency.count,
      successes: this.latency.count - failed,
      failures,
      slow: this.#slow,
      retries: this.#retried,
      inFlight: this.#inFlight,
      latency: this.latency.sketch(),
    };
  }
}
