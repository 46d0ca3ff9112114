// One TCP connection of the application: pick → connect → perhaps another endpoint → bytes both ways until both sides have
// ended. FIN passes on as FIN, a reset as a reset, and each side waits for the other to take what was written.

import { connect, type Socket } from 'node:net';
import { hashOfConnection } from '../core/hash-key.ts';
import type { OutcomeKind } from '../core/outcome.ts';
import { pickEndpoint } from '../core/pick.ts';
import { decideRetry } from '../core/retry/decide.ts';
import type { EndpointView, ServiceView } from '../core/snapshot.ts';
import type { TcpCounters, TcpResult } from '../telemetry/tcp-counters.ts';
import { Attempt } from './attempt.ts';
import type { DeadlineHolder } from './deadlines.ts';
import type { ProxyScope } from './scope.ts';

const RESULT_OF: Readonly<Partial<Record<OutcomeKind, TcpResult>>> = {
  connect_failure: 'upstream_connect_failure',
  connect_timeout: 'upstream_connect_timeout',
  overflow: 'upstream_overflow',
};

export class TcpSession implements DeadlineHolder {
  deadlineAt = Number.POSITIVE_INFINITY;
  deadlineSlot = -1;
  readonly #scope: ProxyScope;
  readonly #view: ServiceView;
  readonly #counters: TcpCounters;
  readonly #down: Socket;
  readonly #onGone: (session: TcpSession) => void;
  readonly #startedAt: number;
  readonly #tried: EndpointView[] = [];
  #up: Socket | null = null;
  #attempt: Attempt | null = null;
  /** Connected to it; its load is counted until the end. */
  #endpoint: EndpointView | null = null;
  #attempts = 0;
  #sentBytes = 0;
  #receivedBytes = 0;
  #isDownEnded = false;
  #isUpEnded = false;
  #isOver = false;

  /** @param down  paused: nothing is read before there is somebody to give it to */
  constructor(
    scope: ProxyScope,
    view: ServiceView,
    counters: TcpCounters,
    down: Socket,
    onGone: (session: TcpSession) => void,
  ) {
    this.#scope = scope;
    this.#view = view;
    this.#counters = counters;
    this.#down = down;
    this.#onGone = onGone;
    this.#startedAt = scope.clock.now();
    view.stats.inFlight += 1;
    view.stats.retryBudget.deposit(this.#startedAt);
    down.on('error', () => this.finish('downstream_disconnect'));
    down.on('close', () => this.finish('downstream_disconnect'));
  }

  /** Picks an endpoint and connects to it. */
  start(): void {
    const { clock, random, stalls, metrics, service } = this.#scope;
    const { policy } = this.#view;
    const now = clock.now();
    const hash = hashOfConnection(policy.loadBalancer, this.#down.remoteAddress ?? '');
    const endpoint = pickEndpoint(this.#view, now, random, this.#tried, hash);
    if (endpoint === null) {
      this.finish('no_healthy_upstream');
      return;
    }
    const isFull = endpoint.stats.inFlight >= policy.limits.maxConnections;
    this.#attempts += 1;
    this.#attempt = new Attempt(endpoint, now, stalls);
    if (isFull) {
      this.#onFailed('overflow');
      return;
    }
    metrics.edge('outbound', service, this.#view.service);
    this.deadlineAt = now + policy.timeouts.connectMs;
    const { address, port } = endpoint.endpoint;
    const up = connect({ host: address, port, noDelay: true, allowHalfOpen: true, keepAlive: true });
    this.#up = up;
    up.on('connect', () => this.#onConnected(endpoint, up));
    up.on('error', () => this.#onUpLost(up));
    up.on('close', () => this.#onUpLost(up));
  }

  #onConnected(endpoint: EndpointView, up: Socket): void {
    if (this.#up !== up || this.#attempt === null) return;
    // An established connection is the endpoint's success, however long it lasts; as load it counts until it ends.
    this.#endAttempt(this.#attempt, 'response');
    this.#attempt = null;
    this.#endpoint = endpoint;
    endpoint.stats.inFlight += 1;
    this.#touch();
    const down = this.#down;
    up.on('data', (bytes: Buffer) => {
      this.#receivedBytes += bytes.length;
      this.#counters.receivedBytes += bytes.length;
      this.#touch();
      if (!down.write(bytes)) up.pause();
    });
    down.on('data', (bytes: Buffer) => {
      this.#sentBytes += bytes.length;
      this.#counters.sentBytes += bytes.length;
      this.#touch();
      if (!up.write(bytes)) down.pause();
    });
    up.on('drain', () => down.resume());
    down.on('drain', () => up.resume());
    up.on('end', () => this.#onEnd(down, 'up'));
    down.on('end', () => this.#onEnd(up, 'down'));
    down.resume();
  }

  #onEnd(other: Socket, side: 'up' | 'down'): void {
    if (side === 'up') this.#isUpEnded = true;
    else this.#isDownEnded = true;
    other.end();
    if (this.#isUpEnded && this.#isDownEnded) this.finish('ok');
  }

  #onUpLost(up: Socket): void {
    if (this.#up !== up || this.#isOver) return;
    if (this.#attempt !== null) this.#onFailed('connect_failure');
    else this.finish('upstream_reset');
  }

  #onFailed(kind: OutcomeKind): void {
    const attempt = this.#attempt;
    if (attempt === null) return;
    this.#attempt = null;
    this.#up?.destroy();
    this.#up = null;
    const outcome = this.#endAttempt(attempt, kind);
    // Nothing was sent, so the method does not matter; there is no request deadline.
    const facts = { method: '', hasIdempotencyKey: false, isReplayable: true, msLeft: Number.POSITIVE_INFINITY };
    const verdict = decideRetry(outcome, this.#view.policy, { ...facts, attemptsDone: this.#attempts });
    const edge = this.#scope.metrics.edge('outbound', this.#scope.service, this.#view.service);
    if (verdict.retry && this.#view.stats.retryBudget.tryWithdraw(this.#scope.clock.now())) {
      edge.retry(verdict.reason);
      this.#tried.push(attempt.endpoint);
      this.start();
      return;
    }
    if (verdict.retry) edge.budgetExhausted();
    this.finish(RESULT_OF[kind] ?? 'upstream_connect_failure');
  }

  #endAttempt(attempt: Attempt, kind: OutcomeKind): ReturnType<Attempt['outcome']> {
    const { clock, metrics, mesh, service } = this.#scope;
    const now = clock.now();
    const outcome = attempt.outcome(kind, now);
    metrics.edge('outbound', service, this.#view.service).attempt(kind);
    if (attempt.end(outcome, this.#view.policy, now)) mesh.requestSweep(this.#view.service);
    return outcome;
  }

  onDeadline(now: number): void {
    if (this.#attempt !== null) this.#onFailed('connect_timeout');
    else this.finish(now - this.#startedAt >= this.#scope.limits.tunnelLifetimeMs ? 'lifetime' : 'idle');
  }

  #touch(): void {
    const { deadlines, limits } = this.#scope;
    this.deadlineAt = Math.min(deadlines.now + limits.tunnelIdleMs, this.#startedAt + limits.tunnelLifetimeMs);
  }

  /** Ends both sides, once: in order after `ok`, else with a reset, so that nobody takes a part for the whole. */
  finish(result: TcpResult): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#scope.deadlines.remove(this);
    for (const socket of [this.#down, this.#up]) {
      if (result === 'ok') socket?.destroySoon();
      else socket?.resetAndDestroy();
    }
    if (this.#attempt !== null) this.#endAttempt(this.#attempt, 'canceled');
    if (this.#endpoint !== null) this.#endpoint.stats.inFlight -= 1;
    this.#view.stats.inFlight -= 1;
    this.#counters.end(result);
    this.#record(result);
    this.#onGone(this);
  }

  #record(result: TcpResult): void {
    const { clock, service, accessLog, decisions } = this.#scope;
    const { address = '', port = 0 } = this.#endpoint?.endpoint ?? {};
    accessLog.write({
      direction: 'outbound',
      source: service,
      destination: this.#view.service,
      method: 'TCP',
      path: '',
      status: 0,
      result: result === 'idle' || result === 'lifetime' ? 'ok' : result,
      durationMs: clock.now() - this.#startedAt,
      bytesIn: this.#sentBytes,
      bytesOut: this.#receivedBytes,
      endpoint: this.#endpoint === null ? null : `${address}:${port}`,
      attempts: this.#attempts,
      requestId: decisions.nextId(),
      retryReason: null,
    });
  }
}
