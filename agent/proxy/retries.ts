// What one request may still repeat: asks core/retry/decide.ts, pays from the service's budget, and remembers why. Starts no
// attempt itself.

import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { Random } from '../clock.ts';
import { retryDelayMs } from '../core/back-off.ts';
import type { AttemptRecord } from '../core/decision/decision-record.ts';
import type { Outcome } from '../core/outcome.ts';
import { decideRetry, isStaleConnection, type RetryDecision } from '../core/retry/decide.ts';
import type { EndpointView } from '../core/snapshot.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { Destination } from './destination.ts';
import { firstValue } from './headers.ts';
import type { Timeouts } from './timeouts.ts';

/**
 * Endpoints that a request may find to refuse connections before the next one counts as a retry. Bounds what one request does in a
 * large service of which most is gone.
 */
const MAX_UNASKED = 8;

const SAFE_TO_REPEAT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/**
 * What an answer says against repeating the request. An agent further in has done what could be done, and repeating here would
 * multiply it; one that could not reach its own application is not asked again when there is nobody else to ask.
 */
export function forbidsRetry(fields: readonly string[], isAlone: boolean): 'told_not_to' | 'no_other_endpoint' | null {
  if (firstValue(fields, 'x-outrigger-retry') !== null) return 'told_not_to';
  return isAlone && firstValue(fields, 'x-outrigger-reason') !== null ? 'no_other_endpoint' : null;
}

export class Retries {
  /** Endpoints that failed this request, oldest first. */
  readonly tried: EndpointView[] = [];
  /** Why the last retry was made, or null. */
  reason: string | null = null;
  /** Attempts begun; the call counts. */
  attempts = 0;
  readonly #timeouts: Timeouts;
  readonly #method: string;
  readonly #hasIdempotencyKey: boolean;
  readonly #edge: Edge;
  #hasRepeatedStale = false;
  #hasRepeatedWithLength = false;
  #hasHedged = false;
  /** Attempts that do not count against the policy's number: repeated for the connection's sake, second copies, turned away. */
  #free = 0;
  #unasked = 0;
  /** Retries that had to wait, or might have. */
  #waits = 0;

  constructor(method: string, hasIdempotencyKey: boolean, timeouts: Timeouts, edge: Edge) {
    this.#method = method;
    this.#hasIdempotencyKey = hasIdempotencyKey;
    this.#timeouts = timeouts;
    this.#edge = edge;
  }

  /**
   * Whether a kept connection that turned out closed is to be replaced by a fresh one to the same endpoint: once a request,
   * at nobody's cost, and never for a method that might act twice.
   */
  repeatsStale(outcome: Outcome, isReplayable: boolean): boolean {
    if (this.#hasRepeatedStale || !isReplayable || !isStaleConnection(outcome)) return false;
    if (!this.#hasIdempotencyKey && !SAFE_TO_REPEAT.has(this.#method)) return false;
    this.#hasRepeatedStale = true;
    this.#free += 1;
    this.#note('stale_connection');
    return true;
  }

  /**
   * Whether the same endpoint is asked again because it wants a Content-Length (RFC 9110 15.5.12): once a request. It said that
   * it did nothing, so the method does not matter.
   */
  repeatsWithLength(status: number, isReplayable: boolean): boolean {
    if (status !== 411 || this.#hasRepeatedWithLength || !isReplayable) return false;
    this.#hasRepeatedWithLength = true;
    this.#free += 1;
    this.#note('length_required');
    return true;
  }

  /** Whether the request may be sent again after something of it was sent. */
  mayRepeat({ retries }: EffectivePolicy): boolean {
    return this.#hasIdempotencyKey || retries.methods.includes(this.#method);
  }

  /** Whether the request may be sent a second time while the first is under way. */
  mayHedge({ policy }: Destination): boolean {
    return policy.retries.hedging.isEnabled && this.mayRepeat(policy) && !this.#hasHedged;
  }

  /** Whether the budget pays for the second copy; if so it is noted. */
  paysForHedge({ view }: Destination): boolean {
    if (!view.stats.retryBudget.tryWithdraw(this.#timeouts.now)) {
      this.#edge.budgetExhausted();
      return false;
    }
    this.#hasHedged = true;
    this.#free += 1;
    this.#note('hedge');
    return true;
  }

  /** What decide.ts says of an attempt that ended so. Costs nothing and changes nothing. */
  judge(outcome: Outcome, policy: EffectivePolicy, isReplayable: boolean): RetryDecision {
    const { now, deadlineAt } = this.#timeouts;
    return decideRetry(outcome, policy, {
      method: this.#method,
      hasIdempotencyKey: this.#hasIdempotencyKey,
      isReplayable,
      attemptsDone: this.attempts - this.#free,
      msLeft: deadlineAt - now,
    });
  }

  /**
   * Whether an endpoint refused the connection while another one is known to take some: the service has not been asked yet, so going on
   * to the next is no retry of anything and adds no load to whoever is well. When all refuse, attempts are what the policy says.
   */
  #isUnasked({ kind }: Outcome, { policy, view }: Destination): boolean {
    if (kind !== 'connect_failure' || policy.retries.attempts === 0 || this.#unasked >= MAX_UNASKED) return false;
    return view.pickable.some((other) => !other.stats.isRefusing && !this.tried.includes(other));
  }

  /** Whether another attempt follows; if so it is paid for and noted. Either way the record says what was decided. */
  allows(outcome: Outcome, destination: Destination, isReplayable: boolean, record: AttemptRecord): boolean {
    const { policy, view } = destination;
    const isUnasked = this.#isUnasked(outcome, destination);
    if (isUnasked) {
      this.#unasked += 1;
      this.#free += 1;
    }
    const verdict = this.judge(outcome, policy, isReplayable);
    record.after = verdict.retry ? verdict.reason : verdict.why;
    if (!verdict.retry) return false;
    // Whoever did not take a connection a moment ago is not asked twice when there is nobody else.
    if (!outcome.isSent && outcome.kind !== 'overflow' && view.endpoints.length === 1) {
      record.after = 'no_other_endpoint';
      return false;
    }
    if (isUnasked) {
      this.#note(verdict.reason);
      return true;
    }
    const { now } = this.#timeouts;
    record.budget = view.stats.retryBudget.balance(now);
    if (!view.stats.retryBudget.tryWithdraw(now)) {
      record.after = 'budget_exhausted';
      this.#edge.budgetExhausted();
      return false;
    }
    this.#note(verdict.reason);
    return true;
  }

  /** The request waits for room at the endpoints: the attempts that found none are not held against it. */
  forgetTurnedAway(): void {
    this.#free = this.attempts;
    this.tried.length = 0;
  }

  /**
   * ms before the next attempt: full jitter, growing with every retry of the request. An endpoint that never saw the request is
   * replaced at once: there is nothing to wait for, and another one is free. Never more than half of the time that is left.
   */
  nextWaitMs(outcome: Outcome, { retries }: EffectivePolicy, random: Random): number {
    if (!outcome.isSent) return 0;
    this.#waits += 1;
    const msLeft = Math.max(0, this.#timeouts.deadlineAt - this.#timeouts.now);
    return Math.min(retryDelayMs(this.#waits, random, retries.backoff), msLeft / 2);
  }

  #note(reason: string): void {
    this.reason = reason;
    this.#edge.retry(reason);
  }
}
