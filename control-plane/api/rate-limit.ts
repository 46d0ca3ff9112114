// How many requests one token, or without one an address, may make. It protects the process from a script in a loop, not from
// an attack on the network. Agents' own routes are left out: their rate follows from the size of the mesh.

import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import { ApiError } from './problem.ts';

/** A hundred a second: a terminal that follows a hundred services asks about as often. */
export const REQUESTS_PER_MINUTE = 6_000;
const WINDOW_MS = 60_000;
/** Keys that are counted at one time; the least recently seen goes first. */
const KEYS = 10_000;

/** After authentication, because whose request it is decides which count it is on. */
export async function registerRateLimit(app: FastifyInstance, requestsPerMinute: number): Promise<void> {
  await app.register(rateLimit, {
    global: true,
    max: requestsPerMinute,
    timeWindow: WINDOW_MS,
    cache: KEYS,
    keyGenerator: ({ token, peer }) => token?.id ?? `address ${peer}`,
    allowList: ({ routeOptions }) => {
      const access = routeOptions.config.access ?? [];
      return access.includes('agent') || access.includes('public');
    },
    addHeaders: {
      'x-ratelimit-limit': false,
      'x-ratelimit-remaining': false,
      'x-ratelimit-reset': false,
      'retry-after': true,
    },
    addHeadersOnExceeding: { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false },
    errorResponseBuilder: (_request, { ttl }) => {
      const seconds = Math.ceil(ttl / 1_000);
      const text = `more than ${requestsPerMinute} requests in a minute; wait ${seconds} s`;
      return new ApiError('OTR_ERR_RATE_LIMITED', text, null, {}, { 'retry-after': String(seconds) });
    },
  });
}
