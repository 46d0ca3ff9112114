// The way from an authenticated operator to an agent's admin API, over the agent's own reported address. It carries no
// credential of the operator, only the operator's name, and never tries twice.

import proxy from '@fastify/http-proxy';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Fleet } from '../core/fleet.ts';
import { ApiError, sendProblem } from './problem.ts';

/** What a request to an agent must not carry: credentials, who asked before us, and what only concerns one connection. */
const DROPPED = [
  'authorization',
  'proxy-authorization',
  'cookie',
  'origin',
  'referer',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'expect',
];
const HEAD_TIMEOUT_MS = 5_000;
const CONNECTIONS_PER_AGENT = 8;

export interface RelayOptions {
  readonly fleet: Fleet;
}

export async function relayRoutes(app: FastifyInstance, { fleet }: RelayOptions): Promise<void> {
  await app.register(proxy.fastifyHttpProxy, {
    upstream: '',
    prefix: '/v1/agents/:id/admin',
    rewritePrefix: '/',
    // Admins only: no access is granted to any other role.
    config: {},
    disableRequestLogging: true,
    disableCache: true,
    undici: {
      connections: CONNECTIONS_PER_AGENT,
      headersTimeout: HEAD_TIMEOUT_MS,
      // Taps are streams without end.
      bodyTimeout: 0,
      connect: { rejectUnauthorized: true, timeout: HEAD_TIMEOUT_MS },
    },
    preHandler: (request, reply, done) => {
      // A path that could mean another one after decoding is nobody's admin path.
      if (hasDetour(request.url)) {
        sendProblem(reply, new ApiError('OTR_ERR_BAD_REQUEST', 'the path must be plain'));
        return;
      }
      if (adminUrlOf(fleet, request) === null) {
        sendProblem(reply, new ApiError('OTR_ERR_NOT_FOUND', 'no agent by that name has reported'));
        return;
      }
      done();
    },
    replyOptions: {
      // The type wants a string; preHandler has refused whoever has none.
      getUpstream: (request) => adminUrlOf(fleet, request as FastifyRequest) ?? '',
      // Without this a GET that got 503 is repeated up to ten times.
      retryDelay: () => null,
      rewriteRequestHeaders: (request, headers) => ({
        ...Object.fromEntries(Object.entries(headers).filter(([name]) => !DROPPED.includes(name))),
        'x-outrigger-operator': (request as FastifyRequest).operator,
      }),
      rewriteHeaders: (headers) =>
        // An agent must not set cookies for the control plane's origin, nor loosen its rules for pages.
        Object.fromEntries(
          Object.entries(headers).filter(([name]) => !['set-cookie', 'connection', 'keep-alive'].includes(name)),
        ),
      onError: (reply, { error }) => {
        const isTimeout = 'statusCode' in error && error.statusCode === 504;
        const code = isTimeout ? 'OTR_ERR_AGENT_TIMEOUT' : 'OTR_ERR_AGENT_UNREACHABLE';
        const cause = error.cause instanceof Error ? error.cause.message : error.message;
        sendProblem(reply as Parameters<typeof sendProblem>[0], new ApiError(code, cause));
      },
    },
  });
}

function adminUrlOf(fleet: Fleet, request: FastifyRequest): string | null {
  const id = (request.params as { readonly id?: string }).id ?? '';
  return fleet.get(id)?.report.adminUrl ?? null;
}

function hasDetour(url: string): boolean {
  const path = url.split('?', 1)[0] ?? '';
  return /\\|%2e|%2f|%5c|%00|\/\/|\/\.\.?(\/|$)/i.test(path);
}
