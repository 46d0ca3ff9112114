// One request, from its parsed head to its one access record. Reads top to bottom like the walk in ARCHITECTURE.md: pin the
// snapshot → route → permission → limits → pick → attempt → judge the head → retry? → relay. Nothing here throws or waits;
// the next step is taken by whichever socket speaks.

import type { Outcome, OutcomeKind } from '../core/outcome.ts';
import { beginAttempt, endAttempt } from '../core/outlier/record.ts';
import { pickEndpoint } from '../core/pick.ts';
import { REASON_STATUS, type Reason, type RequestResult } from '../core/reason.ts';
import { decideRetry, isStaleConnection } from '../core/retry/decide.ts';
import type { EndpointView } from '../core/snapshot.ts';
import type { Edge } from '../telemetry/metrics.ts';
import { type Destination, resolveDestination } from './destination.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import { chooseRequestId, composeInformationalHead, composeRequestHead, MAX_HOPS } from './headers.ts';
import { BODY_CHUNKED } from './http1/framing.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import { RequestBody } from './request-body.ts';
import { composeOptionsAnswer, composeRescue } from './rescue.ts';
import { ResponseRelay } from './response-relay.ts';
import type { ProxyScope } from './scope.ts';
import { Tunnel } from './tunnel.ts';
import type { UpstreamConnection, UpstreamSink } from './upstream-connection.ts';

/** First use of an undeclared service: how long a request waits for discovery. */
const DISCOVER_MS = 500;
const SAFE_TO_REPEAT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** What the agent says when an attempt ended this way and no other follows. */
const REASON_OF: Readonly<Record<Exclude<OutcomeKind, 'response' | 'canceled'>, Reason>> = {
  connect_failure: 'upstream_connect_failure',
  connect_timeout: 'upstream_connect_timeout',
  reset: 'upstream_reset',
  protocol_error: 'upstream_protocol_error',
  timeout: 'upstream_timeout',
  overflow: 'upstream_overflow',
};

export class Exchange implements UpstreamSink {
  readonly head: RequestHead;
  readonly body: RequestBody;
  readonly #scope: ProxyScope;
  readonly #down: DownstreamConnection;
  readonly #startedAt: number;
  readonly #requestId: string;
  readonly #hasIdempotencyKey: boolean;
  #isOver = false;
  #edge: Edge | null = null;
  #service = '';
  #destination: Destination | null = null;
  #requestText = '';
  #requestDeadlineAt = Number.POSITIVE_INFINITY;

  #endpoint: EndpointView | null = null;
  #epoch = 0;
  #connection: UpstreamConnection | null = null;
  #isReused = false;
  #isSent = false;
  #sentAt = 0;
  #attempts = 0;
  #hasRetriedStale = false;
  #retryReason: string | null = null;
  readonly #tried: EndpointView[] = [];

  #relay: ResponseRelay | null = null;
  #responseStatus = 0;
  #headLatencyMs = 0;
  #retryAfterMs = 0;

  constructor(scope: ProxyScope, down: DownstreamConnection, head: RequestHead) {
    this.#scope = scope;
    this.#down = down;
    this.head = head;
    this.body = new RequestBody(head.framing === BODY_CHUNKED);
    this.#startedAt = scope.clock.now();
    this.#requestId = chooseRequestId(head, scope.nextRequestId);
    this.#hasIdempotencyKey = head.fields.includes('idempotency-key');
  }

  // ---- route, permission, limits ----

  start(): void {
    const { head } = this;
    if (head.method === 'CONNECT' || head.method === 'TRACE')
      this.#rescue('method_not_allowed', `${head.method} is not supported`);
    else if (head.hops >= MAX_HOPS)
      this.#rescue('loop_detected', `the request went through ${MAX_HOPS} agents already`);
    else if (head.target === '*' || head.maxForwards === 0) this.#answerOptions();
    else this.#route(true);
  }

  #route(mayDiscover: boolean): void {
    const resolution = resolveDestination(this.#scope, this.#scope.mesh.snapshot, this.head);
    if (resolution.kind === 'refused') {
      this.#service = resolution.service;
      this.#rescue(resolution.reason, resolution.message);
    } else if (resolution.kind === 'destination') this.#admit(resolution);
    else if (mayDiscover && this.#scope.discover !== null) this.#discover(resolution.service, this.#scope.discover);
    else {
      this.#rescue('no_route', `no service is called ${resolution.service}: neither configuration nor Consul knows it`);
    }
  }

  /** The one wait on this path, and only at the first use of a service that nobody declared. */
  #discover(service: string, discover: (service: string) => Promise<void>): void {
    let isDecided = false;
    const decide = () => {
      clearTimeout(timer);
      if (isDecided || this.#isOver) return;
      isDecided = true;
      this.#route(false);
    };
    const timer = setTimeout(decide, DISCOVER_MS);
    // A failure is told by discovery itself; here it only means that the service is still unknown.
    discover(service).then(decide, decide);
  }

  #admit(destination: Destination): void {
    const { view, policy } = destination;
    const { clock, metrics, direction } = this.#scope;
    this.#service = view.service;
    this.#edge = metrics.edge(direction, direction === 'outbound' ? this.#scope.service : 'unknown', view.service);
    this.#edge.begin();
    if (view.stats.inFlight >= policy.limits.maxConcurrentRequests) {
      const message = `${view.service} has ${view.stats.inFlight} requests in flight, which is the limit`;
      this.#rescue('upstream_overflow', message);
      return;
    }
    this.#destination = destination;
    view.stats.inFlight += 1;
    view.stats.retryBudget.deposit(clock.now());
    this.#requestText = composeRequestHead(this.head, {
      host: this.head.host === '' ? view.service : this.head.host,
      requestId: this.#requestId,
      clientAddress: this.#down.address,
      changes: destination.requestChanges,
    });
    if (this.body.isWhole) this.#armRequestDeadline();
    this.#attempt(destination, null);
  }

  /** Timeouts count from the moment the request is whole: an upload takes as long as it moves (see onUpstreamDeadline). */
  #armRequestDeadline(): void {
    const requestMs = this.#destination?.policy.timeouts.requestMs ?? 0;
    if (requestMs > 0) this.#requestDeadlineAt = this.#scope.clock.now() + requestMs;
  }

  // ---- pick, attempt ----

  /** @param again  endpoint to use once more on a fresh connection; null to pick one */
  #attempt(destination: Destination, again: EndpointView | null): void {
    const { view, policy } = destination;
    const now = this.#scope.clock.now();
    const endpoint = again ?? pickEndpoint(view, now, this.#scope.random, this.#tried);
    if (endpoint === null) {
      this.#rescue('no_healthy_upstream', `${view.service} has no endpoint`);
      return;
    }
    beginAttempt(endpoint.stats, now);
    this.#endpoint = endpoint;
    this.#epoch = endpoint.stats.epoch;
    this.#attempts += 1;
    this.#isSent = false;
    this.#sentAt = now;
    this.#responseStatus = 0;
    this.#retryAfterMs = 0;
    const isPinned = this.#scope.route.kind === 'inbound';
    const connection = this.#scope.pools.acquire(view.service, endpoint, policy, this, again !== null, isPinned);
    this.#connection = connection;
    this.#isReused = connection !== null && connection.carried > 0;
    if (connection === null) this.#judgeFailure('overflow');
    else if (connection.isConnecting) {
      connection.deadlineAt = Math.min(now + policy.timeouts.connectMs, this.#requestDeadlineAt);
    } else this.#send(connection);
  }

  onConnected(): void {
    if (this.#connection !== null) this.#send(this.#connection);
  }

  #send(connection: UpstreamConnection): void {
    const { body } = this;
    this.#sentAt = this.#scope.clock.now();
    this.#isSent = true;
    connection.expectResponse(this.head.method === 'HEAD', this.head.upgrade);
    connection.isRequestWhole = body.isWhole;
    this.#armAttemptDeadline(connection);
    const { socket } = connection;
    const inline = body.inline(this.#requestText);
    let hasRoom: boolean;
    if (inline !== null) hasRoom = socket.write(inline, 'latin1');
    else {
      socket.cork();
      socket.write(this.#requestText, 'latin1');
      for (const piece of body.pieces) this.#writePiece(connection, piece);
      if (body.isChunked && body.isWhole) socket.write('0\r\n\r\n', 'latin1');
      socket.uncork();
      hasRoom = !socket.writableNeedDrain;
    }
    body.settle();
    if (hasRoom) this.#down.resumeBody();
    else this.#down.pauseBody();
  }

  #writePiece(connection: UpstreamConnection, piece: Buffer): boolean {
    const { socket } = connection;
    if (!this.body.isChunked) return socket.write(piece);
    socket.cork();
    socket.write(`${piece.length.toString(16)}\r\n`, 'latin1');
    socket.write(piece);
    const hasRoom = socket.write('\r\n', 'latin1');
    socket.uncork();
    return hasRoom;
  }

  /** More of the request's body; `isLast` with the final piece, which may be empty. Before `start` it is only kept. */
  onRequestBody(piece: Buffer | null, isLast: boolean): void {
    const { body } = this;
    body.isWhole = isLast;
    const connection = this.#isSent ? this.#connection : null;
    if (piece !== null && connection === null) {
      body.keep(piece);
      if (body.isFull) this.#down.pauseBody();
    } else if (piece !== null && connection !== null) {
      body.pass(piece);
      if (!this.#writePiece(connection, piece)) this.#down.pauseBody();
    }
    if (isLast && this.#destination !== null) this.#armRequestDeadline();
    if (connection === null) return;
    if (isLast && body.isChunked) connection.socket.write('0\r\n\r\n', 'latin1');
    connection.isRequestWhole = isLast;
    this.#armAttemptDeadline(connection);
  }

  onUpstreamDrain(): void {
    this.#down.resumeBody();
  }

  // ---- judge the response head, retry? ----

  onInformational(head: ResponseHead): void {
    if (head.status === 100) this.#down.onContinue();
    if (this.head.minor === 1 && this.#relay === null) this.#down.write(composeInformationalHead(head));
  }

  onResponseHead(head: ResponseHead): void {
    const destination = this.#destination;
    const connection = this.#connection;
    const endpoint = this.#endpoint;
    if (destination === null || connection === null || endpoint === null) return;
    this.#responseStatus = head.status;
    this.#headLatencyMs = this.#scope.clock.now() - this.#sentAt;
    this.#retryAfterMs = head.retryAfter === null ? 0 : this.#readRetryAfter(head.retryAfter);
    if (head.status >= 400 && this.#isRetried(this.#outcome('response'), destination)) {
      this.#endAttempt('response');
      connection.discard(this.#scope.deadlines.now);
      this.#retry(destination, null);
      return;
    }
    // An answer before the request was whole is relayed, but nothing can follow on either side.
    const mustClose = !this.body.isWhole || this.#down.mustCloseAfter(this.head);
    this.body.release();
    const { address, port } = endpoint.endpoint;
    this.#relay = new ResponseRelay(this.#down, connection, head, {
      isHttp10: this.head.minor === 0,
      isHead: this.head.method === 'HEAD',
      mustClose,
      isAgentTrusted: this.#scope.direction === 'outbound',
      changes: destination.responseChanges,
      endpoint: destination.policy.exposeEndpoint ? `${address}:${port}` : null,
      attempts: this.#attempts,
    });
    connection.deadlineAt = this.#scope.deadlines.now + destination.policy.timeouts.idleMs;
  }

  onUpstreamLost(kind: OutcomeKind): void {
    this.#connection = null;
    if (this.#relay === null) this.#judgeFailure(kind);
    else this.#abortResponse(kind);
  }

  /** The attempt failed before any byte of it went downstream. */
  #judgeFailure(kind: OutcomeKind): void {
    const destination = this.#destination;
    if (destination === null || kind === 'response' || kind === 'canceled') return;
    const endpoint = this.#endpoint;
    const outcome = this.#outcome(kind);
    this.#endAttempt(kind);
    if (isStaleConnection(outcome) && this.#mayRepeatStale()) {
      this.#hasRetriedStale = true;
      this.#noteRetry('stale_connection');
      this.#attempt(destination, endpoint);
    } else if (this.#isRetried(outcome, destination)) this.#retry(destination, endpoint);
    else this.#rescue(REASON_OF[kind], `${destination.view.service}: ${SENTENCES[kind]}`);
  }

  /** A kept connection that turned out closed costs nobody's budget, but is repeated once only, and never a POST. */
  #mayRepeatStale(): boolean {
    if (this.#hasRetriedStale || !this.body.isReplayable) return false;
    return this.#hasIdempotencyKey || SAFE_TO_REPEAT.has(this.head.method);
  }

  #isRetried(outcome: Outcome, destination: Destination): boolean {
    const now = this.#scope.clock.now();
    const verdict = decideRetry(outcome, destination.policy, {
      method: this.head.method,
      hasIdempotencyKey: this.#hasIdempotencyKey,
      isReplayable: this.body.isReplayable,
      attemptsDone: this.#attempts - (this.#hasRetriedStale ? 1 : 0),
      msLeft: this.#requestDeadlineAt - now,
    });
    if (!verdict.retry) return false;
    if (!destination.view.stats.retryBudget.tryWithdraw(now)) {
      this.#edge?.budgetExhausted();
      return false;
    }
    this.#noteRetry(verdict.reason);
    return true;
  }

  #noteRetry(reason: string): void {
    this.#retryReason = reason;
    this.#edge?.retry(reason);
  }

  #retry(destination: Destination, failed: EndpointView | null): void {
    const former = failed ?? this.#endpoint;
    if (former !== null) this.#tried.push(former);
    this.#attempt(destination, null);
  }

  // ---- relay ----

  onResponseBody(bytes: Buffer, ranges: readonly number[], isLast: boolean): void {
    const connection = this.#connection;
    if (connection === null || this.#relay === null) return;
    connection.deadlineAt = this.#scope.deadlines.now + (this.#destination?.policy.timeouts.idleMs ?? 0);
    this.#relay.write(bytes, ranges, isLast);
  }

  onReadEnd(): void {
    this.#relay?.flushHead();
  }

  onResponseEnd(): void {
    const relay = this.#relay;
    if (relay === null) return;
    this.#connection = null;
    relay.end();
    this.#endAttempt('response');
    this.#finish('ok', this.#responseStatus, relay.mustClose);
  }

  onSwitched(head: ResponseHead, rest: Buffer): void {
    const connection = this.#connection;
    if (connection === null) return;
    this.#responseStatus = 101;
    this.#headLatencyMs = this.#scope.clock.now() - this.#sentAt;
    this.#endAttempt('response');
    const tunnel = new Tunnel(this.#down, connection, this.#scope.deadlines, () => {
      this.#connection = null;
      this.#finish('ok', 101, true);
    });
    this.#down.write(composeInformationalHead(head));
    tunnel.start(rest);
  }

  onDownstreamDrain(): void {
    this.#relay?.resume();
  }

  /** The response broke off after its head went out: the downstream must see that it did, so its socket goes too. */
  #abortResponse(kind: OutcomeKind): void {
    this.#endAttempt(kind);
    this.#finish('response_aborted', this.#responseStatus, false);
    this.#down.destroy();
  }

  // ---- deadlines and departures ----

  #armAttemptDeadline(connection: UpstreamConnection): void {
    if (this.#relay !== null) return;
    const { backendRequestMs, idleMs } = this.#destination?.policy.timeouts ?? { backendRequestMs: 0, idleMs: 60_000 };
    const now = this.#scope.deadlines.now;
    if (!this.body.isWhole) connection.deadlineAt = now + idleMs;
    else {
      const attemptDeadlineAt =
        backendRequestMs > 0 ? this.#scope.clock.now() + backendRequestMs : Number.POSITIVE_INFINITY;
      connection.deadlineAt = Math.min(attemptDeadlineAt, this.#requestDeadlineAt);
    }
  }

  onUpstreamDeadline(now: number): void {
    const connection = this.#connection;
    if (connection === null) return;
    if (this.#relay?.isPaused === true) {
      // It is the downstream that does not take; its own write-stall limit watches over that.
      connection.deadlineAt = now + (this.#destination?.policy.timeouts.idleMs ?? 0);
      return;
    }
    connection.destroy();
    this.onUpstreamLost('timeout');
  }

  /** The downstream is gone: stop the upstream at once. Nobody is to blame. */
  cancel(): void {
    if (this.#isOver) return;
    this.#connection?.destroy();
    this.#connection = null;
    if (this.#endpoint !== null) this.#endAttempt('canceled');
    this.#finish('downstream_disconnect', this.#relay === null ? 0 : this.#responseStatus, false);
  }

  /** The request itself went bad after its head: a malformed chunk, a body that does not come. */
  refuse(reason: Reason, message: string): void {
    if (this.#isOver) return;
    this.#connection?.destroy();
    this.#connection = null;
    if (this.#endpoint !== null) this.#endAttempt('canceled');
    if (this.#relay === null) {
      this.#rescue(reason, message, true);
      return;
    }
    this.#finish(reason, this.#responseStatus, false);
    this.#down.destroy();
  }

  // ---- the ends ----

  #answerOptions(): void {
    const mustClose = !this.body.isWhole || this.#down.mustCloseAfter(this.head);
    this.#down.write(composeOptionsAnswer(mustClose));
    this.#finish('ok', 200, mustClose);
  }

  /** The agent's own answer. The connection stays only when the request is whole: a body left behind is never parsed. */
  #rescue(reason: Reason, message: string, isBroken = false): void {
    const mustClose = isBroken || !this.body.isWhole || this.#down.mustCloseAfter(this.head);
    const isHead = this.head.method === 'HEAD';
    const epochMs = this.#scope.clock.epochMs();
    this.#down.write(composeRescue({ reason, message, service: this.#service, isHead, mustClose, epochMs }));
    this.#finish(reason, REASON_STATUS[reason] ?? 0, mustClose);
  }

  #outcome(kind: OutcomeKind): Outcome {
    return {
      kind,
      status: this.#responseStatus,
      latencyMs: this.#responseStatus === 0 ? this.#scope.clock.now() - this.#sentAt : this.#headLatencyMs,
      retryAfterMs: this.#retryAfterMs,
      isSent: this.#isSent,
      isReusedConnection: this.#isReused,
      isHeadRelayed: this.#relay !== null,
    };
  }

  /** Exactly once for each begun attempt. */
  #endAttempt(kind: OutcomeKind): void {
    const endpoint = this.#endpoint;
    const destination = this.#destination;
    if (endpoint === null || destination === null) return;
    this.#endpoint = null;
    this.#edge?.attempt(kind);
    const now = this.#scope.clock.now();
    const { view, policy } = destination;
    const crossed = endAttempt(endpoint.stats, this.#outcome(kind), this.#epoch, policy, now);
    if (crossed) this.#scope.mesh.requestSweep(view.service);
    this.#lastEndpoint = endpoint;
  }

  #lastEndpoint: EndpointView | null = null;

  #finish(result: RequestResult, status: number, mustClose: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { clock, direction, metrics, service, accessLog } = this.#scope;
    const durationMs = clock.now() - this.#startedAt;
    const source = direction === 'outbound' ? service : 'unknown';
    if (this.#destination !== null) this.#destination.view.stats.inFlight -= 1;
    if (this.#edge === null) {
      this.#edge = metrics.edge(direction, source, 'unknown');
      this.#edge.begin();
    }
    this.#edge.end(result, status, durationMs);
    const endpoint = this.#lastEndpoint?.endpoint ?? null;
    accessLog.write({
      direction,
      source,
      destination: this.#service === '' ? 'unknown' : this.#service,
      method: this.head.method,
      path: this.head.target,
      status,
      result,
      durationMs,
      bytesIn: this.body.receivedBytes,
      bytesOut: this.#relay?.bytesOut ?? 0,
      endpoint: endpoint === null ? null : `${endpoint.address}:${endpoint.port}`,
      attempts: this.#attempts,
      requestId: this.#requestId,
      retryReason: this.#retryReason,
    });
    this.#down.onExchangeDone(mustClose);
  }

  /** RFC 9110 10.2.3: seconds, or a date; capped at five minutes as the balancer's penalty is. */
  #readRetryAfter(value: string): number {
    const ms = /^[0-9]{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - this.#scope.clock.epochMs();
    return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 300_000) : 0;
  }
}

const SENTENCES: Readonly<Record<Exclude<OutcomeKind, 'response' | 'canceled'>, string>> = {
  connect_failure: 'an endpoint could not be connected to',
  connect_timeout: 'an endpoint did not accept a connection in time',
  reset: 'an endpoint closed the connection before it answered',
  protocol_error: 'an endpoint sent something that is not a valid HTTP response',
  timeout: 'no endpoint answered in time',
  overflow: 'the endpoint has as many connections as it may have',
};
