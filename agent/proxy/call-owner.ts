// What an upstream call is made for, and what it answers with. Interface only; the exchange is one.

import type { DecisionRecord } from '../core/decision/decision-record.ts';
import type { TrafficClass } from '../core/limits/traffic-class.ts';
import type { Reason } from '../core/reason.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import type { HttpAttempt } from './http-attempt.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import type { RequestBody } from './request-body.ts';
import type { ProxyScope } from './scope.ts';
import type { Steering } from './steering.ts';

export interface CallOwner {
  readonly scope: ProxyScope;
  readonly down: DownstreamConnection;
  readonly head: RequestHead;
  readonly body: RequestBody;
  readonly requestId: string;
  readonly steering: Steering;
  /** The lesser one of the request's own and its caller's. */
  readonly trafficClass: TrafficClass;
  /** Monotonic ms after which the caller no longer waits. */
  readonly callerDeadlineAt: number;
  readonly record: DecisionRecord;

  // Exactly one of the next three is called, unless the call is canceled.

  /** `attempt.answer` must be set before this returns. */
  onAccepted(attempt: HttpAttempt, head: ResponseHead): void;
  onSwitched(attempt: HttpAttempt, head: ResponseHead, rest: Buffer): void;
  onCallFailed(reason: Reason, message: string): void;

  /** No endpoint had a connection left: true when the request waits for one, and `resume` will be called or `cancel`. */
  onCrowded(): boolean;
}
