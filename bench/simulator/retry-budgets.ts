// Retry budgets of others beside ours, and what each lets through while a service is down. In virtual time.

import { RetryBudget } from '../../agent/core/retry/budget.ts';
import { DEFAULT_POLICY } from '../../contract/policy/plan.ts';

/**
 * Envoy's retry_budget: retries in flight at most a share of what is in flight and waiting, and always some.
 *
 * @param active  requests in flight and waiting
 */
export function envoyAllows(active: number, percent = 20, minConcurrency = 3): number {
  return Math.max(minConcurrency, (active * percent) / 100);
}

/** gRPC retry throttling (A6): a failure takes a token, a success gives a part of one back, retries need more than half. */
export class GrpcThrottle {
  readonly #max: number;
  readonly #ratio: number;
  tokens: number;

  constructor(maxTokens: number, tokenRatio: number) {
    this.#max = maxTokens;
    this.#ratio = tokenRatio;
    this.tokens = maxTokens;
  }

  record(isSuccess: boolean): void {
    this.tokens = isSuccess ? Math.min(this.#max, this.tokens + this.#ratio) : Math.max(0, this.tokens - 1);
  }

  get isAllowed(): boolean {
    return this.tokens > this.#max / 2;
  }
}

/** Load on the innermost of so many layers, each of which sends `perLayer` attempts for a request. */
export function amplification(perLayer: number, layers: number): number {
  return perLayer ** layers;
}

export const BUDGET_NAMES = ['none', 'Envoy', 'gRPC', 'outrigger'] as const;

interface Budget {
  onRequest(now: number): void;
  onEnd(isRetry: boolean): void;
  mayRetry(now: number): boolean;
}

function budgetOf(name: (typeof BUDGET_NAMES)[number]): Budget {
  if (name === 'Envoy') {
    let active = 0;
    let retrying = 0;
    return {
      onRequest: () => active++,
      onEnd: (isRetry) => {
        active--;
        if (isRetry) retrying--;
      },
      mayRetry: () => {
        // The failed one has ended; its retry takes its place among the active.
        if (retrying + 1 > envoyAllows(active)) return false;
        retrying++;
        active++;
        return true;
      },
    };
  }
  if (name === 'gRPC') {
    const throttle = new GrpcThrottle(10, 0.1);
    return { onRequest: () => {}, onEnd: () => throttle.record(false), mayRetry: () => throttle.isAllowed };
  }
  if (name === 'outrigger') {
    const budget = new RetryBudget();
    budget.configure(DEFAULT_POLICY);
    return {
      onRequest: (now) => budget.deposit(now),
      onEnd: () => {},
      mayRetry: (now) => budget.tryWithdraw(now),
    };
  }
  return { onRequest: () => {}, onEnd: () => {}, mayRetry: () => true };
}

/**
 * Attempts for each request while every attempt fails after `latencyMs`, with two retries at most.
 *
 * @param rate  requests a second, evenly spaced
 */
export function attemptsInOutage(
  name: (typeof BUDGET_NAMES)[number],
  rate: number,
  seconds: number,
  latencyMs: number,
): number {
  const budget = budgetOf(name);
  const ends: { at: number; retriesLeft: number; isRetry: boolean }[] = [];
  let attempts = 0;
  const requests = rate * seconds;
  const begin = (at: number, retriesLeft: number, isRetry: boolean): void => {
    attempts++;
    ends.push({ at: at + latencyMs, retriesLeft, isRetry });
  };
  const endUntil = (now: number): void => {
    // Every attempt takes as long, so the first begun is the first to end.
    for (let first = ends[0]; first !== undefined && first.at <= now; first = ends[0]) {
      ends.shift();
      budget.onEnd(first.isRetry);
      if (first.retriesLeft > 0 && budget.mayRetry(first.at)) begin(first.at, first.retriesLeft - 1, true);
    }
  };
  for (let request = 0; request < requests; request++) {
    const now = (request * 1000) / rate;
    endUntil(now);
    budget.onRequest(now);
    begin(now, 2, false);
  }
  endUntil(Number.POSITIVE_INFINITY);
  return attempts / requests;
}
