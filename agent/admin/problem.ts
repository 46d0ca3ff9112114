// Every answer of the admin API that is not a success: application/problem+json (RFC 9457).

import { STATUS_CODES } from 'node:http';
import type { FastifyError, FastifyReply } from 'fastify';

/**
 * @param detail  lower case, no full stop: what was expected and what was found
 * @param fields  further members of the problem object
 */
export function sendProblem(
  reply: FastifyReply,
  status: number,
  detail: string,
  fields: Readonly<Record<string, unknown>> = {},
): FastifyReply {
  return reply
    .code(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail, ...fields }));
}

/** What Fastify or a handler threw. The message of a fault of ours stays out of the answer. */
export function sendError(reply: FastifyReply, error: FastifyError): FastifyReply {
  const status = error.statusCode ?? 500;
  return sendProblem(reply, status, status >= 500 ? 'the admin API failed, see the log' : error.message);
}
