// The one access record and the one edge entry of a request, whether it was served, refused or never understood.

import type { DecisionRecord } from '../core/decision/decision-record.ts';
import { REASON_STATUS, type Reason, type RequestResult } from '../core/reason.ts';
import type { MeshSnapshot } from '../core/snapshot.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { Destination } from './destination.ts';
import type { ProxyScope } from './scope.ts';

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

/** What is known once the destination is. Rules may have looked at any field, so a routed request keeps them. */
export function noteDestination(
  record: DecisionRecord,
  { view, rule }: Destination,
  { generation, policyVersion }: MeshSnapshot,
  fields: readonly string[],
): void {
  record.service = view.service;
  record.policyVersion = policyVersion;
  record.generation = generation;
  record.rule = rule;
  if (rule !== null) record.fields = fields;
}

/** How long there is, and who said so: the caller, or the policy where it is stricter. */
export function noteDeadline(record: DecisionRecord, { policy }: Destination, callerMs: number): void {
  const { requestMs } = policy.timeouts;
  const isPolicy = requestMs > 0 && requestMs <= callerMs;
  record.deadlineMs = isPolicy ? requestMs : callerMs;
  record.deadlineFrom = isPolicy ? 'policy' : callerMs === Number.POSITIVE_INFINITY ? 'none' : 'caller';
}

/** The edge that a request to `destination` counts on, already told of its begin. */
export function beginEdge(scope: ProxyScope, destination: string): Edge {
  const edge = scope.metrics.edge(scope.direction, sourceOf(scope), destination === '' ? UNKNOWN : destination);
  edge.begin();
  return edge;
}

/** @param edge  from beginEdge; null for a request that ended before it was known where it wanted to go */
export function recordEnd(scope: ProxyScope, edge: Edge | null, end: RequestEnd): void {
  (edge ?? beginEdge(scope, '')).end(end.result, end.status, end.durationMs);
  scope.accessLog.write({
    direction: scope.direction,
    source: sourceOf(scope),
    destination: end.destination === '' ? UNKNOWN : end.destination,
    method: end.method,
    path: end.path,
    status: end.status,
    result: end.result,
    durationMs: end.durationMs,
    bytesIn: end.bytesIn,
    bytesOut: end.bytesOut,
    endpoint: end.endpoint,
    attempts: end.attempts,
    requestId: end.requestId,
    retryReason: end.retryReason,
  });
}

/** A request, or a connection, that was turned away before anything of it was known. */
export function recordRefusal(scope: ProxyScope, reason: Reason): void {
  recordEnd(scope, null, {
    destination: '',
    method: '',
    path: '',
    status: REASON_STATUS[reason] ?? 0,
    result: reason,
    durationMs: 0,
    bytesIn: 0,
    bytesOut: 0,
    endpoint: null,
    attempts: 0,
    requestId: scope.nextRequestId(),
    retryReason: null,
  });
}

/** Callers of the inbound side are not known before mutual TLS. */
function sourceOf(scope: ProxyScope): string {
  return scope.direction === 'outbound' ? scope.service : UNKNOWN;
}
