// The way from an authenticated operator to an agent's admin API, over the agent's own reported address. It carries no
// credential of the operator, only the operator's name, never tries twice and follows no redirect.

import proxy from '@fastify/http-proxy';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Access } from '../core/roles.ts';
import type { AdminPlace } from '../core/views.ts';
import { ApiError, sendProblem } from './problem.ts';
import { targetOf } from './relay-target.ts';

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
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
];
/** An agent must not set cookies for the control plane's origin, nor loosen its rules for pages. */
const NOT_ANSWERED = [
  'set-cookie',
  'connection',
  'keep-alive',
  'content-security-policy',
  'strict-transport-security',
  'clear-site-data',
];

/** An agent that does not answer by then is hung: 504. */
export const HEAD_TIMEOUT_MS = 5_000;
const CONNECTIONS_PER_AGENT = 8;
const LONGEST_MESSAGE_BYTES = 1024 * 1024;

export interface RelayOptions {
  readonly adminOf: (agentId: string) => AdminPlace | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Origin of the agent's admin API, after it was judged. */
    adminOrigin: string;
  }
}

/** Reading is for viewers, changing for admins: the agent's API changes things by POST only. */
export async function relayRoutes(app: FastifyInstance, options: RelayOptions): Promise<void> {
  app.decorateRequest('adminOrigin', '');
  await app.register(proxy.fastifyHttpProxy, proxyOptions(options, ['GET', 'HEAD'], ['viewer']));
  await app.register(proxy.fastifyHttpProxy, proxyOptions(options, ['POST'], ['admin']));
}

function proxyOptions(
  options: RelayOptions,
  httpMethods: ('GET' | 'HEAD' | 'POST')[],
  access: readonly Access[],
): Parameters<typeof proxy.fastifyHttpProxy>[1] {
  return {
    upstream: '',
    prefix: '/v1/agents/:id/admin',
    rewritePrefix: '/',
    routes: ['/*'],
    httpMethods,
    config: { access },
    disableRequestLogging: true,
    disableCache: true,
    undici: {
      connections: CONNECTIONS_PER_AGENT,
      headersTimeout: HEAD_TIMEOUT_MS,
      // Taps are streams without end.
      bodyTimeout: 0,
      connect: { rejectUnauthorized: true, timeout: HEAD_TIMEOUT_MS },
    },
    // Upgrades arrive as GET, and pass the same guards.
    ...(httpMethods.includes('GET')
      ? {
          websocket: true as const,
          wsServerOptions: { maxPayload: LONGEST_MESSAGE_BYTES },
          wsClientOptions: {
            handshakeTimeout: HEAD_TIMEOUT_MS,
            maxPayload: LONGEST_MESSAGE_BYTES,
            rewriteRequestHeaders: (_headers: object, request: FastifyRequest) => operatorHeader(request),
          },
        }
      : {}),
    preHandler: (request, reply, done) => {
      findAgent(request, options).then(
        () => done(),
        (error: unknown) => {
          if (error instanceof ApiError) sendProblem(reply, error);
          else done(error instanceof Error ? error : new Error(String(error)));
        },
      );
    },
    replyOptions: {
      getUpstream: (request) => (request as FastifyRequest).adminOrigin,
      // Without this a GET that got 503 is repeated up to ten times.
      retryDelay: () => null,
      rewriteRequestHeaders: (request, headers) => ({
        ...without(headers, DROPPED),
        ...operatorHeader(request as FastifyRequest),
      }),
      rewriteHeaders: (headers) => without(headers, NOT_ANSWERED),
      onError: (reply, { error }) => {
        sendProblem(reply as FastifyReply, relayError(error));
      },
    },
  };
}

async function findAgent(request: FastifyRequest, { adminOf }: RelayOptions): Promise<void> {
  // A path that could mean another one after decoding is nobody's admin path.
  if (hasDetour(request.url)) throw new ApiError('OTR_ERR_BAD_REQUEST', 'the path must be plain');
  // The proxy of POST has no WebSocket side, and would leave an upgraded connection without an answer for ever.
  if (request.headers.upgrade !== undefined && request.method !== 'GET') {
    throw new ApiError('OTR_ERR_BAD_REQUEST', 'only GET can be upgraded');
  }
  const id = (request.params as { readonly id?: string }).id ?? '';
  const place = adminOf(id);
  if (place === null) {
    throw new ApiError('OTR_ERR_NOT_FOUND', 'no agent by that name has reported to a control plane');
  }
  const target = await targetOf(place);
  if (!target.ok) throw new ApiError('OTR_ERR_AGENT_UNREACHABLE', target.why);
  request.adminOrigin = target.origin;
}

function operatorHeader({ operator }: FastifyRequest): Record<string, string> {
  return { 'x-outrigger-operator': operator };
}

function without<T extends object>(headers: T, names: readonly string[]): T {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name))) as T;
}

function relayError(error: Error): ApiError {
  const cause = error.cause instanceof Error ? error.cause : error;
  const code = 'code' in cause ? String(cause.code) : '';
  const isTimeout = code.endsWith('_TIMEOUT') || ('statusCode' in error && error.statusCode === 504);
  if (isTimeout) {
    return new ApiError('OTR_ERR_AGENT_TIMEOUT', `the agent did not answer within ${HEAD_TIMEOUT_MS / 1000} s`);
  }
  return new ApiError('OTR_ERR_AGENT_UNREACHABLE', cause.message === '' ? code : cause.message);
}

function hasDetour(url: string): boolean {
  const path = url.split('?', 1)[0] ?? '';
  return /\\|%2e|%2f|%5c|%00|\/\/|\/\.\.?(\/|$)/i.test(path);
}
