// Who may do what. Tokens come from a file, are held as SHA-256 and compared in constant time; a route without roles is
// for admins. Without a tokens file the API is on loopback only, and then a web page must not reach it through the browser.

import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { isIPv4 } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { ApiError } from './problem.ts';

export const ROLES = ['admin', 'viewer', 'agent'] as const;
export type Role = (typeof ROLES)[number];
export type Access = Role | 'public';

/** Failed attempts of one address within FAILURE_WINDOW_MS before further ones are 429. A valid token always passes. */
export const FAILURE_LIMIT = 10;
export const FAILURE_WINDOW_MS = 60_000;
/** How long a change of the file may stay unseen, revocations included. */
export const REREAD_EVERY_MS = 2_000;
const ADDRESS_LIMIT = 10_000;

export interface Token {
  readonly name: string;
  readonly digest: Buffer;
  readonly role: Role;
  /** Ids of agents that an `agent` token may speak for; null: any. */
  readonly agents: readonly string[] | null;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route besides admins; `public` needs no token. */
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
  readonly tokensFile: string | null;
  readonly now: () => number;
  readonly warn: (message: string) => void;
}

/** Guards every route of `app`, unknown paths included. @throws when the tokens file cannot be used at start */
export function registerAuth(app: FastifyInstance, options: AuthOptions): void {
  const tokens = options.tokensFile === null ? null : new TokensFile(options.tokensFile, options);
  const failures = new FailureLimiter(options.now);
  app.decorateRequest('operator', 'anonymous');
  app.decorateRequest('token', null);
  const open = new Map<ServerResponse, Token>();
  if (tokens !== null) {
    // A revoked token must not go on reading a stream that it opened before.
    const timer = setInterval(() => {
      tokens.refresh();
      for (const [response, token] of open) if (!tokens.has(token)) response.destroy();
    }, REREAD_EVERY_MS);
    timer.unref();
    app.addHook('onClose', async () => clearInterval(timer));
  }
  app.addHook('onRequest', async (request, reply) => {
    refuseForeignOrigin(request);
    if (tokens === null) {
      refuseForeignHost(request);
      return;
    }
    const access = request.routeOptions.config.access ?? [];
    if (access.includes('public')) return;
    open.set(reply.raw, authenticate(request, tokens, failures, access));
    reply.raw.once('close', () => open.delete(reply.raw));
  });
}

function authenticate(
  request: FastifyRequest,
  tokens: TokensFile,
  failures: FailureLimiter,
  access: readonly Access[],
): Token {
  const token = tokens.find(bearerOf(request));
  if (token === null) {
    // Many agents can share one address: the guesses of one of them must not shut the others out.
    if (failures.isOver(request.ip)) {
      const text = `wait up to ${FAILURE_WINDOW_MS / 1000} s before the next attempt without a valid token`;
      throw new ApiError('OTR_ERR_TOO_MANY_FAILURES', text);
    }
    failures.count(request.ip);
    throw new ApiError('OTR_ERR_UNAUTHORIZED', 'send Authorization: Bearer <token>');
  }
  if (token.role !== 'admin' && !access.includes(token.role)) {
    throw new ApiError('OTR_ERR_FORBIDDEN', `token ${token.name} has the role ${token.role}`);
  }
  request.operator = token.name;
  request.token = token;
  return token;
}

/** An agent token that is bound to agents speaks for no other. */
export function refuseForeignAgent(request: FastifyRequest, agentId: string): void {
  const agents = request.token?.agents ?? null;
  if (agents === null || agents.includes(agentId)) return;
  throw new ApiError('OTR_ERR_FORBIDDEN', `token ${request.operator} may not speak for this agent`);
}

function bearerOf(request: FastifyRequest): string | null {
  return /^Bearer +([\x21-\x7e]{1,512})$/i.exec(request.headers.authorization ?? '')?.[1] ?? null;
}

/** Without tokens the Host must be a loopback name: otherwise a page whose name was rebound to 127.0.0.1 could write. */
function refuseForeignHost(request: FastifyRequest): void {
  const host = hostnameOf(request.headers.host ?? '');
  if (host !== null && isLoopbackName(host)) return;
  throw new ApiError('OTR_ERR_FOREIGN_HOST', 'use 127.0.0.1, [::1] or localhost, or configure auth.tokensFile');
}

/** A browser says which page sends a request; only our own page may. */
function refuseForeignOrigin(request: FastifyRequest): void {
  const { origin, host } = request.headers;
  if (origin === undefined) return;
  const isOurs = URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
  if (!isOurs) throw new ApiError('OTR_ERR_FOREIGN_HOST', 'requests from pages of another origin are refused');
}

function hostnameOf(host: string): string | null {
  return URL.canParse(`http://${host}/`) ? new URL(`http://${host}/`).hostname : null;
}

/** True for `localhost`, names under it, 127.0.0.0/8 and ::1. */
export function isLoopbackName(hostname: string): boolean {
  const name = hostname.toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost') || name === '[::1]') return true;
  return isIPv4(name) && name.startsWith('127.');
}

/** Tokens of a file, read again when its time or size changes; a broken change keeps the former tokens and is logged. */
class TokensFile {
  readonly #path: string;
  readonly #now: () => number;
  readonly #warn: (message: string) => void;
  #tokens: readonly Token[];
  #stamp: string;
  #checkedAt: number;

  constructor(path: string, { now, warn }: AuthOptions) {
    this.#path = path;
    this.#now = now;
    this.#warn = warn;
    this.#stamp = stampOf(path);
    this.#tokens = parseTokens(readFileSync(path, 'utf8'), path);
    this.#checkedAt = now();
  }

  /** Looks at every token whatever the answer, so that the time taken says nothing. */
  find(secret: string | null): Token | null {
    this.refresh();
    if (secret === null) return null;
    const digest = createHash('sha256').update(secret).digest();
    let found: Token | null = null;
    for (const token of this.#tokens) if (timingSafeEqual(token.digest, digest)) found = token;
    return found;
  }

  /** Whether the token is still in the file with all that it may do. */
  has(token: Token): boolean {
    return this.#tokens.some((one) => isSameToken(one, token));
  }

  refresh(): void {
    if (this.#now() - this.#checkedAt < REREAD_EVERY_MS) return;
    this.#checkedAt = this.#now();
    try {
      const stamp = stampOf(this.#path);
      if (stamp === this.#stamp) return;
      this.#tokens = parseTokens(readFileSync(this.#path, 'utf8'), this.#path);
      this.#stamp = stamp;
    } catch (error) {
      this.#warn(`tokens file kept as it was: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function isSameToken(a: Token, b: Token): boolean {
  return (
    a.name === b.name && a.role === b.role && a.digest.equals(b.digest) && a.agents?.join(' ') === b.agents?.join(' ')
  );
}

function stampOf(path: string): string {
  const { mtimeMs, size, ino } = statSync(path);
  return `${mtimeMs} ${size} ${ino}`;
}

/**
 * Reads `tokens: [{name, token | sha256, role, agents?}]` from YAML or JSON.
 *
 * @throws Error that names the entry, never the secret
 */
export function parseTokens(text: string, file: string): Token[] {
  const parsed = parseYamlDocuments(text, file);
  if (!parsed.ok) throw new Error(`${file}: ${parsed.problems.map(({ message }) => message).join('; ')}`);
  const root = parsed.value[0]?.value;
  const list = isMapping(root) ? root.tokens : undefined;
  if (!Array.isArray(list) || list.length === 0) throw new Error(`${file}: tokens must be a list of at least one`);
  const tokens = list.map((entry: unknown, index) => parseToken(entry, `${file}: tokens[${index}]`));
  const names = new Set(tokens.map(({ name }) => name));
  if (names.size < tokens.length) throw new Error(`${file}: two tokens have the same name`);
  return tokens;
}

function parseToken(entry: unknown, where: string): Token {
  if (!isMapping(entry)) throw new Error(`${where} must be a mapping`);
  const { name, token, sha256, role, agents, ...rest } = entry;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new Error(`${where} has an unknown key ${unknown}`);
  if (typeof name !== 'string' || !/^[\w.@-]{1,64}$/.test(name)) throw new Error(`${where}.name must be 1–64 letters`);
  const known = ROLES.find((one) => one === role);
  if (known === undefined) throw new Error(`${where}.role must be one of ${ROLES.join(', ')}`);
  if ((token === undefined) === (sha256 === undefined)) throw new Error(`${where} must have one of token and sha256`);
  if (agents !== undefined && !(Array.isArray(agents) && agents.every((id) => typeof id === 'string'))) {
    throw new Error(`${where}.agents must be a list of agent ids`);
  }
  return { name, role: known, digest: digestOf(token, sha256, where), agents: agents ?? null };
}

function digestOf(token: unknown, sha256: unknown, where: string): Buffer {
  if (sha256 !== undefined) {
    if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/i.test(sha256))
      throw new Error(`${where}.sha256 must be 64 hex digits`);
    return Buffer.from(sha256, 'hex');
  }
  if (typeof token !== 'string' || token.length < 16)
    throw new Error(`${where}.token must have at least 16 characters`);
  return createHash('sha256').update(token).digest();
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Counts failures per address in fixed windows; a full table forgets the oldest address first. */
class FailureLimiter {
  readonly #now: () => number;
  readonly #windows = new Map<string, { since: number; count: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  isOver(address: string): boolean {
    const window = this.#windows.get(address);
    if (window === undefined) return false;
    if (this.#now() - window.since < FAILURE_WINDOW_MS) return window.count >= FAILURE_LIMIT;
    this.#windows.delete(address);
    return false;
  }

  count(address: string): void {
    const window = this.#windows.get(address) ?? { since: this.#now(), count: 0 };
    window.count++;
    this.#windows.set(address, window);
    if (this.#windows.size <= ADDRESS_LIMIT) return;
    for (const oldest of this.#windows.keys()) {
      this.#windows.delete(oldest);
      break;
    }
  }
}
