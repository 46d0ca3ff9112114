// What one request may still repeat: asks core/retry/decide.ts, pays from the service's budget, and remembers why. Starts no
// attempt itself.

import type { Outcome } from '../core/outcome.ts';
import { decideRetry, isStaleConnection } from '../core/retry/decide.ts';
import type { EndpointView } from '../core/snapshot.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { Destination } from './destination.ts';
import { firstValue } from './headers.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { Timeouts } from './timeouts.ts';

const SAFE_TO_REPEAT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

export class Retries {
  /** Endpoints that failed this request, oldest first. */
  readonly tried: EndpointView[] = [];
  /** Why the last retry was made, or null. */
  reason: string | null = null;
  /** Attempts begun; the exchange counts. */
  attempts = 0;
  readonly #timeouts: Timeouts;
  readonly #method: string;
  readonly #hasIdempotencyKey: boolean;
  #hasRepeatedStale = false;
  #hasRepeatedWithLength = false;

  constructor(head: RequestHead, timeouts: Timeouts) {
    this.#timeouts = timeouts;
    this.#method = head.method;
    this.#hasIdempotencyKey = firstValue(head.fields, 'idempotency-key') !== null;
  }

  /**
   * Whether a kept connection that turned out closed is to be replaced by a fresh one to the same endpoint: once a request,
   * at nobody's cost, and never for a method that might act twice.
   */
  repeatsStale(outcome: Outcome, isReplayable: boolean, edge: Edge | null): boolean {
    if (this.#hasRepeatedStale || !isReplayable || !isStaleConnection(outcome)) return false;
    if (!this.#hasIdempotencyKey && !SAFE_TO_REPEAT.has(this.#method)) return false;
    this.#hasRepeatedStale = true;
    this.#note('stale_connection', edge);
    return true;
  }

  /**
   * Whether the same endpoint is asked again because it wants a Content-Length (RFC 9110 15.5.12): once a request. It said that
   * it did nothing, so the method does not matter.
   */
  repeatsWithLength(status: number, isReplayable: boolean, edge: Edge | null): boolean {
    if (status !== 411 || this.#hasRepeatedWithLength || !isReplayable) return false;
    this.#hasRepeatedWithLength = true;
    this.#note('length_required', edge);
    return true;
  }

  /** Whether another attempt follows; if so it is paid for and noted. */
  allows(outcome: Outcome, { policy, view }: Destination, isReplayable: boolean, edge: Edge | null): boolean {
    const { now, deadlineAt } = this.#timeouts;
    const verdict = decideRetry(outcome, policy, {
      method: this.#method,
      hasIdempotencyKey: this.#hasIdempotencyKey,
      isReplayable,
      attemptsDone: this.attempts - (this.#hasRepeatedStale ? 1 : 0) - (this.#hasRepeatedWithLength ? 1 : 0),
      msLeft: deadlineAt - now,
    });
    if (!verdict.retry) return false;
    if (!view.stats.retryBudget.tryWithdraw(now)) {
      edge?.budgetExhausted();
      return false;
    }
    this.#note(verdict.reason, edge);
    return true;
  }

  #note(reason: string, edge: Edge | null): void {
    this.reason = reason;
    edge?.retry(reason);
  }
}
