// One request, from its parsed head to its one access record. Reads top to bottom like the walk in ARCHITECTURE.md: pin the
// snapshot → route → permission → limits → (wait for room) → call (upstream-call.ts: pick, attempt, judge, again?) → relay. Nothing here throws or
// waits; the next step is taken by whichever socket speaks.

import type { DecisionRecord } from '../core/decision/decision-record.ts';
import { askGate, leavePlace, takePlace, utilisation } from '../core/limits/gate.ts';
import { lesserClass, type TrafficClass } from '../core/limits/traffic-class.ts';
import type { OutcomeKind } from '../core/outcome.ts';
import { REASON_STATUS, type Reason, type RequestResult } from '../core/reason.ts';
import type { Hop } from '../core/retry/hops.ts';
import type { ServiceView } from '../core/snapshot.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { CallOwner } from './call-owner.ts';
import { awaitDiscovery, type Destination, type Resolved, refuseEarly, resolveDestination } from './destination.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import type { RetryAdvice } from './headers.ts';
import type { AnswerSink, HttpAttempt } from './http-attempt.ts';
import { BODY_CHUNKED } from './http1/framing.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import { composeRedirect } from './redirect-answer.ts';
import { RequestBody } from './request-body.ts';
import { beginEdge, endEdge, isOwnEnd, logExchange, noteAdmission, noteLatency } from './request-record.ts';
import { composeOptionsAnswer, composeRescue, RETRY_AFTER_SECONDS, retryAdviceOf } from './rescue.ts';
import { ResponseRelay } from './response-relay.ts';
import { type EffectsOwner, effectsOf, type RuleEffects } from './rule-effects.ts';
import type { ProxyScope } from './scope.ts';
import { readSteering, type Steering } from './steering.ts';
import { HOP_MARGIN_MS } from './timeouts.ts';
import { Tunnel } from './tunnel.ts';
import { Turn, type TurnOwner } from './turn.ts';
import { UpstreamCall } from './upstream-call.ts';

export class Exchange implements CallOwner, AnswerSink, TurnOwner, EffectsOwner {
  readonly scope: ProxyScope;
  readonly down: DownstreamConnection;
  readonly head: RequestHead;
  readonly body: RequestBody;
  readonly #startedAt: number;
  readonly requestId: string;
  readonly steering: Steering;
  readonly record: DecisionRecord;
  /** Monotonic ms after which nobody waits for the answer; Infinity when nobody said. */
  callerDeadlineAt: number;
  /** The request of the application's own caller on whose behalf this one is made; of inbound requests, this one itself. */
  #hop: Hop | null = null;
  #isOver = false;
  /** The agent's own words. */
  #message = '';
  #edge: Edge | null = null;
  /** Known destination, `''` before. */
  #service = '';
  #destination: Destination | null = null;
  #call: UpstreamCall | null = null;
  #relay: ResponseRelay | null = null;
  trafficClass: TrafficClass;
  /** Counted as a request in flight. */
  #hasPlace = false;
  /** Where it has to wait for room. */
  #turn: Turn | null = null;
  #resolved: Resolved | null = null;
  /** What its rule does beside sending it on. */
  #effects: RuleEffects | null = null;

  constructor(scope: ProxyScope, down: DownstreamConnection, head: RequestHead) {
    this.scope = scope;
    this.down = down;
    this.head = head;
    this.body = new RequestBody(head.framing === BODY_CHUNKED);
    this.#startedAt = scope.clock.now();
    this.steering = readSteering(head.fields);
    this.record = scope.decisions.begin(this.#startedAt);
    // A request without a name gets that of its record: the id in logs, at the upstream and of `/why` is one.
    this.requestId = this.steering.requestId === '' ? scope.decisions.idOf(this.record) : this.steering.requestId;
    this.trafficClass = this.steering.trafficClass;
    this.callerDeadlineAt = this.#startedAt + this.steering.deadlineMs;
  }

  // ---- route, permission, limits ----

  start(): void {
    const { target, maxForwards } = this.head;
    this.#joinHops();
    const refusal = refuseEarly(this.scope, this.head, this.trafficClass);
    if (refusal !== null) this.#rescue(refusal.reason, refusal.message);
    else if (target === '*' || maxForwards === 0) {
      const mustClose = this.#mustClose();
      this.down.write(composeOptionsAnswer(mustClose));
      this.#finish('ok', 200, mustClose);
    } else this.#route(true);
  }

  /** Inbound: remembers the request while the application works on it. Outbound: finds the one that this is done for. */
  #joinHops(): void {
    const { hops, direction } = this.scope;
    const { traceId } = this.steering;
    if (direction === 'inbound') {
      this.#hop = hops.enter(traceId, this.requestId, this.callerDeadlineAt, this.trafficClass);
      return;
    }
    this.#hop = hops.find(traceId, this.steering.requestId);
    if (this.#hop === null) return;
    this.callerDeadlineAt = Math.min(this.callerDeadlineAt, this.#hop.deadlineAt - HOP_MARGIN_MS);
    this.trafficClass = lesserClass(this.trafficClass, this.#hop.trafficClass);
  }

  #route(mayDiscover: boolean): void {
    const resolution = resolveDestination(this.scope, this.scope.mesh.snapshot, this.head, this.down.address);
    if (resolution.kind !== 'unknown') this.#resolved = resolution;
    if (resolution.kind === 'refused') {
      this.#service = resolution.service;
      if (resolution.service !== '') this.#edge = beginEdge(this.scope, resolution.service);
      this.#rescue(resolution.reason, resolution.message);
    } else if (resolution.kind === 'destination')
      this.#admit(resolution, mayDiscover ? this.#startedAt : this.scope.clock.now());
    else if (resolution.kind === 'redirect') this.#redirect(resolution);
    else if (mayDiscover && this.scope.discover !== null) {
      awaitDiscovery(this.scope.discover(resolution.service), () => {
        if (!this.#isOver) this.#route(false);
      });
    } else
      this.#rescue('no_route', `no service is called ${resolution.service}: neither configuration nor Consul knows it`);
  }

  #redirect(redirection: Extract<Resolved, { kind: 'redirect' }>): void {
    this.#service = redirection.view.service;
    this.#edge = beginEdge(this.scope, this.#service);
    const mustClose = this.#mustClose();
    this.down.write(composeRedirect(redirection, mustClose, this.scope.clock.epochMs()));
    this.#finish('ok', redirection.status, mustClose);
  }

  #admit(destination: Destination, now: number): void {
    const { view } = destination;
    this.#service = view.service;
    this.#destination = destination;
    this.#edge = beginEdge(this.scope, view.service);
    if (this.callerDeadlineAt - now <= HOP_MARGIN_MS) {
      const leftMs = Math.floor(this.callerDeadlineAt - now);
      this.#rescue('deadline_exceeded', `its caller waits ${leftMs} ms more, which is less than a call takes`);
      return;
    }
    this.#effects = effectsOf(this, destination);
    if (this.#effects?.holds(now) !== true) this.#ask(destination, now);
  }

  onHeld(destination: Destination): void {
    this.#destination = destination;
    this.#ask(destination, this.scope.clock.now());
  }

  #ask(destination: Destination, now: number): void {
    const { view } = destination;
    const { scope } = this;
    noteAdmission(this.record, destination, this.#isInbound, scope.mesh.snapshot, this.callerDeadlineAt - now, now);
    const verdict = askGate(view, this.trafficClass, this.#isInbound, now, scope.random);
    if (verdict.kind === 'open') this.#enter();
    else if (verdict.kind === 'wait') this.#turnAt(view).wait(now);
    else this.#rescue(verdict.reason, verdict.message, false, verdict.retryAfterMs);
  }

  #turnAt(view: ServiceView): Turn {
    this.#turn ??= new Turn(this.scope, view, this.trafficClass, this.callerDeadlineAt, this);
    return this.#turn;
  }

  get #isInbound(): boolean {
    return this.scope.direction === 'inbound';
  }

  // ---- its turn ----

  onTurn(): void {
    if (this.#call === null) this.#enter();
    else this.#call.resume();
  }

  onNoTurn(message: string): void {
    this.#rescue('upstream_overflow', message);
  }

  onCrowded(): boolean {
    return this.#destination !== null && this.#turnAt(this.#destination.view).waitForConnection();
  }

  #enter(): void {
    const destination = this.#destination;
    const edge = this.#edge;
    if (destination === null || edge === null) return;
    const now = this.#startedAt + (this.#effects?.heldMs ?? 0) + (this.#turn?.queuedMs ?? 0);
    this.#hasPlace = true;
    takePlace(destination.view, now);
    this.#call = new UpstreamCall(this, destination, edge);
    this.#call.start(now);
    if (this.body.isWhole) this.#effects?.mirror(null);
  }

  /** More of the request's body. True when the memory of the piece stays in use. */
  onRequestBody(piece: Buffer | null, isLast: boolean): boolean {
    this.body.isWhole = isLast;
    if (isLast && this.#call !== null) this.#effects?.mirror(piece);
    if (this.#call !== null) return this.#call.onRequestBody(piece, isLast);
    if (piece === null) return true;
    this.body.keep(piece);
    if (this.body.isFull) this.down.pauseBody();
    return true;
  }

  // ---- relay ----

  onAccepted(attempt: HttpAttempt, head: ResponseHead): void {
    const { connection } = attempt;
    if (this.#destination === null || connection === null) return;
    attempt.answer = this;
    this.#relay = new ResponseRelay(this.down, connection, head, {
      minor: this.head.minor,
      // An answer before the request was whole is relayed, but nothing can follow on either side.
      mustClose: this.#mustClose(),
      direction: this.scope.direction,
      destination: this.#destination,
      endpoint: this.#destination.policy.exposeEndpoint ? attempt.address : null,
      attempts: this.#call?.retries.attempts ?? 0,
      why: this.steering.wantsWhy || head.status >= 500 ? this.scope.decisions.idOf(this.record) : '',
      retry: this.#retryAdvice(head.status),
      fault: this.#effects?.faultName ?? '',
      load: this.#isInbound ? utilisation(this.#destination.view) : -1,
    });
    if (this.#isInbound) noteLatency(this.scope, this.#destination, attempt, false);
  }

  /** An answer made from a failure further in, which the agents there have repeated as often as is good. */
  #retryAdvice(status: number): RetryAdvice | '' {
    const isFailure = status >= 500 || status === 429;
    return isFailure && this.#isInbound && this.#hop?.isRetryDone === true ? 'done' : '';
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
    const now = this.scope.clock.now();
    this.#call?.end(attempt, 'response', now);
    this.#finish('ok', attempt.status, this.#relay.mustClose, now);
  }

  /** The downstream must see that it broke off, so its socket goes too. */
  onAnswerBroken(kind: OutcomeKind): void {
    const attempt = this.#call?.attempt ?? null;
    if (attempt === null) return;
    this.#call?.end(attempt, kind);
    this.#finish('response_aborted', attempt.status, false);
    this.down.destroy();
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
    const tunnel = new Tunnel(this.down, attempt.connection, this.scope, () => {
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
      this.down.destroy();
    }
  }

  // ---- the ends ----

  get #relayedStatus(): number {
    return this.#relay === null ? 0 : (this.#call?.attempt?.status ?? 0);
  }

  #mustClose(): boolean {
    return !this.body.isWhole || this.down.mustCloseAfter(this.head);
  }

  onCallFailed(reason: Reason, message: string): void {
    const attempt = this.#call?.attempt ?? null;
    if (this.#isInbound && this.#destination !== null && attempt !== null && reason === 'upstream_timeout')
      noteLatency(this.scope, this.#destination, attempt, true);
    this.#rescue(reason, message);
  }

  /** The agent's own answer. The connection stays only when the request is whole: a body left behind is never parsed. */
  #rescue(reason: Reason, message: string, isBroken = false, retryAfterMs = 0): void {
    const status = reason === 'fault_injected' ? (this.#effects?.abortStatus ?? 0) : (REASON_STATUS[reason] ?? 0);
    const { clock, decisions, direction } = this.scope;
    const mustClose = isBroken || this.#mustClose();
    this.#message = message;
    const text = composeRescue({
      reason,
      message,
      service: this.#service,
      isHead: this.head.method === 'HEAD',
      mustClose,
      epochMs: clock.epochMs(),
      why: decisions.idOf(this.record),
      retry: retryAdviceOf(reason, direction),
      retryAfterSeconds: Math.max(RETRY_AFTER_SECONDS, Math.ceil(retryAfterMs / 1000)),
      status,
      fault: this.#effects?.faultName ?? '',
    });
    this.down.write(text);
    this.#finish(reason, status, mustClose);
  }

  #finish(result: RequestResult, status: number, mustClose: boolean, now = this.scope.clock.now()): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const durationMs = now - this.#startedAt;
    const isOwnFault = result !== 'ok' && isOwnEnd(this.scope, this.#call, result, this.#startedAt, now);
    const slowAboveMs = this.#destination?.policy.slo.latencyThresholdMs ?? 0;
    endEdge(this.scope, this.#edge, result, status, durationMs, isOwnFault, slowAboveMs);
    if (this.scope.accessLog.wants(result, status))
      logExchange(this, this.#service, this.#call, this.#relay, { result, status, durationMs });
    this.#leave(result, status, now);
    this.down.onExchangeDone(mustClose);
  }

  /** Gives its place to whoever waits, and tells those who remember. */
  #leave(result: RequestResult, status: number, now: number): void {
    this.#effects?.end();
    const routes = this.#resolved?.routes ?? null;
    this.record.end({
      direction: this.scope.direction,
      method: this.head.method,
      target: this.head.target,
      requestId: this.steering.requestId,
      service: this.#service,
      rule: this.#resolved?.rule ?? null,
      routes,
      fields: routes?.readsHeaders === true ? this.head.fields : null,
      host: this.head.host,
      result,
      status,
      message: this.#message,
      durationMs: now - this.#startedAt,
      queuedMs: this.#turn?.queuedMs ?? 0,
    });
    this.scope.decisions.keep(this.record);
    const isFailure = (result !== 'ok' && result !== 'downstream_disconnect') || status >= 500;
    if (this.#hop !== null) {
      if (this.#isInbound) this.scope.hops.leave(this.#hop, this.steering.traceId, this.requestId);
      else if (isFailure) this.#hop.isRetryDone = true;
    }
    this.#turn?.leaveQueue();
    if (!this.#hasPlace || this.#destination === null) return;
    leavePlace(this.#destination.view, this.#isInbound, result === 'downstream_disconnect' ? null : !isFailure, now);
  }
}
