// Making, listing and revoking tokens. The secret is in one answer and nowhere else.

import { randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { Problem } from '#contract/problem.ts';
import { formatDuration, parseDuration } from '#contract/text/durations.ts';
import { pageOf } from '../core/pages.ts';
import { ROLES, type Role } from '../core/roles.ts';
import {
  DEFAULT_TTL_MS,
  isNameGlob,
  LONGEST_TTL_MS,
  type StoredToken,
  TOKEN_LIMIT,
  tokenView,
} from '../core/tokens.ts';
import type { AccessStore } from '../store/access-store.ts';
import { answer } from './answers.ts';
import { pageQuerySchema, pageSchema, readPageQuery } from './paging.ts';
import { invalid } from './policy-text.ts';
import { ApiError } from './problem.ts';
import type { TokenBook } from './token-book.ts';
import { digestOfSecret } from './tokens-file.ts';

export interface TokenRoutesOptions {
  readonly store: AccessStore;
  readonly book: TokenBook;
  /** False on loopback without tokens: then they can be made, but nobody asks for them. */
  readonly isAuthOn: boolean;
  /** Makes a change take effect now. */
  readonly refresh: () => Promise<void>;
  readonly epochMs: () => number;
}

interface NewToken {
  readonly name: string;
  readonly role: Role;
  readonly ttl?: string;
  readonly services?: readonly string[];
  readonly agents?: readonly string[];
}

const globs = { type: 'array', minItems: 1, maxItems: 100, items: { type: 'string', minLength: 1, maxLength: 128 } };
const bodySchema = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'role'],
  properties: {
    name: { type: 'string', pattern: '^[A-Za-z0-9_.@-]{1,64}$', description: 'Goes into histories and the audit log' },
    role: { type: 'string', enum: [...ROLES] },
    ttl: { type: 'string', maxLength: 16, description: 'Life: 12h, 90d; 90d when absent, 366d at most' },
    services: { ...globs, description: 'Services (`*` allowed) of an agent or editor token; any when absent' },
    agents: { ...globs, description: 'Agent ids (`*` allowed) that an agent token may speak for; any when absent' },
  },
};
const tokenSchema = { type: 'object', additionalProperties: true };
const tags = ['access'];
const admins = { access: ['admin'] as const };

export async function tokenRoutes(app: FastifyInstance, options: TokenRoutesOptions): Promise<void> {
  const { store, book, epochMs } = options;

  app.get(
    '/v1/tokens',
    {
      config: admins,
      schema: {
        summary: 'All tokens, ended ones too, without their secrets',
        tags,
        querystring: pageQuerySchema,
        response: { 200: pageSchema('tokens') },
      },
    },
    async (request) => {
      await book.refresh();
      const { items, nextCursor } = pageOf(book.list(), ({ id }) => id, readPageQuery(request.query));
      return { tokens: items.map((token) => tokenView(token, epochMs())), nextCursor };
    },
  );

  app.post<{ Body: NewToken }>(
    '/v1/tokens',
    {
      config: admins,
      schema: {
        summary: 'Make a token; its secret is in this answer only',
        tags,
        body: bodySchema,
        response: { 201: answer('made', { secret: { type: 'string' }, token: tokenSchema }) },
      },
    },
    async (request, reply) => {
      const { secret, token } = newToken(request.body, request.operator, epochMs());
      const valid = (await store.tokens()).filter((one) => tokenView(one, epochMs()).state === 'valid');
      if (valid.length >= TOKEN_LIMIT) {
        throw new ApiError('OTR_ERR_UNAVAILABLE', `there are ${TOKEN_LIMIT} valid tokens; revoke some first`);
      }
      await store.addToken(token);
      await options.refresh();
      request.made = `token ${token.id}`;
      return reply
        .code(201)
        .header('cache-control', 'no-store')
        .send({ secret, token: tokenView(token, epochMs()) });
    },
  );

  app.delete<{ Params: { id: string } }>(
    '/v1/tokens/:id',
    {
      config: admins,
      schema: {
        summary: 'Revoke a token; streams that it opened end within two seconds at every replica',
        tags,
        params: { type: 'object', properties: { id: { type: 'string', maxLength: 128 } }, required: ['id'] },
        response: { 200: answer('revoked', { token: tokenSchema }) },
      },
    },
    async (request) => {
      const { id } = request.params;
      const token = await store.revokeToken(id, request.operator, epochMs());
      if (token === null) throw noToken(id, book);
      await options.refresh();
      return { token: tokenView(token, epochMs()) };
    },
  );

  app.get(
    '/v1/whoami',
    {
      config: { access: ['any'] as const },
      schema: {
        summary: 'The token of this request and what it may do',
        tags,
        response: {
          200: answer('who asks', { isAuthenticated: { type: 'boolean' }, token: { type: ['object', 'null'] } }),
        },
      },
    },
    async ({ token }) => ({
      isAuthenticated: options.isAuthOn,
      token: token === null ? null : tokenView(token, epochMs()),
    }),
  );
}

function newToken(
  { name, role, ttl, ...bounds }: NewToken,
  createdBy: string,
  epochMs: number,
): { secret: string; token: StoredToken } {
  const services = bounds.services ?? null;
  const agents = bounds.agents ?? null;
  const ttlMs = ttl === undefined ? DEFAULT_TTL_MS : parseDuration(ttl);
  const problems = problemsOf(role, ttlMs, services, agents);
  if (problems.length > 0) throw invalid(problems);
  const id = randomBytes(8).toString('hex');
  const secret = `otr_${id}_${randomBytes(32).toString('base64url')}`;
  const token: StoredToken = {
    id,
    name,
    role,
    sha256: digestOfSecret(secret),
    services,
    agents,
    expiresAtEpochMs: epochMs + (ttlMs ?? 0),
    createdAtEpochMs: epochMs,
    createdBy,
    revokedAtEpochMs: null,
    revokedBy: null,
  };
  return { secret, token };
}

function problemsOf(
  role: Role,
  ttlMs: number | null,
  services: readonly string[] | null,
  agents: readonly string[] | null,
): Problem[] {
  const problems: Problem[] = [];
  if (ttlMs === null || ttlMs < 1_000 || ttlMs > LONGEST_TTL_MS) {
    const longest = formatDuration(LONGEST_TTL_MS);
    problems.push({ code: 'OTR_FORMAT', path: 'ttl', message: `must be a duration from 1s to ${longest}` });
  }
  const wrong = (services ?? []).find((glob) => !isNameGlob(glob));
  if (wrong !== undefined) {
    const message = `must be service names in which * may stand for any characters, found ${wrong}`;
    problems.push({ code: 'OTR_FORMAT', path: 'services', message });
  }
  const code = 'OTR_INCONSISTENT';
  if (services !== null && role !== 'agent' && role !== 'editor') {
    problems.push({ code, path: 'services', message: `binds agents and editors, not the role ${role}` });
  }
  if (agents !== null && role !== 'agent') {
    problems.push({ code, path: 'agents', message: `binds agents, not the role ${role}` });
  }
  return problems;
}

function noToken(id: string, book: TokenBook): ApiError {
  const isConfigured = book.list().some((token) => token.id === id);
  const why = isConfigured ? `token ${id} comes from the configuration: take it out there` : 'there is no such token';
  return new ApiError('OTR_ERR_NOT_FOUND', why);
}
