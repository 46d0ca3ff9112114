// Headers that keep a browser from doing with our answers what nobody asked for. A route that says one itself is left alone.

import type { FastifyInstance } from 'fastify';

const HEADERS: readonly (readonly [string, string])[] = [
  ['x-content-type-options', 'nosniff'],
  ['x-frame-options', 'DENY'],
  ['referrer-policy', 'no-referrer'],
  ['cross-origin-resource-policy', 'same-origin'],
  ['cross-origin-opener-policy', 'same-origin'],
  // For answers that are no page; the page has rules of its own.
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
];
const YEAR_S = 31_536_000;

export function registerPageHeaders(app: FastifyInstance, isTls: boolean): void {
  const headers = isTls ? [...HEADERS, ['strict-transport-security', `max-age=${YEAR_S}`] as const] : HEADERS;
  app.addHook('onSend', async (request, reply) => {
    for (const [name, value] of headers) if (!reply.hasHeader(name)) reply.header(name, value);
    // Answers are about this moment and for this token.
    if (request.url.startsWith('/v1/') && !reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
  });
}
