// From a destination to a response head worth relaying: pick → attempt → judge → again? The only loop of the request path,
// bounded by attempts, budget and deadline. What became of it goes to the exchange, once.

import type { Outcome, OutcomeKind } from '../core/outcome.ts';
import { pickEndpoint } from '../core/pick.ts';
import type { Reason } from '../core/reason.ts';
import type { EndpointView } from '../core/snapshot.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { Destination } from './destination.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import { composeInformationalHead, composeRequestHead } from './headers.ts';
import { type AttemptOwner, HttpAttempt } from './http-attempt.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import type { RequestBody } from './request-body.ts';
import { REASON_OF_OUTCOME, SENTENCE_OF_OUTCOME } from './rescue.ts';
import { Retries } from './retries.ts';
import type { ProxyScope } from './scope.ts';
import { Timeouts } from './timeouts.ts';

/** What a call leads to: exactly one of these, unless it is canceled. */
export interface CallOwner {
  /** `attempt.answer` must be set before this returns. */
  onAccepted(attempt: HttpAttempt, head: ResponseHead): void;
  onSwitched(attempt: HttpAttempt, head: ResponseHead, rest: Buffer): void;
  onCallFailed(reason: Reason, message: string): void;
}

/** The request that is called for. */
export interface CallRequest {
  readonly scope: ProxyScope;
  readonly down: DownstreamConnection;
  readonly head: RequestHead;
  readonly body: RequestBody;
  readonly requestId: string;
  readonly edge: Edge;
}

export class UpstreamCall implements AttemptOwner {
  readonly #scope: ProxyScope;
  readonly #down: DownstreamConnection;
  readonly #head: RequestHead;
  readonly #body: RequestBody;
  readonly #request: CallRequest;
  readonly #destination: Destination;
  readonly #owner: CallOwner;
  readonly timeouts: Timeouts;
  readonly retries: Retries;
  /** The last one begun. */
  attempt: HttpAttempt | null = null;
  #requestText = '';
  /** The upstream speaks HTTP/1.0 and the body comes in chunks: nothing is begun until its length is known. */
  #isAwaitingLength = false;
  /** The answer came first and says no: what still comes of the body is dropped. */
  #isBodyUnwanted = false;

  constructor(request: CallRequest, destination: Destination, owner: CallOwner) {
    this.#request = request;
    this.#scope = request.scope;
    this.#down = request.down;
    this.#head = request.head;
    this.#body = request.body;
    this.#destination = destination;
    this.#owner = owner;
    this.timeouts = new Timeouts(request.scope.clock, request.scope.deadlines);
    this.retries = new Retries(request.head, this.timeouts);
  }

  start(now: number): void {
    this.#composeHead();
    if (this.#body.isWhole) this.timeouts.arm(this.#destination.policy, now);
    this.#try(null);
  }

  #composeHead(): void {
    const { view, requestChanges } = this.#destination;
    const { host } = this.#head;
    this.#requestText = composeRequestHead(this.#head, {
      host: host === '' ? view.service : host,
      requestId: this.#request.requestId,
      clientAddress: this.#down.address,
      changes: requestChanges,
      framing: this.#body.framingOf(this.#head),
    });
  }

  // ---- pick, attempt ----

  /** @param again  endpoint to use once more on a fresh connection; null to pick one */
  #try(again: EndpointView | null): void {
    const { view, policy, hash } = this.#destination;
    const { clock, pools, random, route } = this.#scope;
    const now = clock.now();
    const endpoint = again ?? pickEndpoint(view, now, random, this.retries.tried, hash);
    if (endpoint === null) {
      this.#owner.onCallFailed('no_healthy_upstream', `${view.service} has no endpoint`);
      return;
    }
    const isInbound = route.kind === 'inbound';
    if (this.#body.isChunked && pools.wantsLength(endpoint, isInbound)) {
      this.#giveLength(endpoint);
      return;
    }
    const attempt = new HttpAttempt(this, endpoint, now, this.#scope.stalls);
    this.attempt = attempt;
    this.retries.attempts += 1;
    const connection = pools.acquire(view.service, endpoint, policy, attempt, again !== null, isInbound);
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
      this.#composeHead();
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

  // ---- judge, again? ----

  onInformational(head: ResponseHead): void {
    if (head.status === 100) this.#down.onContinue();
    if (this.#head.minor === 1) this.#down.write(composeInformationalHead(head));
  }

  onHead(attempt: HttpAttempt, head: ResponseHead): void {
    const { connection } = attempt;
    if (connection === null) return;
    attempt.noteHead(head, this.#scope.clock);
    if (head.status >= 400 && this.#isAnswerRefused(head.status, attempt)) {
      this.end(attempt, 'response');
      connection.discard(this.#scope.deadlines.now);
      attempt.connection = null;
      const isLengthWanted = head.status === 411 && this.#body.isChunked;
      if (isLengthWanted) this.#try(attempt.endpoint);
      else this.#tryElsewhere(attempt);
      return;
    }
    // A refusal does not depend on the rest of the body; a success may be made of it while it comes.
    this.#isBodyUnwanted = !this.#body.isWhole && head.status >= 300;
    if (this.#isBodyUnwanted) this.#down.resumeBody();
    this.#owner.onAccepted(attempt, head);
    this.#body.release();
    connection.deadlineAt = this.timeouts.idleAt(this.#destination.policy);
  }

  /** Whether an answer is dropped and another one asked for: elsewhere, or at the same endpoint with a Content-Length. */
  #isAnswerRefused(status: number, attempt: HttpAttempt): boolean {
    const { isChunked, isReplayable } = this.#body;
    const { edge } = this.#request;
    if (isChunked && this.retries.repeatsWithLength(status, isReplayable, edge)) return true;
    const outcome = attempt.outcome('response', this.#scope.clock.now());
    return this.retries.allows(outcome, this.#destination, isReplayable, edge);
  }

  onSwitched(attempt: HttpAttempt, head: ResponseHead, rest: Buffer): void {
    attempt.noteHead(head, this.#scope.clock);
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
    const { isReplayable } = this.#body;
    const { edge } = this.#request;
    if (this.retries.repeatsStale(outcome, isReplayable, edge)) this.#try(attempt.endpoint);
    else if (this.retries.allows(outcome, this.#destination, isReplayable, edge)) this.#tryElsewhere(attempt);
    else {
      const message = `${this.#destination.view.service}: ${SENTENCE_OF_OUTCOME[kind]}`;
      this.#owner.onCallFailed(REASON_OF_OUTCOME[kind], message);
    }
  }

  #tryElsewhere(failed: HttpAttempt): void {
    this.retries.tried.push(failed.endpoint);
    this.#try(null);
  }

  // ---- ends ----

  /** The downstream is gone, or its request turned out bad: stop the upstream at once. Nobody is to blame. */
  cancel(): void {
    if (this.attempt === null) return;
    this.end(this.attempt, 'canceled');
    this.attempt.drop();
  }

  /** Books an attempt, once; null when it is booked already. */
  end(attempt: HttpAttempt, kind: OutcomeKind, now = this.#scope.clock.now()): Outcome | null {
    if (attempt.isEnded) return null;
    const { policy, view } = this.#destination;
    const outcome = attempt.outcome(kind, now);
    this.#request.edge.attempt(kind);
    if (attempt.end(outcome, policy, now)) this.#scope.mesh.requestSweep(view.service);
    return outcome;
  }
}
