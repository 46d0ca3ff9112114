// One request, from its parsed head to its one access record. Reads top to bottom like the walk in ARCHITECTURE.md: pin the
// snapshot → route → permission → limits → call (upstream-call.ts: pick, attempt, judge, again?) → relay. Nothing here throws or
// waits; the next step is taken by whichever socket speaks.

import type { OutcomeKind } from '../core/outcome.ts';
import { REASON_STATUS, type Reason, type RequestResult } from '../core/reason.ts';
import type { Edge } from '../telemetry/metrics.ts';
import { awaitDiscovery, type Destination, refuseEarly, resolveDestination } from './destination.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import { chooseRequestId } from './headers.ts';
import type { AnswerSink, HttpAttempt } from './http-attempt.ts';
import { BODY_CHUNKED } from './http1/framing.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import { RequestBody } from './request-body.ts';
import { beginEdge, recordEnd } from './request-record.ts';
import { composeOptionsAnswer, composeRescue } from './rescue.ts';
import { ResponseRelay } from './response-relay.ts';
import type { ProxyScope } from './scope.ts';
import { Tunnel } from './tunnel.ts';
import { type CallOwner, UpstreamCall } from './upstream-call.ts';

export class Exchange implements CallOwner, AnswerSink {
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
  #call: UpstreamCall | null = null;
  #relay: ResponseRelay | null = null;

  constructor(scope: ProxyScope, down: DownstreamConnection, head: RequestHead) {
    this.#scope = scope;
    this.#down = down;
    this.#head = head;
    this.#body = new RequestBody(head.framing === BODY_CHUNKED);
    this.#startedAt = scope.clock.now();
    this.#requestId = chooseRequestId(head, scope.nextRequestId);
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
    this.#begin(destination, this.#edge);
  }

  #begin(destination: Destination, edge: Edge): void {
    const [scope, down, head, body, requestId] = [this.#scope, this.#down, this.#head, this.#body, this.#requestId];
    this.#call = new UpstreamCall({ scope, down, head, body, requestId, edge }, destination, this);
    this.#call.start(this.#startedAt);
  }

  /** More of the request's body. True when the memory of the piece stays in use. */
  onRequestBody(piece: Buffer | null, isLast: boolean): boolean {
    this.#body.isWhole = isLast;
    if (this.#call !== null) return this.#call.onRequestBody(piece, isLast);
    if (piece === null) return true;
    this.#body.keep(piece);
    if (this.#body.isFull) this.#down.pauseBody();
    return true;
  }

  // ---- relay ----

  onAccepted(attempt: HttpAttempt, head: ResponseHead): void {
    const { connection } = attempt;
    if (this.#destination === null || connection === null) return;
    attempt.answer = this;
    this.#relay = new ResponseRelay(this.#down, connection, head, {
      minor: this.#head.minor,
      // An answer before the request was whole is relayed, but nothing can follow on either side.
      mustClose: this.#mustClose(),
      direction: this.#scope.direction,
      destination: this.#destination,
      endpoint: attempt.address,
      attempts: this.#call?.retries.attempts ?? 0,
    });
  }

  onAnswerBody(bytes: Buffer, ranges: readonly number[], isLast: boolean): void {
    this.#pushDeadline();
    this.#relay?.write(bytes, ranges, isLast);
  }

  onAnswerRest(): void {
    this.#relay?.flushHead();
  }

  onAnswerEnd(): void {
    const attempt = this.#call?.attempt ?? null;
    if (this.#relay === null || attempt === null) return;
    this.#relay.end();
    const now = this.#scope.clock.now();
    this.#call?.end(attempt, 'response', now);
    this.#finish('ok', attempt.status, this.#relay.mustClose, now);
  }

  /** The downstream must see that it broke off, so its socket goes too. */
  onAnswerBroken(kind: OutcomeKind): void {
    const attempt = this.#call?.attempt ?? null;
    if (attempt === null) return;
    this.#call?.end(attempt, kind);
    this.#finish('response_aborted', attempt.status, false);
    this.#down.destroy();
  }

  onAnswerDeadline(): void {
    if (this.#relay?.isPaused === true) {
      // It is the downstream that does not take; its own write-stall limit watches over that.
      this.#pushDeadline();
      return;
    }
    this.#call?.attempt?.drop();
    this.onAnswerBroken('timeout');
  }

  #pushDeadline(): void {
    const connection = this.#call?.attempt?.connection ?? null;
    if (connection === null || this.#call === null || this.#destination === null) return;
    connection.deadlineAt = this.#call.timeouts.idleAt(this.#destination.policy);
  }

  onSwitched(attempt: HttpAttempt, head: ResponseHead, rest: Buffer): void {
    if (attempt.connection === null) return;
    const tunnel = new Tunnel(this.#down, attempt.connection, this.#scope, () => {
      attempt.connection = null;
      this.#finish('ok', 101, true);
    });
    tunnel.start(head, rest);
  }

  onDownstreamDrain(): void {
    this.#relay?.resume();
  }

  // ---- departures ----

  /** The downstream is gone: stop the upstream at once. Nobody is to blame. */
  cancel(): void {
    if (this.#isOver) return;
    this.#call?.cancel();
    this.#finish('downstream_disconnect', this.#relayedStatus, false);
  }

  /** The request itself went bad after its head: a malformed chunk, a body that does not come. */
  refuse(reason: Reason, message: string): void {
    if (this.#isOver) return;
    this.#call?.cancel();
    if (this.#relay === null) this.#rescue(reason, message, true);
    else {
      this.#finish(reason, this.#relayedStatus, false);
      this.#down.destroy();
    }
  }

  // ---- the ends ----

  get #relayedStatus(): number {
    return this.#relay === null ? 0 : (this.#call?.attempt?.status ?? 0);
  }

  #mustClose(): boolean {
    return !this.#body.isWhole || this.#down.mustCloseAfter(this.#head);
  }

  onCallFailed(reason: Reason, message: string): void {
    this.#rescue(reason, message);
  }

  /** The agent's own answer. The connection stays only when the request is whole: a body left behind is never parsed. */
  #rescue(reason: Reason, message: string, isBroken = false): void {
    const mustClose = isBroken || this.#mustClose();
    const facts = { isHead: this.#head.method === 'HEAD', mustClose, epochMs: this.#scope.clock.epochMs() };
    this.#down.write(composeRescue({ reason, message, service: this.#service, ...facts }));
    this.#finish(reason, REASON_STATUS[reason] ?? 0, mustClose);
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
      endpoint: this.#call?.attempt?.address ?? null,
      attempts: this.#call?.retries.attempts ?? 0,
      requestId: this.#requestId,
      retryReason: this.#call?.retries.reason ?? null,
    });
    this.#down.onExchangeDone(mustClose);
  }
}
