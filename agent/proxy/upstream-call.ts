// From a destination to a response head worth relaying: pick → attempt → judge → again? The only loop of the request path,
// bounded by attempts, budget and deadline. What became of it goes to the exchange, once.

import type { AttemptRecord, DecisionRecord } from '../core/decision/decision-record.ts';
import type { Outcome, OutcomeKind } from '../core/outcome.ts';
import { explainEmpty } from '../core/routes/subset-views.ts';
import type { EndpointView } from '../core/snapshot.ts';
import { recordUtilisation } from '../core/utilisation.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { CallOwner } from './call-owner.ts';
import type { Destination } from './destination.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import { composeInformationalHead, composeRequestHead, firstValue } from './headers.ts';
import { type AttemptOwner, HttpAttempt } from './http-attempt.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import { pickFor } from './picks.ts';
import type { RequestBody } from './request-body.ts';
import { REASON_OF_OUTCOME, SENTENCE_OF_OUTCOME } from './rescue.ts';
import { forbidsRetry, Retries } from './retries.ts';
import type { ProxyScope } from './scope.ts';
import { HOP_MARGIN_MS, Timeouts } from './timeouts.ts';

export class UpstreamCall implements AttemptOwner {
  readonly #scope: ProxyScope;
  readonly #down: DownstreamConnection;
  readonly #head: RequestHead;
  readonly #body: RequestBody;
  readonly #edge: Edge;
  readonly #record: DecisionRecord;
  readonly #destination: Destination;
  readonly #owner: CallOwner;
  readonly timeouts: Timeouts;
  readonly retries: Retries;
  /** The one that is waited for, or was answered, or the last one. */
  attempt: HttpAttempt | null = null;
  /** A second one beside it. */
  #hedge: HttpAttempt | null = null;
  #requestText = '';
  /** The upstream speaks HTTP/1.0 and the body comes in chunks: nothing is begun until its length is known. */
  #isAwaitingLength = false;
  /** The answer came first and says no: what still comes of the body is dropped. */
  #isBodyUnwanted = false;
  /** Until the next attempt: after a failure, or beside a slow one. */
  #timer: NodeJS.Timeout | null = null;

  constructor(owner: CallOwner, destination: Destination, edge: Edge) {
    const { scope, head, steering } = owner;
    this.#owner = owner;
    this.#scope = scope;
    this.#down = owner.down;
    this.#head = head;
    this.#body = owner.body;
    this.#record = owner.record;
    this.#destination = destination;
    this.#edge = edge;
    this.timeouts = new Timeouts(scope.clock, scope.deadlines, owner.callerDeadlineAt);
    this.retries = new Retries(head.method, steering.hasIdempotencyKey, this.timeouts, edge);
  }

  start(now: number): void {
    if (this.#body.isWhole) this.timeouts.arm(this.#destination.policy, now);
    this.#composeHead(now);
    this.#try(null, 0, now);
  }

  /** There may be room at an endpoint again. */
  resume(): void {
    this.#try(null);
  }

  #composeHead(now: number): void {
    const { target, host, askedHost, requestChanges } = this.#destination;
    this.#requestText = composeRequestHead(this.#head, {
      target,
      host,
      requestId: this.#owner.requestId,
      forwarded: this.#down.forwardedFor(askedHost),
      changes: requestChanges,
      framing: this.#body.framingOf(this.#head),
      deadlineMs: Math.max(1, this.timeouts.deadlineAt - now - HOP_MARGIN_MS),
      trafficClass: this.#owner.trafficClass,
    });
  }

  // ---- pick, attempt ----

  /**
   * @param again     endpoint to use once more on a fresh connection; null to pick one
   * @param waitedMs  back-off before this
   */
  #try(again: EndpointView | null, waitedMs = 0, now = this.#scope.clock.now()): void {
    const { view } = this.#destination;
    const { pools, route } = this.#scope;
    const record = this.#record.beginAttempt(false, waitedMs);
    const endpoint = pickFor(this.#scope, this.#destination, this.retries, record, this.retries.tried, again, now);
    if (endpoint === null) {
      this.#record.dropAttempt();
      this.#owner.onCallFailed('no_healthy_upstream', explainEmpty(view));
      return;
    }
    if (this.#body.isChunked && pools.wantsLength(endpoint, route.kind === 'inbound')) {
      this.#record.dropAttempt();
      this.#giveLength(endpoint);
      return;
    }
    if (this.retries.attempts > 0) this.#composeHead(now);
    this.attempt = this.#attemptAt(endpoint, record, now);
    this.#launch(this.attempt, again !== null, now);
  }

  #attemptAt(endpoint: EndpointView, record: AttemptRecord, now: number): HttpAttempt {
    record.endpoint = endpoint;
    this.retries.attempts += 1;
    return new HttpAttempt(this, endpoint, record, now, this.#scope.stalls);
  }

  #launch(attempt: HttpAttempt, isFresh: boolean, now: number): void {
    const { view, policy } = this.#destination;
    const { pools, route } = this.#scope;
    const connection = pools.acquire(
      view.service,
      attempt.endpoint,
      policy,
      attempt,
      isFresh,
      route.kind === 'inbound',
    );
    attempt.connection = connection;
    if (connection === null) this.onLost(attempt, 'overflow');
    else if (connection.isConnecting) connection.deadlineAt = this.timeouts.connectAt(now, policy);
    else this.#send(attempt, now);
  }

  /** Before an attempt at an endpoint that does not know chunks: the body is gathered, within what may be kept. */
  #giveLength(endpoint: EndpointView): void {
    if (this.#body.isBeyondReplay || !this.#body.isReplayable) {
      const message = `${this.#destination.view.service} speaks HTTP/1.0: a body in chunks may have at most 64 KiB`;
      this.#owner.onCallFailed('length_required', message);
    } else if (this.#body.isWhole) {
      this.#body.isChunked = false;
      this.#composeHead(this.#scope.clock.now());
      this.#try(endpoint);
    } else if (!this.#isAwaitingLength) {
      this.#isAwaitingLength = true;
      this.#down.resumeBody();
      if (this.#head.expectsContinue) this.#down.sendContinue();
    }
  }

  onConnected(attempt: HttpAttempt): void {
    this.#send(attempt, this.#scope.clock.now());
  }

  /** The connection can be written to: a new one when it is open, a kept one at once. */
  #send(attempt: HttpAttempt, now: number): void {
    const { connection } = attempt;
    if (connection === null) return;
    attempt.isReused = connection.carried > 0;
    attempt.noteSent(now);
    connection.expectResponse(this.#head.method === 'HEAD', this.#head.upgrade);
    connection.isRequestWhole = this.#body.isWhole;
    connection.deadlineAt = this.timeouts.sentAt(this.#destination.policy, this.#body.isWhole, now);
    if (this.#body.writeAll(connection.socket, this.#requestText)) this.#down.resumeBody();
    else if (!this.#body.isWhole) this.#down.pauseBody();
    if (this.#destination.policy.retries.hedging.isEnabled) this.#planHedge(now);
  }

  /** More of the request's body, which is kept until it can be sent. True when the memory of the piece stays in use. */
  onRequestBody(piece: Buffer | null, isLast: boolean): boolean {
    const { policy } = this.#destination;
    const connection = this.attempt?.isSent === true ? this.attempt.connection : null;
    if (this.#isBodyUnwanted) return false;
    if (piece !== null && connection === null) {
      this.#body.keep(piece);
      if (this.#body.isFull && !this.#isAwaitingLength) this.#down.pauseBody();
    } else if (piece !== null && connection !== null) {
      this.#body.pass(piece);
      if (!this.#body.writePiece(connection.socket, piece, connection.onBodyWritten)) this.#down.pauseBody();
    }
    if (isLast) this.timeouts.arm(policy);
    if (this.#isAwaitingLength && (isLast || this.#body.isBeyondReplay)) {
      this.#isAwaitingLength = false;
      this.#try(null);
    } else if (connection !== null) {
      if (isLast) this.#body.writeEnd(connection.socket, connection.onBodyWritten);
      connection.isRequestWhole = isLast;
      connection.deadlineAt = this.timeouts.sentAt(policy, isLast && this.attempt?.answer === null);
    }
    return connection === null || this.#body.isReplayable || connection.socket.writableLength > 0;
  }

  onBodyDrain(): void {
    this.#down.resumeBody();
  }

  // ---- a second copy beside a slow attempt ----

  /** After a time that most answers of the service have come within. Only for a request that is here whole and may be repeated. */
  #planHedge(now: number): void {
    const { view, policy } = this.#destination;
    const isRepeatable = this.#body.isWhole && this.#body.isReplayable && this.#head.upgrade === null;
    if (!isRepeatable || view.pickable.length < 2 || !this.retries.mayHedge(this.#destination)) return;
    const { percentile, minDelayMs } = policy.retries.hedging;
    const delayMs = view.stats.hedgeDelay.delayMs(percentile, minDelayMs, now);
    if (delayMs === null || now + delayMs >= this.timeouts.deadlineAt) return;
    this.#timer = setTimeout(() => this.#sendHedge(), delayMs);
  }

  #sendHedge(): void {
    this.#timer = null;
    const slow = this.attempt;
    if (slow === null || slow.isEnded || slow.status !== 0) return;
    const now = this.#scope.clock.now();
    const record = this.#record.beginAttempt(true, 0);
    const tried = [...this.retries.tried, slow.endpoint];
    const endpoint = pickFor(this.#scope, this.#destination, this.retries, record, tried, null, now);
    const isElsewhere = endpoint !== null && endpoint.stats !== slow.endpoint.stats;
    if (!isElsewhere || !this.retries.paysForHedge(this.#destination)) {
      this.#record.dropAttempt();
      return;
    }
    this.#composeHead(now);
    this.#hedge = this.#attemptAt(endpoint, record, now);
    this.#launch(this.#hedge, false, now);
  }

  /** The other one of two that are under way, or null. */
  #besides(attempt: HttpAttempt): HttpAttempt | null {
    const other = attempt === this.attempt ? this.#hedge : this.attempt;
    return other === null || other.isEnded ? null : other;
  }

  /** One of two is out; the other one is what is waited for now. */
  #waitFor(other: HttpAttempt, lost: HttpAttempt): void {
    lost.record.after = 'waits_for_other';
    this.retries.tried.push(lost.endpoint);
    this.attempt = other;
    this.#hedge = null;
  }

  // ---- judge, again? ----

  onInformational(head: ResponseHead): void {
    if (head.status === 100) this.#down.onContinue();
    if (this.#head.minor === 1) this.#down.write(composeInformationalHead(head));
  }

  onHead(attempt: HttpAttempt, head: ResponseHead): void {
    const { connection } = attempt;
    if (connection === null) return;
    attempt.noteHead(head, this.#scope.clock);
    if (this.#destination.policy.loadBalancer.zoneAware.isLoadAware) this.#noteLoad(attempt, head);
    if (head.status >= 400 && this.#isAnswerRefused(head, attempt)) {
      const outcome = this.end(attempt, 'response');
      connection.discard(this.#scope.deadlines.now);
      attempt.connection = null;
      const other = this.#besides(attempt);
      if (other !== null) this.#waitFor(other, attempt);
      else if (head.status === 411 && this.#body.isChunked) this.#try(attempt.endpoint);
      else this.#tryElsewhere(attempt, outcome);
      return;
    }
    this.#settleOn(attempt);
    // A refusal does not depend on the rest of the body; a success may be made of it while it comes.
    this.#isBodyUnwanted = !this.#body.isWhole && head.status >= 300;
    if (this.#isBodyUnwanted) this.#down.resumeBody();
    connection.deadlineAt = this.timeouts.idleAt(this.#destination.policy);
    this.#owner.onAccepted(attempt, head);
    this.#body.release();
  }

  #noteLoad(attempt: HttpAttempt, head: ResponseHead): void {
    const load = firstValue(head.fields, 'x-outrigger-load');
    if (load !== null) recordUtilisation(attempt.endpoint.stats, load, this.#scope.clock.now());
  }

  /** Whether an answer is dropped and another one asked for: elsewhere, or at the same endpoint with a Content-Length. */
  #isAnswerRefused(head: ResponseHead, attempt: HttpAttempt): boolean {
    const { isChunked, isReplayable } = this.#body;
    const { record } = attempt;
    if (isChunked && this.retries.repeatsWithLength(head.status, isReplayable)) {
      record.after = 'length_required';
      return true;
    }
    record.after = forbidsRetry(head.fields, this.#destination.view.endpoints.length === 1);
    if (record.after !== null) return false;
    const outcome = attempt.outcome('response', this.#scope.clock.now());
    if (this.#besides(attempt) !== null)
      return this.retries.judge(outcome, this.#destination.policy, isReplayable).retry;
    return this.retries.allows(outcome, this.#destination, isReplayable, record);
  }

  /** This answer counts; a second attempt that is under way is given up, and nobody is to blame for that. */
  #settleOn(attempt: HttpAttempt): void {
    attempt.record.after ??= 'accepted';
    this.#clearTimer();
    const { view, policy } = this.#destination;
    const other = this.#besides(attempt);
    if (policy.retries.hedging.isEnabled) {
      const now = this.#scope.clock.now();
      // A second copy that wins hides how slow the first would have been: it was at least this slow.
      const first = attempt.record.isHedge && other !== null ? other : attempt;
      view.stats.hedgeDelay.record(first.outcome('response', now).latencyMs, now);
    }
    if (other !== null) {
      this.end(other, 'canceled');
      other.record.after = 'hedge_lost';
      other.drop();
    }
    this.attempt = attempt;
    this.#hedge = null;
  }

  onSwitched(attempt: HttpAttempt, head: ResponseHead, rest: Buffer): void {
    attempt.noteHead(head, this.#scope.clock);
    attempt.record.after = 'accepted';
    this.end(attempt, 'response');
    this.#owner.onSwitched(attempt, head, rest);
  }

  onDeadline(attempt: HttpAttempt): void {
    attempt.drop();
    this.onLost(attempt, 'timeout');
  }

  /** The attempt failed before any byte of a response went downstream. */
  onLost(attempt: HttpAttempt, kind: OutcomeKind): void {
    if (kind === 'response' || kind === 'canceled') return;
    const outcome = this.end(attempt, kind);
    if (outcome === null) return;
    const other = this.#besides(attempt);
    if (other !== null) {
      this.#waitFor(other, attempt);
      return;
    }
    this.#clearTimer();
    const { isReplayable } = this.#body;
    if (this.retries.repeatsStale(outcome, isReplayable)) {
      attempt.record.after = 'stale_connection';
      this.#try(attempt.endpoint);
    } else if (this.retries.allows(outcome, this.#destination, isReplayable, attempt.record)) {
      this.#tryElsewhere(attempt, outcome);
    } else if (kind !== 'overflow' || !this.#waitsForRoom()) {
      const message = `${this.#destination.view.service}: ${SENTENCE_OF_OUTCOME[kind]}`;
      this.#owner.onCallFailed(REASON_OF_OUTCOME[kind], message);
    }
  }

  #waitsForRoom(): boolean {
    if (!this.#owner.onCrowded()) return false;
    this.retries.forgetTurnedAway();
    return true;
  }

  #tryElsewhere(failed: HttpAttempt, outcome: Outcome | null): void {
    this.retries.tried.push(failed.endpoint);
    const { policy } = this.#destination;
    const waitMs = outcome === null ? 0 : this.retries.nextWaitMs(outcome, policy, this.#scope.random);
    if (waitMs < 1) {
      this.#try(null);
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#try(null, waitMs);
    }, waitMs);
  }

  // ---- ends ----

  /** The downstream is gone, or its request turned out bad: stop the upstream at once. Nobody is to blame. */
  cancel(): void {
    this.#clearTimer();
    for (const attempt of [this.attempt, this.#hedge]) {
      if (attempt === null) continue;
      this.end(attempt, 'canceled');
      attempt.drop();
    }
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Books an attempt, once; null when it is booked already. */
  end(attempt: HttpAttempt, kind: OutcomeKind, now = this.#scope.clock.now()): Outcome | null {
    if (attempt.isEnded) return null;
    const { policy, view } = this.#destination;
    const outcome = attempt.outcome(kind, now);
    attempt.record.close(kind, outcome.status, outcome.latencyMs);
    this.#edge.attempt(kind);
    if (attempt.end(outcome, policy, now)) this.#scope.mesh.requestSweep(view.service);
    return outcome;
  }
}
