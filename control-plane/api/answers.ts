// Words for the schemas of answers, successes and problems alike. They describe; nothing is filtered by them.

import { API_ERRORS, type ApiErrorCode } from './problem.ts';

/** A success with a JSON object; `properties` names the members that callers rely on. */
export function answer(description: string, properties: Readonly<Record<string, object>> = {}): object {
  return {
    description,
    content: {
      'application/json': {
        schema: { type: 'object', properties, required: Object.keys(properties), additionalProperties: true },
      },
    },
  };
}

/** A success that is no JSON: server-sent events, Prometheus text. */
export function textAnswer(description: string, type: string): object {
  return { description, content: { [type]: { schema: { type: 'string' } } } };
}

/** A success without a body. */
export const NO_CONTENT = { 204: { description: 'taken', type: 'null' } };

/** One answer for each status, with the codes that it can carry. */
export function problemAnswers(codes: readonly ApiErrorCode[]): Record<number, object> {
  const byStatus = Map.groupBy(codes, (code) => API_ERRORS[code][0]);
  return Object.fromEntries(
    [...byStatus].map(([status, some]) => [
      status,
      {
        description: some.map((code) => `${code}: ${API_ERRORS[code][1]}`).join('; '),
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  );
}
