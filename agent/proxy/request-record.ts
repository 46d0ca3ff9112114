// The one access record and the one edge entry of a request, whether it was served, refused or never understood.

import type { DecisionRecord } from '../core/decision/decision-record.ts';
import { limitOf, rejectChance } from '../core/limits/gate.ts';
import { REASON_STATUS, type Reason, type RequestResult } from '../core/reason.ts';
import { isMostlyStalled } from '../core/self/stalls.ts';
import type { MeshSnapshot } from '../core/snapshot.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { CallOwner } from './call-owner.ts';
import type { Destination } from './destination.ts';
import type { HttpAttempt } from './http-attempt.ts';
import type { ResponseRelay } from './response-relay.ts';
import type { ProxyScope } from './scope.ts';
import type { UpstreamCall } from './upstream-call.ts';

/** Label of requests that reached no service: one word, so that no caller can make metric series. */
const UNKNOWN = 'unknown';

export interface RequestEnd {
  readonly destination: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly result: RequestResult;
  readonly durationMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly endpoint: string | null;
  readonly attempts: number;
  readonly requestId: string;
  readonly retryReason: string | null;
}

/** What is decided at the gate goes into the record: limits, versions, and how long there is, by whose word. */
export function noteAdmission(
  record: DecisionRecord,
  { view, policy }: Destination,
  isInbound: boolean,
  { generation, policyVersion }: MeshSnapshot,
  callerMs: number,
  now: number,
): void {
  const { requestMs } = policy.timeouts;
  const isPolicy = requestMs > 0 && requestMs <= callerMs;
  const from = isPolicy ? 'policy' : callerMs === Number.POSITIVE_INFINITY ? 'none' : 'caller';
  const limit = limitOf(view.policy, view.stats, isInbound);
  const isAdaptive = isInbound && view.policy.limits.adaptiveConcurrency.isEnabled;
  const rejecting = rejectChance(view, isInbound, now);
  const deadlineMs = isPolicy ? requestMs : callerMs;
  record.admit(view.stats.inFlight, limit, isAdaptive, rejecting, policyVersion, generation, deadlineMs, from);
}

/** For the adaptive limit of the application, where there is one. */
export function noteLatency(
  { clock }: ProxyScope,
  { view, policy }: Destination,
  attempt: HttpAttempt,
  isDropped: boolean,
): void {
  if (!policy.limits.adaptiveConcurrency.isEnabled) return;
  const now = clock.now();
  view.stats.gradient.record(attempt.outcome('response', now).latencyMs, isDropped, view.stats.inFlight, now);
}

/** The edge that a request to `destination` counts on, already told of its begin. */
export function beginEdge(scope: ProxyScope, destination: string): Edge {
  const edge = scope.metrics.edge(scope.direction, sourceOf(scope), destination === '' ? UNKNOWN : destination);
  edge.begin();
  return edge;
}

/** @param edge  from beginEdge; null for a request that ended before it was known where it wanted to go */
export function endEdge(
  scope: ProxyScope,
  edge: Edge | null,
  result: RequestResult,
  status: number,
  durationMs: number,
  isOwnFault: boolean,
  slowAboveMs: number,
): void {
  (edge ?? beginEdge(scope, '')).end(result, status, durationMs, isOwnFault, slowAboveMs);
}

/** Whether nobody but this agent is to blame: its last attempt failed by its own fault, or it slept through the caller's patience. */
export function isOwnEnd(
  { stalls }: ProxyScope,
  call: UpstreamCall | null,
  reason: Reason,
  startedAt: number,
  now: number,
): boolean {
  if (reason !== 'deadline_exceeded') return call?.attempt?.isOwnFault === true;
  return isMostlyStalled(stalls?.overlap(startedAt, now) ?? 0, now - startedAt);
}

/** The one access record; to be made only when the log wants it. */
function logEnd(scope: ProxyScope, end: RequestEnd): void {
  const { destination } = end;
  const [direction, source] = [scope.direction, sourceOf(scope)];
  scope.accessLog.write({ ...end, direction, source, destination: destination === '' ? UNKNOWN : destination });
}

/** The access record of an exchange that is over, however far it came. */
export function logExchange(
  { scope, head, body, requestId }: CallOwner,
  destination: string,
  call: UpstreamCall | null,
  relay: ResponseRelay | null,
  end: Pick<RequestEnd, 'result' | 'status' | 'durationMs'>,
): void {
  logEnd(scope, {
    ...end,
    destination,
    method: head.method,
    path: head.target,
    bytesIn: body.receivedBytes,
    bytesOut: relay?.bytesOut ?? 0,
    endpoint: call?.attempt?.address ?? null,
    attempts: call?.retries.attempts ?? 0,
    requestId,
    retryReason: call?.retries.reason ?? null,
  });
}

/** A request, or a connection, that was turned away before anything of it was known. */
export function recordRefusal(scope: ProxyScope, reason: Reason): void {
  const status = REASON_STATUS[reason] ?? 0;
  endEdge(scope, null, reason, status, 0, false, 0);
  if (!scope.accessLog.wants(reason, status)) return;
  logEnd(scope, {
    destination: '',
    method: '',
    path: '',
    status,
    result: reason,
    durationMs: 0,
    bytesIn: 0,
    bytesOut: 0,
    endpoint: null,
    attempts: 0,
    requestId: scope.decisions.nextId(),
    retryReason: null,
  });
}

/** Callers of the inbound side are not known before mutual TLS. */
function sourceOf(scope: ProxyScope): string {
  return scope.direction === 'outbound' ? scope.service : UNKNOWN;
}
