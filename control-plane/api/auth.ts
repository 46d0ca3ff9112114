// Who may call which route. Every route declares it (`config.access`), and one that does not keeps the process from starting.
// Without tokens the API is on loopback only, and then a web page must not reach it through the browser.

import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Access, mayCall } from '../core/roles.ts';
import { maySpeakFor, mayWrite, type Token } from '../core/tokens.ts';
import { refuseForeignHost, refuseForeignOrigin } from './browsers.ts';
import { FailureLimiter } from './failures.ts';
import { ApiError } from './problem.ts';
import { REREAD_EVERY_MS, type TokenBook } from './token-book.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Least roles that may call the route; see core/roles.ts. */
    access?: readonly Access[];
  }
  interface FastifyRequest {
    /** Name of the token, `anonymous` without authentication; goes into histories. */
    operator: string;
    token: Token | null;
  }
}

export interface AuthOptions {
  /** Null: no authentication, loopback only. */
  readonly book: TokenBook | null;
  readonly now: () => number;
}

/** What the route table says about one method of one path. */
export interface RouteEntry {
  readonly method: string;
  readonly url: string;
  readonly access: readonly Access[];
}

export interface Auth {
  /** Fills as routes are added. */
  readonly routes: readonly RouteEntry[];
  /** Makes a change of the tokens take effect now. */
  readonly refresh: () => Promise<void>;
}

/** Guards every route of `app` that is added after it, unknown paths included. */
export function registerAuth(app: FastifyInstance, { book, now }: AuthOptions): Auth {
  const routes: RouteEntry[] = [];
  app.addHook('onRoute', ({ method, url, config }) => {
    const access = config?.access;
    // Deny by default would hide the mistake; nobody would find out why a new route answers 403.
    if (access === undefined) throw new Error(`route ${String(method)} ${url} does not declare config.access`);
    for (const one of [method].flat()) routes.push({ method: one, url, access });
  });
  const failures = new FailureLimiter(now);
  app.decorateRequest('operator', 'anonymous');
  app.decorateRequest('token', null);
  const open = new Map<ServerResponse, Token>();
  const refresh = async (): Promise<void> => {
    if (book === null) return;
    await book.refresh();
    // A revoked token must not go on reading a stream that it opened before.
    for (const [response, token] of open) if (!book.isValid(token)) response.destroy();
  };
  if (book !== null) {
    const timer = setInterval(() => void refresh(), REREAD_EVERY_MS);
    timer.unref();
    app.addHook('onClose', async () => clearInterval(timer));
  }
  app.addHook('onRequest', async (request, reply) => {
    refuseForeignOrigin(request);
    if (book === null) {
      refuseForeignHost(request);
      return;
    }
    // Unknown paths have no table entry and are for admins.
    const access = request.routeOptions.config.access ?? ['admin'];
    if (access.includes('public')) return;
    open.set(reply.raw, authenticate(request, book, failures, access));
    reply.raw.once('close', () => open.delete(reply.raw));
  });
  return { routes, refresh };
}

function authenticate(
  request: FastifyRequest,
  book: TokenBook,
  failures: FailureLimiter,
  access: readonly Access[],
): Token {
  const secret = bearerOf(request);
  const token = book.find(secret);
  if (token === null) {
    if (book.isUndecided(secret)) {
      const text = 'the store of tokens does not answer, so nobody can tell whether this one was revoked; try again';
      throw new ApiError('OTR_ERR_UNAVAILABLE', text);
    }
    // Many agents can share one address: the guesses of one of them must not shut the others out.
    const waitMs = failures.waitMs(request.ip);
    if (waitMs > 0) {
      const seconds = Math.ceil(waitMs / 1000);
      const text = `wait ${seconds} s before the next attempt without a valid token`;
      throw new ApiError('OTR_ERR_TOO_MANY_FAILURES', text, null, {}, { 'retry-after': String(seconds) });
    }
    failures.count(request.ip);
    const headers = { 'www-authenticate': 'Bearer' };
    throw new ApiError('OTR_ERR_UNAUTHORIZED', 'send Authorization: Bearer <token>', null, {}, headers);
  }
  // Before the role is judged, so that a refusal can be told of somebody.
  request.operator = token.name;
  request.token = token;
  if (!mayCall(token.role, access)) {
    throw new ApiError('OTR_ERR_FORBIDDEN', `token ${token.name} has the role ${token.role}`);
  }
  return token;
}

/**
 * An agent token that is bound to services or agents speaks for no other.
 *
 * @param service  null when the agent did not say it; left out where it was judged before
 */
export function refuseForeignAgent(request: FastifyRequest, agentId: string, service?: string | null): void {
  const { token } = request;
  if (token === null || maySpeakFor(token, agentId, service)) return;
  throw new ApiError('OTR_ERR_FORBIDDEN', `token ${token.name} may not speak for this agent or its service`);
}

/** An editor token that is bound to services writes the documents of no other. */
export function refuseForeignDocument(request: FastifyRequest, kind: string, name: string): void {
  const { token } = request;
  if (token === null || mayWrite(token, kind, name)) return;
  throw new ApiError('OTR_ERR_FORBIDDEN', `token ${token.name} may not write ${kind}/${name}`);
}

function bearerOf(request: FastifyRequest): string | null {
  return /^Bearer +([\x21-\x7e]{1,512})$/i.exec(request.headers.authorization ?? '')?.[1] ?? null;
}
