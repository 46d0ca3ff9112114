// What a person may do to one endpoint through the admin API: POST /endpoints/:service/:verb. Reads the order from the query and
// answers in words; the decision is the mesh's.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { parseDuration } from '#contract/text/durations.ts';
import { MAX_ORDER_MS, type OperatorOrder, type OperatorRuling, type RefusalReason } from '../core/outlier/operator.ts';
import { safeText } from '../telemetry/access-log.ts';
import { sendProblem } from './problem.ts';

/** What an order without `for` lasts: long enough to look, short enough to be forgotten without harm. */
export const DEFAULT_ORDER_MS = 300_000;
const MAX_REASON_CHARACTERS = 200;
const VERBS = ['eject', 'drain', 'restore'] as const;

const REFUSAL_STATUS: Readonly<Record<RefusalReason, number>> = {
  unknown: 404,
  ambiguous: 409,
  last_serving: 409,
  serving_already: 409,
};

export interface OverruleAnswer {
  readonly service: string;
  readonly endpoint: string;
  readonly state: string;
  readonly text: string;
  readonly untilEpochMs: number | null;
}

export interface OverruleOptions {
  readonly clock: { now(): number; epochMs(): number };
  overrule(service: string, order: OperatorOrder): OperatorRuling;
}

export function overruleRoute(options: OverruleOptions): (request: FastifyRequest, reply: FastifyReply) => unknown {
  return (request, reply) => {
    const { service = '', verb: word = '' } = request.params as Readonly<Record<string, string | undefined>>;
    const verb = VERBS.find((one) => one === word);
    if (verb === undefined) return sendProblem(reply, 404, `the verb must be one of ${VERBS.join(', ')}`);
    const endpoint = queryValue(request, 'endpoint');
    if (endpoint === null || endpoint === '') {
      return sendProblem(reply, 400, '?endpoint= must name an endpoint by id, address or instance');
    }
    const time = queryValue(request, 'for');
    const durationMs = time === null ? DEFAULT_ORDER_MS : parseDuration(time);
    if (durationMs === null || durationMs <= 0 || durationMs > MAX_ORDER_MS) {
      return sendProblem(reply, 400, `?for= must be a duration above 0 and up to 24h, such as 10m; got '${time}'`);
    }
    const operator = request.headers['x-outrigger-operator'];
    const ruling = options.overrule(service, {
      verb,
      endpoint,
      durationMs,
      reason: safeText((queryValue(request, 'reason') ?? '').slice(0, MAX_REASON_CHARACTERS)),
      operator: typeof operator === 'string' ? safeText(operator) : null,
      isForced: queryValue(request, 'force') === 'true',
    });
    if (ruling.kind === 'refused') {
      return sendProblem(reply, REFUSAL_STATUS[ruling.why], ruling.text, { reason: ruling.why });
    }
    const { view, text } = ruling.decision;
    const { state, ejectedUntil } = view.stats;
    const { clock } = options;
    const untilEpochMs = state === 'serving' ? null : Math.round(clock.epochMs() + ejectedUntil - clock.now());
    const answer: OverruleAnswer = { service, endpoint: view.endpoint.id, state, text, untilEpochMs };
    return answer;
  };
}

function queryValue(request: FastifyRequest, name: string): string | null {
  const value = (request.query as Readonly<Record<string, string | string[] | undefined>>)[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
}
