// One request through the gateway: picks an endpoint, lets reply-from ask it, judges the outcome, and asks another one where that is
// safe. The attempts are made here and nowhere else.

import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { formatHostPort } from '#contract/text/host-port.ts';
import type { Clock, Random } from '../agent/clock.ts';
import type { Outcome, OutcomeKind } from '../agent/core/outcome.ts';
import { beginAttempt, endAttempt } from '../agent/core/outlier/record.ts';
import { isPermitted } from '../agent/core/permission.ts';
import { pickEndpoint } from '../agent/core/pick.ts';
import type { Reason } from '../agent/core/reason.ts';
import { decideRetry } from '../agent/core/retry/decide.ts';
import type { EndpointView, ServiceView } from '../agent/core/snapshot.ts';
import type { Mesh } from '../agent/mesh/mesh.ts';

interface Tools {
  readonly mesh: Mesh;
  readonly clock: Clock;
  readonly random: Random;
}

export interface CallOptions {
  readonly request: object;
  readonly reply: object;
  /** Path and query at the service. */
  readonly dest: string;
  /** What http-proxy hands to reply-from. */
  readonly from: object;
  readonly service: string;
  readonly tools: Tools;
}

interface UpstreamAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly stream: Readable;
}

interface Attempt {
  readonly view: ServiceView;
  readonly endpoint: EndpointView;
  readonly epoch: number;
  readonly startedAt: number;
}

export class MeshCall {
  readonly #request: FastifyRequest;
  readonly #reply: FastifyReply;
  readonly #dest: string;
  readonly #from: object;
  readonly #service: string;
  readonly #tools: Tools;
  readonly #tried: EndpointView[] = [];
  readonly #startedAt: number;
  #attempt: Attempt | null = null;

  private constructor({ request, reply, dest, from, service, tools }: CallOptions) {
    this.#request = request as FastifyRequest;
    this.#reply = reply as FastifyReply;
    this.#dest = dest;
    this.#from = from;
    this.#service = service;
    this.#tools = tools;
    this.#startedAt = tools.clock.now();
  }

  static begin(options: CallOptions): unknown {
    return new MeshCall(options).#start();
  }

  #start(): unknown {
    const view = this.#view();
    if (view === null) return this.#refuse(503, 'no_healthy_upstream');
    if (!isPermitted(view.permission, this.#request.method, this.#dest)) return this.#refuse(403, 'denied');
    view.stats.retryBudget.deposit(this.#startedAt);
    // A client that leaves ends what is under way; otherwise the endpoint would look busy for ever.
    this.#reply.raw.once('close', () => this.#end('canceled', 0, false));
    return this.#try(view);
  }

  #try(view: ServiceView): unknown {
    const { clock, random } = this.#tools;
    const now = clock.now();
    const endpoint = pickEndpoint(view, now, random, this.#tried);
    if (endpoint === null) return this.#refuse(503, 'no_healthy_upstream');
    this.#tried.push(endpoint);
    this.#attempt = { view, endpoint, epoch: endpoint.stats.epoch, startedAt: now };
    beginAttempt(endpoint.stats, now);
    const { backendRequestMs } = view.policy.timeouts;
    const timeout = Math.min(
      this.#msLeft(view, now),
      backendRequestMs === 0 ? Number.POSITIVE_INFINITY : backendRequestMs,
    );
    const { address: host, port } = endpoint.endpoint;
    return this.#reply.from(this.#dest, {
      ...this.#from,
      getUpstream: () => `http://${formatHostPort({ host, port })}`,
      ...(Number.isFinite(timeout) ? { timeout: Math.max(1, Math.ceil(timeout)) } : {}),
      onResponse: (_request: unknown, _reply: unknown, answer: unknown) => this.#answered(answer as UpstreamAnswer),
      onError: (_reply: unknown, { error }: { error: Error }) => this.#failed(error),
    });
  }

  #answered({ statusCode, headers, stream }: UpstreamAnswer): void {
    const outcome = this.#outcome('response', statusCode, true);
    const next = this.#nextView(outcome);
    if (next !== null) {
      // Its fields are on our reply already, and its body is of no use to anybody.
      for (const name of Object.keys(headers)) this.#reply.removeHeader(name);
      stream.on('error', () => {});
      stream.destroy();
      this.#end('response', statusCode, true);
      this.#try(next);
      return;
    }
    stream.once('end', () => this.#end('response', statusCode, true, outcome.latencyMs));
    stream.once('error', () => this.#end('reset', statusCode, true, outcome.latencyMs, true));
    this.#reply.send(stream);
  }

  #failed(error: Error): void {
    const { kind, isSent, status, reason } = failureOf(error);
    const next = this.#nextView(this.#outcome(kind, 0, isSent));
    this.#end(kind, 0, isSent);
    if (next === null) this.#refuse(status, reason);
    else this.#try(next);
  }

  /** The view to try again with, paid for; null when the answer or failure stands. */
  #nextView(outcome: Outcome): ServiceView | null {
    const view = this.#view();
    if (view === null) return null;
    const { method, headers, body } = this.#request;
    const now = this.#tools.clock.now();
    const decision = decideRetry(outcome, view.policy, {
      method,
      hasIdempotencyKey: headers['idempotency-key'] !== undefined,
      // A body is passed on as it comes and is not kept.
      isReplayable: body === undefined || body === null,
      attemptsDone: this.#tried.length,
      msLeft: this.#msLeft(view, now),
    });
    return decision.retry && view.stats.retryBudget.tryWithdraw(now) ? view : null;
  }

  #end(kind: OutcomeKind, status: number, isSent: boolean, latencyMs?: number, isHeadRelayed = false): void {
    const attempt = this.#attempt;
    if (attempt === null) return;
    const outcome = { ...this.#outcome(kind, status, isSent), isHeadRelayed };
    this.#attempt = null;
    const { view, endpoint, epoch } = attempt;
    const judged = latencyMs === undefined ? outcome : { ...outcome, latencyMs };
    const { clock, mesh } = this.#tools;
    if (endAttempt(endpoint.stats, judged, epoch, view.policy, clock.now())) mesh.requestSweep(view.service);
  }

  #outcome(kind: OutcomeKind, status: number, isSent: boolean): Outcome {
    const latencyMs = this.#tools.clock.now() - (this.#attempt?.startedAt ?? this.#startedAt);
    return {
      kind,
      status,
      latencyMs,
      stalledMs: 0,
      retryAfterMs: 0,
      isSent,
      isReusedConnection: false,
      isHeadRelayed: false,
    };
  }

  #view(): ServiceView | null {
    return this.#tools.mesh.snapshot.services.get(this.#service) ?? null;
  }

  #msLeft({ policy }: ServiceView, now: number): number {
    const { requestMs } = policy.timeouts;
    return requestMs === 0 ? Number.POSITIVE_INFINITY : this.#startedAt + requestMs - now;
  }

  #refuse(status: number, reason: Reason): FastifyReply {
    return this.#reply
      .code(status)
      .header('x-outrigger-reason', reason)
      .type('application/json')
      .send(JSON.stringify({ reason, service: this.#service }));
  }
}

interface Failure {
  readonly kind: OutcomeKind;
  readonly isSent: boolean;
  readonly status: number;
  readonly reason: Reason;
}

/** reply-from makes nearly every one of them a 500; what happened is in the cause. */
export function failureOf(error: Error): Failure {
  const cause = error.cause instanceof Error ? error.cause : error;
  const { code = '' } = cause as NodeJS.ErrnoException;
  if (/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EADDRNOTAVAIL)$/.test(code)) {
    return { kind: 'connect_failure', isSent: false, status: 503, reason: 'upstream_connect_failure' };
  }
  if (code === 'UND_ERR_CONNECT_TIMEOUT') {
    return { kind: 'connect_timeout', isSent: false, status: 503, reason: 'upstream_connect_timeout' };
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT' || /timeout/i.test(cause.message)) {
    return { kind: 'timeout', isSent: true, status: 504, reason: 'upstream_timeout' };
  }
  if (/^HPE_|PARSER/.test(code)) {
    return { kind: 'protocol_error', isSent: true, status: 502, reason: 'upstream_protocol_error' };
  }
  return { kind: 'reset', isSent: true, status: 502, reason: 'upstream_reset' };
}
