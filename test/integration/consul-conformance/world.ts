// What the conformance cases speak with: plain HTTP, the npm client, and words for what they saw.

import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import Consul from 'consul';

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** Parsed when it can be, else undefined. */
  readonly json: unknown;
  readonly index: number;
}

export interface World {
  readonly node: string;
  readonly port: number;
  readonly consul: Consul;
  /** A server whose status the case chooses. */
  readonly app: { readonly url: string; readonly port: number; status: number };
  send(method: string, path: string, body?: unknown): Promise<Reply>;
  /** Says how long a body will be and never sends it: whoever refuses the length must do so before it comes. */
  announce(path: string, bytes: number): Promise<Reply>;
  get(path: string): Promise<Reply>;
  put(path: string, body?: unknown): Promise<Reply>;
}

export interface Case {
  readonly name: string;
  readonly run: (world: World) => Promise<unknown>;
  /** Left out: whatever both servers agree on. */
  readonly expect?: unknown;
}

// --- how cases speak ---

function call(base: string, method: string, path: string, body?: unknown, announced?: number): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = announced === undefined ? {} : { 'content-length': announced };
    const outgoing = request(base + path, { method, agent: false, headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const index = Number(incoming.headers['x-consul-index'] ?? Number.NaN);
        if (announced !== undefined) outgoing.destroy();
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, json: parse(text), index });
      });
    });
    outgoing.on('error', reject);
    if (announced !== undefined) outgoing.flushHeaders();
    else
      outgoing.end(
        body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      );
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Walks into JSON by keys and positions; undefined where the way ends. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let here = value;
  for (const step of path) {
    if (typeof here !== 'object' || here === null) return undefined;
    here = Object.entries(here).find(([key]) => key === String(step))?.[1];
  }
  return here;
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

export function pluck(value: unknown, ...path: readonly (string | number)[]): unknown[] {
  return list(value).map((item) => at(item, ...path));
}

/** Keys and the types of their values, all the way down: what a decoder relies on. */
export function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shape);
  if (value === null) return 'null';
  if (typeof value !== 'object') return typeof value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, shape(inner)]),
  );
}

/** Status and text of an error, and whether it carries Consul's plain-text type. */
export function refusal(reply: Reply): unknown {
  return [reply.status, reply.text.trim(), String(reply.headers['content-type']).startsWith('text/plain')];
}

export const refused = (status: number, text: string): unknown => [status, text, true];

/** Within 20 s: a change that Consul's agent could not hand to its catalog is tried again after 15 s. */
export async function until(what: string, test: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await test()) return;
    await sleep(50);
  }
  throw new Error(`never happened: ${what}`);
}

export const statuses = async (world: World, service: string): Promise<unknown[]> =>
  pluck((await world.get(`/v1/health/checks/${service}`)).json, 'Status');

/** A watch that has been sent; `isOpen` says whether it is still unanswered. */
export function watch(
  world: World,
  path: string,
  index: number,
  wait = '20s',
): { reply: Promise<Reply>; isOpen: () => boolean } {
  let open = true;
  const reply = world.get(`${path}${path.includes('?') ? '&' : '?'}index=${index}&wait=${wait}`).finally(() => {
    open = false;
  });
  return { reply, isOpen: () => open };
}

export const session = async (world: World, body: unknown = {}): Promise<string> =>
  String(at((await world.put('/v1/session/create', body)).json, 'ID'));

export const NO_SESSION = '00000000-0000-4000-8000-000000000000';

export async function createWorld(url: string, app: World['app']): Promise<World> {
  const base = new URL(url);
  const send: World['send'] = (method, path, body) => call(url, method, path, body);
  const self = await send('GET', '/v1/agent/self');
  return {
    node: String(at(self.json, 'Config', 'NodeName')),
    consul: new Consul({ host: base.hostname, port: Number(base.port) }),
    app,
    port: Number(base.port),
    announce: (path, bytes) => call(url, 'PUT', path, undefined, bytes),
    send,
    get: (path) => send('GET', path),
    put: (path, body) => send('PUT', path, body),
  };
}

export async function startApp(test: { teardown(run: () => unknown): void }): Promise<World['app']> {
  const server = createServer((_request, response) => {
    response.writeHead(app.status);
    response.end(`app says ${app.status}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const app = { url: `http://127.0.0.1:${port}`, port, status: 200 };
  test.teardown(() => server.closeAllConnections());
  test.teardown(() => server.close());
  return app;
}
