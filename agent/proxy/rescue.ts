// The agent's own answers: one table from reason to status lives in core/reason.ts; here is what such an answer looks like.

import type { OutcomeKind } from '../core/outcome.ts';
import { REASON_STATUS, type Reason } from '../core/reason.ts';
import type { FaultName, RetryAdvice } from './headers.ts';
import type { Direction } from './scope.ts';

/** Kinds of outcome that leave the agent to answer when no retry follows. */
type FailedKind = Exclude<OutcomeKind, 'response' | 'canceled'>;

export const REASON_OF_OUTCOME: Readonly<Record<FailedKind, Reason>> = {
  connect_failure: 'upstream_connect_failure',
  connect_timeout: 'upstream_connect_timeout',
  reset: 'upstream_reset',
  protocol_error: 'upstream_protocol_error',
  timeout: 'upstream_timeout',
  overflow: 'upstream_overflow',
};

export const SENTENCE_OF_OUTCOME: Readonly<Record<FailedKind, string>> = {
  connect_failure: 'an endpoint could not be connected to',
  connect_timeout: 'an endpoint did not accept a connection in time',
  reset: 'an endpoint closed the connection before it answered',
  protocol_error: 'an endpoint sent something that is not a valid HTTP response',
  timeout: 'no endpoint answered in time',
  overflow: 'the endpoint has as many connections as it may have',
};

/** Reason phrases of the statuses the agent answers with. */
const PHRASES: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  411: 'Length Required',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
  508: 'Loop Detected',
};

/** A client may try again this soon: about the time the agent needs to learn of a recovered endpoint. */
export const RETRY_AFTER_SECONDS = 1;

/** Reasons that a repetition would only make worse, wherever it goes. */
const OVERLOAD_REASONS: ReadonlySet<Reason> = new Set([
  'upstream_overflow',
  'overloaded',
  'rate_limited',
  'admission_rejected',
]);

/** What an answer of the agent's own says about repeating it. */
export function retryAdviceOf(reason: Reason, direction: Direction): RetryAdvice | '' {
  if (OVERLOAD_REASONS.has(reason)) return 'overloaded';
  // An agent that could not reach its own application has tried only this one; the caller's knows others.
  return direction === 'outbound' ? 'done' : '';
}

/** Of a request that was turned away before anything was known about it. */
export function composeEarlyRescue(reason: Reason, message: string, epochMs: number): string {
  const facts = { service: '', isHead: false, mustClose: true, why: '', retry: '', epochMs } as const;
  return composeRescue({ reason, message, ...facts, retryAfterSeconds: RETRY_AFTER_SECONDS });
}

export interface Rescue {
  readonly reason: Reason;
  /** One sentence fragment: what was expected, what was found. */
  readonly message: string;
  /** Destination, `''` when unknown. */
  readonly service: string;
  readonly isHead: boolean;
  readonly mustClose: boolean;
  readonly epochMs: number;
  /** Id of the decision record; `''` when there is none. */
  readonly why: string;
  readonly retry: RetryAdvice | '';
  /** Whole seconds for Retry-After of a 429 or 503; at least 1. */
  readonly retryAfterSeconds: number;
  /** In place of the reason's own. */
  readonly status?: number;
  readonly fault?: FaultName | '';
}

/** Status line, fields and a one-line JSON body, ready to be written as Latin-1. Empty for reasons that cannot be told. */
export function composeRescue(rescue: Rescue): string {
  const status = rescue.status ?? REASON_STATUS[rescue.reason];
  if (status === null) return '';
  const body = `${asciiJson({ reason: rescue.reason, message: rescue.message, service: rescue.service })}\n`;
  const isWorthRetrying = status === 503 || status === 429;
  return (
    `HTTP/1.1 ${status} ${PHRASES[status] ?? ''}\r\ndate: ${new Date(rescue.epochMs).toUTCString()}\r\n` +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\nx-outrigger-reason: ${rescue.reason}\r\n` +
    (isWorthRetrying ? `retry-after: ${rescue.retryAfterSeconds}\r\n` : '') +
    (rescue.why === '' ? '' : `x-outrigger-why: ${rescue.why}\r\n`) +
    ((rescue.fault ?? '') === '' ? '' : `x-outrigger-fault: ${rescue.fault}\r\n`) +
    (rescue.retry === '' ? '' : `x-outrigger-retry: ${rescue.retry}\r\n`) +
    (status === 405 ? 'allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n' : '') +
    (rescue.mustClose ? 'connection: close\r\n' : '') +
    `\r\n${rescue.isHead ? '' : body}`
  );
}

/** JSON of ASCII only, so that one character is one byte. */
function asciiJson(value: object): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Answer to OPTIONS for the agent itself (`*`, or Max-Forwards used up). */
export function composeOptionsAnswer(mustClose: boolean): string {
  return `HTTP/1.1 200 OK\r\ncontent-length: 0\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n${
    mustClose ? 'connection: close\r\n' : ''
  }\r\n`;
}
