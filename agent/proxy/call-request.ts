// What an upstream call is given and what it answers with. Interfaces only.

import type { DecisionRecord } from '../core/decision/decision-record.ts';
import type { TrafficClass } from '../core/limits/traffic-class.ts';
import type { Reason } from '../core/reason.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import type { HttpAttempt } from './http-attempt.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import type { RequestBody } from './request-body.ts';
import type { ProxyScope } from './scope.ts';
import type { Steering } from './steering.ts';

/** What a call leads to: exactly one of the first three, unless it is canceled. */
export interface CallOwner {
  /** `attempt.answer` must be set before this returns. */
  onAccepted(attempt: HttpAttempt, head: ResponseHead): void;
  onSwitched(attempt: HttpAttempt, head: ResponseHead, rest: Buffer): void;
  onCallFailed(reason: Reason, message: string): void;
  /** No endpoint had a connection left: true when the request waits for one, and `resume` will be called or `cancel`. */
  onCrowded(): boolean;
}

/** The request that is called for. */
export interface CallRequest {
  readonly scope: ProxyScope;
  readonly down: DownstreamConnection;
  readonly head: RequestHead;
  readonly body: RequestBody;
  readonly requestId: string;
  readonly steering: Steering;
  readonly trafficClass: TrafficClass;
  /** Monotonic ms after which the caller no longer waits. */
  readonly callerDeadlineAt: number;
  readonly edge: Edge;
  readonly record: DecisionRecord;
}
