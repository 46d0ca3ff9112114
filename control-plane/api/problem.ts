// Every answer that is not a success, as application/problem+json (RFC 9457) with one of a closed list of codes.

import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Problem } from '#contract/problem.ts';
import { StoreError } from '../store/store.ts';

/** What the API refuses with; docs/api.md lists the same codes. */
export const API_ERRORS = {
  OTR_ERR_BAD_REQUEST: [400, 'the request is malformed'],
  OTR_ERR_UNAUTHORIZED: [401, 'a valid bearer token is needed'],
  OTR_ERR_FORBIDDEN: [403, 'this token may not do this'],
  OTR_ERR_FOREIGN_HOST: [403, 'the request came by a name that is not ours'],
  OTR_ERR_NOT_FOUND: [404, 'there is no such thing'],
  OTR_ERR_REQUEST_TIMEOUT: [408, 'the request did not arrive in time'],
  OTR_ERR_ROLLOUT: [409, 'a rollout is under way'],
  OTR_ERR_BUDGET_SPENT: [409, 'too little of an error budget is left for changes'],
  OTR_ERR_STALE_REVISION: [412, 'the document changed in the meantime'],
  OTR_ERR_TOO_LARGE: [413, 'the body is larger than the limit'],
  OTR_ERR_MEDIA_TYPE: [415, 'the body has a content type that is not read here'],
  OTR_ERR_INVALID: [422, 'the document has problems'],
  OTR_ERR_TOO_MANY_FAILURES: [429, 'too many failed attempts from this address'],
  OTR_ERR_RATE_LIMITED: [429, 'too many requests'],
  OTR_ERR_HEADERS_TOO_LARGE: [431, 'the headers are larger than the limit'],
  OTR_ERR_INTERNAL: [500, 'the control plane failed'],
  OTR_ERR_AGENT_UNREACHABLE: [502, 'the agent could not be reached'],
  OTR_ERR_UNAVAILABLE: [503, 'the policy store cannot be written now'],
  OTR_ERR_OUTCOME_UNKNOWN: [503, 'it is not known whether the change was stored'],
  OTR_ERR_AGENT_TIMEOUT: [504, 'the agent did not answer in time'],
  OTR_ERR_FULL: [507, 'there is no space left for policies'],
} as const;

export type ApiErrorCode = keyof typeof API_ERRORS;

/** Thrown by handlers, answered by the one error handler. */
export class ApiError extends Error {
  readonly code: ApiErrorCode;
  readonly problems: readonly Problem[] | null;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  /**
   * @param detail    lower case, no full stop: what was expected and what was found
   * @param problems  all that is wrong with a document, for OTR_ERR_INVALID
   * @param fields    further members of the problem object
   * @param headers   further headers of the answer
   */
  constructor(
    code: ApiErrorCode,
    detail: string,
    problems: readonly Problem[] | null = null,
    fields: Readonly<Record<string, unknown>> = {},
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
    this.name = 'ApiError';
    this.code = code;
    this.problems = problems;
    this.fields = fields;
    this.headers = headers;
  }
}

/** Answers with a problem; `reply` must not have been sent. */
export function sendProblem(reply: FastifyReply, error: ApiError): FastifyReply {
  const [status] = API_ERRORS[error.code];
  reply.request.refusal = error.code;
  return reply
    .code(status)
    .headers(error.headers)
    .header('content-type', 'application/problem+json; charset=utf-8')
    .header('cache-control', 'no-store')
    .serializer((body: unknown) => JSON.stringify(body))
    .send(bodyOf(error));
}

function bodyOf(error: ApiError): object {
  const [status, title] = API_ERRORS[error.code];
  return {
    type: `https://outrigger.dev/errors/${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.message,
    ...error.fields,
    ...(error.problems === null ? {} : { problems: error.problems }),
  };
}

/** What is no HTTP request, or never became one whole, has no reply object: the answer is written to the socket. */
export function answerBrokenRequest(cause: string | undefined, socket: Duplex): void {
  if (socket.destroyed) return;
  // A connection that the peer reset has nobody to answer.
  if (cause === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const error = brokenRequest(cause);
  const [status] = API_ERRORS[error.code];
  const body = JSON.stringify(bodyOf(error));
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncache-control: no-store\r\n`;
  const type = 'content-type: application/problem+json; charset=utf-8';
  socket.end(`${head}${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, () => socket.destroy());
}

function brokenRequest(cause: string | undefined): ApiError {
  if (cause === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new ApiError('OTR_ERR_REQUEST_TIMEOUT', 'send the whole request, head and body, sooner');
  }
  if (cause === 'HPE_HEADER_OVERFLOW') {
    return new ApiError('OTR_ERR_HEADERS_TOO_LARGE', 'a request head has at most 16 KiB here');
  }
  return new ApiError(
    'OTR_ERR_BAD_REQUEST',
    `what came is no HTTP request that is read here (${cause ?? 'malformed'})`,
  );
}

/** Makes every error and every unknown path a problem. */
export function registerProblems(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const problem = asApiError(error);
    if (problem.code === 'OTR_ERR_INTERNAL') request.log.error({ err: error, url: request.url }, 'request failed');
    else if (error instanceof StoreError) request.log.error({ err: error }, 'policy store failed');
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((request: FastifyRequest, reply) =>
    sendProblem(reply, new ApiError('OTR_ERR_NOT_FOUND', `nothing answers ${request.method} ${pathOf(request.url)}`)),
  );
}

function asApiError(error: FastifyError): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof StoreError) {
    return new ApiError(STORE_FAULTS[error.kind], error.message);
  }
  switch (error.statusCode) {
    case 413:
      return new ApiError('OTR_ERR_TOO_LARGE', 'the body is larger than this path takes');
    case 415:
      return new ApiError(
        'OTR_ERR_MEDIA_TYPE',
        'send application/json, or application/yaml where a policy is expected',
      );
    default:
      if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
        return new ApiError('OTR_ERR_BAD_REQUEST', error.message);
      }
      // What went wrong inside is for the log, not for whoever asked.
      return new ApiError('OTR_ERR_INTERNAL', 'an unexpected error; the log has it');
  }
}

const STORE_FAULTS = {
  full: 'OTR_ERR_FULL',
  too_large: 'OTR_ERR_TOO_LARGE',
  unavailable: 'OTR_ERR_UNAVAILABLE',
  unknown: 'OTR_ERR_OUTCOME_UNKNOWN',
  unusable: 'OTR_ERR_UNAVAILABLE',
} as const;

/** The path without its query, cut to a length that is safe to repeat. */
function pathOf(url: string): string {
  return (url.split('?', 1)[0] ?? '').slice(0, 200);
}
