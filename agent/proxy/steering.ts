// What a request says to the agents on its way, read in one pass over its fields: ids, deadline, class, whether it may be sent
// twice. Values of any kind are harmless: what is not understood is as good as not there.

import { readTrafficClass, type TrafficClass } from '../core/limits/traffic-class.ts';

export interface Steering {
  /** Client's own when it is harmless, so that a trace can be followed through the application; else `''`. */
  readonly requestId: string;
  /** Trace id of W3C Trace Context, or `''`. */
  readonly traceId: string;
  /** ms that the sender still waits, measured when the head came; Infinity when it does not say. */
  readonly deadlineMs: number;
  readonly trafficClass: TrafficClass;
  readonly hasIdempotencyKey: boolean;
  /** The sender wants to know how to ask about this request. */
  readonly wantsWhy: boolean;
}

const REQUEST_ID = /^[A-Za-z0-9._:/+=-]{1,128}$/;
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/;
const NO_TRACE = '0'.repeat(32);
const GRPC_UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** @param fields  name in lower case, value, name, value */
export function readSteering(fields: readonly string[]): Steering {
  let requestId = '';
  let traceId = '';
  let deadlineMs = Number.POSITIVE_INFINITY;
  let trafficClass: TrafficClass = 'normal';
  let hasIdempotencyKey = false;
  let wantsWhy = false;
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] as string;
    const value = fields[index + 1] as string;
    switch (name) {
      case 'x-request-id':
        if (requestId === '' && REQUEST_ID.test(value)) requestId = value;
        break;
      case 'traceparent':
        traceId = readTraceId(value);
        break;
      case 'idempotency-key':
        hasIdempotencyKey = true;
        break;
      case 'x-outrigger-deadline':
      case 'x-envoy-expected-rq-timeout-ms':
        deadlineMs = Math.min(deadlineMs, readMs(value));
        break;
      case 'grpc-timeout':
        deadlineMs = Math.min(deadlineMs, readGrpcTimeout(value));
        break;
      case 'x-outrigger-class':
        trafficClass = readTrafficClass(value);
        break;
      case 'x-outrigger-explain':
        wantsWhy = value === '1';
        break;
    }
  }
  return { requestId, traceId, deadlineMs, trafficClass, hasIdempotencyKey, wantsWhy };
}

function readTraceId(value: string): string {
  const id = TRACEPARENT.exec(value)?.[1] ?? '';
  return id === NO_TRACE ? '' : id;
}

/** Whole ms; a sender whose clock says that time is over may write 0 or less. */
function readMs(value: string): number {
  return /^-?[0-9]{1,15}$/.test(value) ? Number(value) : Number.POSITIVE_INFINITY;
}

/** At most eight digits and a unit (gRPC over HTTP/2, Timeout). */
function readGrpcTimeout(value: string): number {
  const unit = GRPC_UNITS[value.slice(-1)];
  return unit !== undefined && /^[0-9]{1,8}.$/.test(value)
    ? Number(value.slice(0, -1)) * unit
    : Number.POSITIVE_INFINITY;
}
