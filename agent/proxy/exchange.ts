// One request, from its parsed head to its one access record. Reads top to bottom like the walk in ARCHITECTURE.md: pin the
// snapshot → route → permission → limits → pick → attempt → judge the head → retry? → relay. Nothing here throws or waits;
// the next step is taken by whichever socket speaks.

import type { Outcome, OutcomeKind } from '../core/outcome.ts';
import { pickEndpoint } from '../core/pick.ts';
import { REASON_STATUS, type Reason, type RequestResult } from '../core/reason.ts';
import type { EndpointView } from '../core/snapshot.ts';
import type { Edge } from '../telemetry/metrics.ts';
import { Attempt } from './attempt.ts';
import { awaitDiscovery, type Destination, refuseEarly, resolveDestination } from './destination.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import { chooseRequestId, composeInformationalHead, composeRequestHead } from './headers.ts';
import { BODY_CHUNKED } from './http1/framing.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import { RequestBody } from './request-body.ts';
import { beginEdge, recordEnd } from './request-record.ts';
import { composeOptionsAnswer, composeRescue, REASON_OF_OUTCOME, SENTENCE_OF_OUTCOME } from './rescue.ts';
import { ResponseRelay } from './response-relay.ts';
import { Retries } from './retries.ts';
import type { ProxyScope } from './scope.ts';
import { Timeouts } from './timeouts.ts';
import { Tunnel } from './tunnel.ts';
import type { UpstreamSink } from './upstream-connection.ts';

export class Exchange implements UpstreamSink {
  readonly #scope: ProxyScope;
  readonly #down: DownstreamConnection;
  readonly #head: RequestHead;
  readonly #body: RequestBody;
  readonly #startedAt: number;
  readonly #requestId: string;
  #isOver = false;
  #edge: Edge | null = null;
  /** Known destination, `''` before. */
  #service = '';
  #destination: Destination | null = null;
  #requestText = '';
  readonly #timeouts: Timeouts;
  /** The upstream speaks HTTP/1.0 and the body comes in chunks: nothing is begun until its length is known. */
  #isAwaitingLength = false;
  /** The answer came first and says no: what still comes of the body is dropped. */
  #isBodyUnwanted = false;
  #attempt: Attempt | null = null;
  readonly #retries: Retries;
  #relay: ResponseRelay | null = null;

  constructor(scope: ProxyScope, down: DownstreamConnection, head: RequestHead) {
    this.#scope = scope;
    this.#down = down;
    this.#head = head;
    this.#body = new RequestBody(head.framing === BODY_CHUNKED);
    this.#startedAt = scope.clock.now();
    this.#timeouts = new Timeouts(scope.clock, scope.deadlines);
    this.#requestId = chooseRequestId(head, scope.nextRequestId);
    this.#retries = new Retries(head, this.#timeouts);
  }

  // ---- route, permission, limits ----

  start(): void {
    const { target, maxForwards } = this.#head;
    const refusal = refuseEarly(this.#scope, this.#head);
    if (refusal !== null) this.#rescue(refusal.reason, refusal.message);
    else if (target === '*' || maxForwards === 0) {
      const mustClose = this.#mustClose();
      this.#down.write(composeOptionsAnswer(mustClose));
      this.#finish('ok', 200, mustClose);
    } else this.#route(true);
  }

  #route(mayDiscover: boolean): void {
    const resolution = resolveDestination(this.#scope, this.#scope.mesh.snapshot, this.#head, this.#down.address);
    if (resolution.kind === 'refused') {
      this.#service = resolution.service;
      if (resolution.service !== '') this.#edge = beginEdge(this.#scope, resolution.service);
      this.#rescue(resolution.reason, resolution.message);
    } else if (resolution.kind === 'destination') this.#admit(resolution);
    else if (mayDiscover && this.#scope.discover !== null) {
      awaitDiscovery(this.#scope.discover(resolution.service), () => {
        if (!this.#isOver) this.#route(false);
      });
    } else
      this.#rescue('no_route', `no service is called ${resolution.service}: neither configuration nor Consul knows it`);
  }

  #admit(destination: Destination): void {
    const { view, policy } = destination;
    this.#service = view.service;
    this.#edge = beginEdge(this.#scope, view.service);
    const { inFlight } = view.stats;
    if (inFlight >= policy.limits.maxConcurrentRequests) {
      this.#rescue('upstream_overflow', `${view.service} has ${inFlight} requests in flight, which is the limit`);
      return;
    }
    this.#destination = destination;
    view.stats.inFlight += 1;
    view.stats.retryBudget.deposit(this.#startedAt);
    this.#composeHead(destination);
    if (this.#body.isWhole) this.#timeouts.arm(policy, this.#startedAt);
    this.#try(destination, null);
  }

  #composeHead({ view, requestChanges }: Destination): void {
    const { host } = this.#head;
    this.#requestText = composeRequestHead(this.#head, {
      host: host === '' ? view.service : host,
      requestId: this.#requestId,
      clientAddress: this.#down.address,
      changes: requestChanges,
      framing: this.#body.framingOf(this.#head),
    });
  }

  // ---- pick, attempt ----

  /** @param again  endpoint to use once more on a fresh connection; null to pick one */
  #try(destination: Destination, again: EndpointView | null): void {
    const { view, policy } = destination;
    const { clock, pools, random, route } = this.#scope;
    const now = clock.now();
    const endpoint = again ?? pickEndpoint(view, now, random, this.#retries.tried, destination.hash);
    if (endpoint === null) {
      this.#rescue('no_healthy_upstream', `${view.service} has no endpoint`);
      return;
    }
    const isInbound = route.kind === 'inbound';
    if (this.#body.isChunked && pools.wantsLength(endpoint, isInbound)) {
      this.#giveLength(destination, endpoint);
      return;
    }
    const attempt = new Attempt(endpoint, now, this.#scope.stalls);
    this.#attempt = attempt;
    this.#retries.attempts += 1;
    const connection = pools.acquire(view.service, endpoint, policy, this, again !== null, isInbound);
    attempt.connection = connection;
    if (connection === null) this.#judgeFailure('overflow');
    else if (connection.isConnecting) connection.deadlineAt = this.#timeouts.connectAt(now, policy);
    else this.onConnected(now);
  }

  /** Before an attempt at an endpoint that does not know chunks: the body is gathered, within what may be kept. */
  #giveLength(destination: Destination, endpoint: EndpointView): void {
    if (this.#body.isBeyondReplay || !this.#body.isReplayable) {
      const message = `${destination.view.service} speaks HTTP/1.0: a body in chunks may have at most 64 KiB`;
      this.#rescue('length_required', message);
    } else if (this.#body.isWhole) {
      this.#body.isChunked = false;
      this.#composeHead(destination);
      this.#try(destination, endpoint);
    } else if (!this.#isAwaitingLength) {
      this.#isAwaitingLength = true;
      this.#down.resumeBody();
      if (this.#head.expectsContinue) this.#down.sendContinue();
    }
  }

  /** The connection can be written to: a new one when it is open, a kept one at once. */
  onConnected(now = this.#scope.clock.now()): void {
    const attempt = this.#attempt;
    const connection = attempt?.connection ?? null;
    if (this.#destination === null || attempt === null || connection === null) return;
    attempt.isReused = connection.carried > 0;
    attempt.noteSent(now);
    connection.expectResponse(this.#head.method === 'HEAD', this.#head.upgrade);
    connection.isRequestWhole = this.#body.isWhole;
    connection.deadlineAt = this.#timeouts.sentAt(this.#destination.policy, this.#body.isWhole, now);
    if (this.#body.writeAll(connection.socket, this.#requestText)) this.#down.resumeBody();
    else if (!this.#body.isWhole) this.#down.pauseBody();
  }

  /** More of the request's body, which is kept until it can be sent. True when the memory of the piece stays in use. */
  onRequestBody(piece: Buffer | null, isLast: boolean): boolean {
    this.#body.isWhole = isLast;
    const connection = this.#attempt?.isSent === true ? this.#attempt.connection : null;
    if (this.#isBodyUnwanted) return false;
    if (piece !== null && connection === null) {
      this.#body.keep(piece);
      if (this.#body.isFull && !this.#isAwaitingLength) this.#down.pauseBody();
    } else if (piece !== null && connection !== null) {
      this.#body.pass(piece);
      if (!this.#body.writePiece(connection.socket, piece, connection.onBodyWritten)) this.#down.pauseBody();
    }
    if (this.#destination === null) return true;
    if (isLast) this.#timeouts.arm(this.#destination.policy);
    if (this.#isAwaitingLength && (isLast || this.#body.isBeyondReplay)) {
      this.#isAwaitingLength = false;
      this.#try(this.#destination, null);
    } else if (connection !== null) {
      if (isLast) this.#body.writeEnd(connection.socket, connection.onBodyWritten);
      connection.isRequestWhole = isLast;
      connection.deadlineAt = this.#timeouts.sentAt(this.#destination.policy, isLast && this.#relay === null);
    }
    return connection === null || this.#body.isReplayable || connection.socket.writableLength > 0;
  }

  onUpstreamDrain(): void {
    this.#down.resumeBody();
  }

  // ---- judge the head, retry? ----

  onInformational(head: ResponseHead): void {
    if (head.status === 100) this.#down.onContinue();
    if (this.#head.minor === 1 && this.#relay === null) this.#down.write(composeInformationalHead(head));
  }

  onResponseHead(head: ResponseHead): void {
    const destination = this.#destination;
    const attempt = this.#attempt;
    const connection = attempt?.connection ?? null;
    if (destination === null || attempt === null || connection === null) return;
    attempt.noteHead(head, this.#scope.clock);
    if (head.status >= 400 && this.#isAnswerRefused(head.status, attempt, destination)) {
      this.#endAttempt('response');
      connection.discard(this.#scope.deadlines.now);
      const isLengthWanted = head.status === 411 && this.#body.isChunked;
      if (!isLengthWanted) this.#retries.tried.push(attempt.endpoint);
      this.#try(destination, isLengthWanted ? attempt.endpoint : null);
      return;
    }
    attempt.isHeadRelayed = true;
    connection.deadlineAt = this.#timeouts.idleAt(destination.policy);
    // A refusal does not depend on the rest of the body; a success may be made of it while it comes.
    this.#isBodyUnwanted = !this.#body.isWhole && head.status >= 300;
    if (this.#isBodyUnwanted) this.#down.resumeBody();
    // An answer before the request was whole is relayed, but nothing can follow on either side.
    const mustClose = this.#mustClose();
    this.#body.release();
    this.#relay = new ResponseRelay(this.#down, connection, head, {
      minor: this.#head.minor,
      mustClose,
      direction: this.#scope.direction,
      destination,
      endpoint: attempt.address,
      attempts: this.#retries.attempts,
    });
  }

  onUpstreamLost(kind: OutcomeKind): void {
    if (this.#attempt !== null) this.#attempt.connection = null;
    if (this.#relay === null) this.#judgeFailure(kind);
    else {
      // The response broke off after its head went out: the downstream must see that it did, so its socket goes too.
      this.#endAttempt(kind);
      this.#finish('response_aborted', this.#attempt?.status ?? 0, false);
      this.#down.destroy();
    }
  }

  /** The attempt failed before any byte of a response went downstream. */
  #judgeFailure(kind: OutcomeKind): void {
    const destination = this.#destination;
    if (destination === null || this.#attempt === null || kind === 'response' || kind === 'canceled') return;
    const { endpoint } = this.#attempt;
    const outcome = this.#endAttempt(kind);
    if (outcome === null) return;
    if (this.#retries.repeatsStale(outcome, this.#body.isReplayable, this.#edge)) this.#try(destination, endpoint);
    else if (this.#retries.allows(outcome, destination, this.#body.isReplayable, this.#edge)) {
      this.#retries.tried.push(endpoint);
      this.#try(destination, null);
    } else this.#rescue(REASON_OF_OUTCOME[kind], `${destination.view.service}: ${SENTENCE_OF_OUTCOME[kind]}`);
  }

  /** Whether an answer is dropped and another one asked for: elsewhere, or at the same endpoint with a Content-Length. */
  #isAnswerRefused(status: number, attempt: Attempt, destination: Destination): boolean {
    const { isChunked, isReplayable } = this.#body;
    if (isChunked && this.#retries.repeatsWithLength(status, isReplayable, this.#edge)) return true;
    const outcome = attempt.outcome('response', this.#scope.clock.now());
    return this.#retries.allows(outcome, destination, isReplayable, this.#edge);
  }

  // ---- relay ----

  onResponseBody(bytes: Buffer, ranges: readonly number[], isLast: boolean): void {
    const connection = this.#attempt?.connection ?? null;
    if (connection === null || this.#destination === null) return;
    connection.deadlineAt = this.#timeouts.idleAt(this.#destination.policy);
    this.#relay?.write(bytes, ranges, isLast);
  }

  onReadEnd(): void {
    this.#relay?.flushHead();
  }

  onResponseEnd(): void {
    const relay = this.#relay;
    const attempt = this.#attempt;
    if (relay === null || attempt === null) return;
    attempt.connection = null;
    relay.end();
    const now = this.#scope.clock.now();
    this.#endAttempt('response', now);
    this.#finish('ok', attempt.status, relay.mustClose, now);
  }

  onSwitched(head: ResponseHead, rest: Buffer): void {
    const attempt = this.#attempt;
    const connection = attempt?.connection ?? null;
    if (attempt === null || connection === null) return;
    attempt.noteHead(head, this.#scope.clock);
    this.#endAttempt('response');
    const tunnel = new Tunnel(this.#down, connection, this.#scope, () => {
      attempt.connection = null;
      this.#finish('ok', 101, true);
    });
    tunnel.start(head, rest);
  }

  onDownstreamDrain(): void {
    this.#relay?.resume();
  }

  // ---- deadlines and departures ----

  onUpstreamDeadline(): void {
    const connection = this.#attempt?.connection ?? null;
    if (connection === null || this.#destination === null) return;
    if (this.#relay?.isPaused === true) {
      // It is the downstream that does not take; its own write-stall limit watches over that.
      connection.deadlineAt = this.#timeouts.idleAt(this.#destination.policy);
      return;
    }
    connection.destroy();
    this.onUpstreamLost('timeout');
  }

  /** The downstream is gone: stop the upstream at once. Nobody is to blame. */
  cancel(): void {
    if (this.#isOver) return;
    this.#dropUpstream();
    this.#finish('downstream_disconnect', this.#relay === null ? 0 : (this.#attempt?.status ?? 0), false);
  }

  /** The request itself went bad after its head: a malformed chunk, a body that does not come. */
  refuse(reason: Reason, message: string): void {
    if (this.#isOver) return;
    this.#dropUpstream();
    if (this.#relay === null) this.#rescue(reason, message, true);
    else {
      this.#finish(reason, this.#attempt?.status ?? 0, false);
      this.#down.destroy();
    }
  }

  #dropUpstream(): void {
    if (this.#attempt === null) return;
    this.#endAttempt('canceled');
    this.#attempt.connection?.destroy();
    this.#attempt.connection = null;
  }

  // ---- the ends ----

  #mustClose(): boolean {
    return !this.#body.isWhole || this.#down.mustCloseAfter(this.#head);
  }

  /** The agent's own answer. The connection stays only when the request is whole: a body left behind is never parsed. */
  #rescue(reason: Reason, message: string, isBroken = false): void {
    const mustClose = isBroken || this.#mustClose();
    const facts = { isHead: this.#head.method === 'HEAD', mustClose, epochMs: this.#scope.clock.epochMs() };
    this.#down.write(composeRescue({ reason, message, service: this.#service, ...facts }));
    this.#finish(reason, REASON_STATUS[reason] ?? 0, mustClose);
  }

  /** Books the attempt under way, once; null when there is none. */
  #endAttempt(kind: OutcomeKind, now = this.#scope.clock.now()): Outcome | null {
    const attempt = this.#attempt;
    const destination = this.#destination;
    if (attempt === null || destination === null || attempt.isEnded) return null;
    const outcome = attempt.outcome(kind, now);
    this.#edge?.attempt(kind);
    if (attempt.end(outcome, destination.policy, now)) this.#scope.mesh.requestSweep(destination.view.service);
    return outcome;
  }

  #finish(result: RequestResult, status: number, mustClose: boolean, now = this.#scope.clock.now()): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#destination !== null) this.#destination.view.stats.inFlight -= 1;
    recordEnd(this.#scope, this.#edge, {
      destination: this.#service,
      method: this.#head.method,
      path: this.#head.target,
      status,
      result,
      durationMs: now - this.#startedAt,
      bytesIn: this.#body.receivedBytes,
      bytesOut: this.#relay?.bytesOut ?? 0,
      endpoint: this.#attempt?.address ?? null,
      attempts: this.#retries.attempts,
      requestId: this.#requestId,
      retryReason: this.#retries.reason,
    });
    this.#down.onExchangeDone(mustClose);
  }
}
