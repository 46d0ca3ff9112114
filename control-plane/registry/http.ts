// The border to Fastify: routes as plain functions from a call to an answer, Consul's plain-text errors, and blocking queries.
// The only file of the registry that names the framework.

import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { parseUint } from './state/kv.ts';
import type { Change } from './state/model.ts';
import { parseGoDuration } from './time.ts';
import type { Waiters } from './waiters.ts';

/** Consul's kv_max_value_size, used here for every body. */
export const MAX_BODY_BYTES = 524_288;
const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'] as const;
const CHECKED_METHODS = ['OPTIONS', 'GET', 'PUT', 'DELETE'] as const;

export interface Call {
  readonly method: string;
  /** The rest of the path after the route's prefix, decoded; empty when the route has none. */
  readonly name: string;
  readonly query: URLSearchParams;
  readonly body: Buffer;
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text and bytes go as they are, `json` is encoded; neither: an empty body. */
  readonly json?: unknown;
  readonly body?: string | Buffer;
}

export type Handler = (call: Call) => Answer | Promise<Answer>;

/** A path, or with a final `/` a prefix whose rest is `Call.name`, and a handler for each method it has. */
export interface Route {
  readonly path: string;
  readonly GET?: Handler;
  readonly PUT?: Handler;
  readonly DELETE?: Handler;
}

export function json(value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status: 200, headers, json: value };
}

export function text(status: number, message: string): Answer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: message };
}

export const DONE: Answer = { status: 200 };

export interface BlockingQuery {
  readonly concerns: (change: Change) => boolean;
  /** The index of the result set now; below 1 counts as 1, so a client never spins on 0. */
  readonly index: () => number;
  readonly answer: () => Answer;
}

/** Answers a query with its index, after waiting when the client names an index that is not yet passed. */
export async function blocking(
  waiters: Waiters,
  call: Call,
  datacenter: string,
  query: BlockingQuery,
): Promise<Answer> {
  const options = readQueryOptions(call.query);
  if ('status' in options) return options;
  const index = (): number => Math.max(1, query.index());
  const dc = call.query.get('dc');
  if (dc !== null && dc !== '' && dc !== datacenter) {
    return { ...text(500, 'No path to datacenter'), headers: { 'x-consul-index': '1' } };
  }
  if (options.index > 0) {
    const { waitMs } = options;
    const isFresh = (): boolean => index() > options.index;
    await waiters.wait({ isFresh, concerns: query.concerns, waitMs, signal: call.signal });
  }
  const answer = query.answer();
  return {
    ...answer,
    headers: {
      ...answer.headers,
      'x-consul-index': String(index()),
      'x-consul-knownleader': 'true',
      'x-consul-lastcontact': '0',
      'x-consul-effective-consistency': options.consistency,
    },
  };
}

export function readQueryOptions(
  query: URLSearchParams,
): { readonly index: number; readonly waitMs: number; readonly consistency: string } | Answer {
  const wait = query.get('wait') ?? '';
  const waitMs = wait === '' ? 0 : parseGoDuration(wait);
  if (waitMs === null) return text(400, 'Invalid wait time');
  const given = query.get('index') ?? '';
  const index = given === '' ? 0 : parseUint(given);
  if (typeof index !== 'number' && !index.ok) return text(400, 'Invalid index');
  const [isStale, isConsistent] = [query.has('stale'), query.has('consistent')];
  if (isStale && isConsistent) return text(400, 'Cannot specify ?stale with ?consistent, conflicting semantics.');
  const consistency = isStale ? 'stale' : isConsistent ? 'consistent' : 'leader';
  return { index: typeof index === 'number' ? index : index.value, waitMs, consistency };
}

/** Consul's filter language is not spoken here; saying nothing would answer another question than was asked. */
export function refuseFilter(call: Call): Answer | null {
  if ((call.query.get('filter') ?? '') === '') return null;
  return text(400, 'filter expressions are not supported by the embedded registry');
}

/** @param onFault told about a handler that threw, which is a defect of the registry */
export function createHttp(routes: readonly Route[], onFault: (error: unknown) => void): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 16_384 },
    // A path that cannot be decoded.
    frameworkErrors: (_error, _request, reply: FastifyReply) => {
      void reply.code(400).type('text/plain; charset=utf-8').send('400 Bad Request');
    },
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.addHook('onRequest', async (request, reply) => {
    const clean = cleanPath(request.url);
    if (clean !== null) return reply.code(301).header('location', clean).send();
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).send());
  app.setErrorHandler((error, request, reply) => {
    const code = typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : 500;
    reply.type('text/plain; charset=utf-8');
    if (code === 413) return reply.code(413).header('connection', 'close').send(tooLarge(request));
    if (typeof code === 'number' && code < 500) return reply.code(code).send('400 Bad Request');
    onFault(error);
    return reply.code(500).send('internal error of the embedded registry');
  });
  for (const route of routes) addRoute(app, route);
  return app;
}

function addRoute(app: FastifyInstance, route: Route): void {
  const isPrefix = route.path.endsWith('/');
  const url = isPrefix ? `${route.path}*` : route.path;
  const methods = CHECKED_METHODS.filter((method) => method === 'OPTIONS' || route[method] !== undefined);
  const allow = methods.join(',');
  for (const method of METHODS) {
    app.route({
      method,
      url,
      handler: async (request, reply) => {
        if (method === 'OPTIONS') return reply.header('allow', allow).send();
        const handler = method === 'GET' || method === 'PUT' || method === 'DELETE' ? route[method] : undefined;
        if (handler === undefined) {
          reply.code(405).header('allow', allow).type('text/plain; charset=utf-8');
          return reply.send(`method ${method} not allowed`);
        }
        return answerWith(reply, request, await handler(toCall(request, reply, isPrefix)));
      },
    });
  }
}

function toCall(request: FastifyRequest, reply: FastifyReply, isPrefix: boolean): Call {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  const at = request.url.indexOf('?');
  const params = request.params;
  const rest = typeof params === 'object' && params !== null && '*' in params ? String(params['*']) : '';
  return {
    method: request.method,
    name: isPrefix ? rest : '',
    query: new URLSearchParams(at === -1 ? '' : request.url.slice(at + 1)),
    body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
    signal: gone.signal,
  };
}

function answerWith(reply: FastifyReply, request: FastifyRequest, answer: Answer): FastifyReply {
  reply.code(answer.status);
  if (answer.headers !== undefined) reply.headers(answer.headers);
  if ('json' in answer) {
    const isPretty = /[?&]pretty(=|&|$)/.test(request.url);
    const encoded = isPretty ? `${JSON.stringify(answer.json, null, 4)}\n` : JSON.stringify(answer.json);
    // As bytes: to a string Fastify would add a charset that Consul does not send.
    return reply.header('content-type', 'application/json').send(Buffer.from(encoded));
  }
  return reply.send(answer.body);
}

/** Where a path with empty, `.` or `..` segments leads, as Go's mux redirects it; null when it is clean. */
function cleanPath(url: string): string | null {
  const at = url.indexOf('?');
  const [path, query] = at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at)];
  if (!/\/\/|\/\.\.?(\/|$)/.test(path)) return null;
  const kept: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  const tail = path.endsWith('/') && kept.length > 0 ? '/' : '';
  return `/${kept.join('/')}${tail}${query}`;
}

function tooLarge(request: FastifyRequest): string {
  const size = request.headers['content-length'];
  const what = size === undefined ? 'Request body' : `Request body(${size} bytes)`;
  return `${what} too large, max size: ${MAX_BODY_BYTES} bytes. See https://www.consul.io/docs/agent/options.html#kv_max_value_size.`;
}
