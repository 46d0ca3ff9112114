// One small HTTP service for the demo and the compose file: answers, calls the next service through its agent, and can be
// told to misbehave. Plain node:http, as an application without any knowledge of the mesh would use it.

import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * How a service can be broken. `500` and `slow` leave /healthz well, as grey failures do in life; `blackhole` never answers,
 * `reset` closes with RST, `crash` closes the listener and every connection.
 */
export const MODES = ['ok', '500', 'slow', 'blackhole', 'reset', 'crash'] as const;
export type Mode = (typeof MODES)[number];

export interface ServiceOptions {
  readonly name: string;
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** The service to call before answering, and the outbound listener of this service's own agent. */
  readonly next: { readonly service: string; readonly host: string; readonly port: number } | null;
}

const SLOW_MS = 2_000;
const NEXT_TIMEOUT_MS = 10_000;

export class SampleService {
  readonly id: string;
  readonly #options: ServiceOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 });
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #mode: Mode = 'ok';

  constructor(options: ServiceOptions) {
    this.id = options.id;
    this.#options = options;
    this.#server = createServer((incoming, response) => this.#answer(incoming, response));
    // Longer than the agents keep pooled connections, so that the side that knows about reuse closes first.
    this.#server.keepAliveTimeout = 75_000;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get mode(): Mode {
    return this.#mode;
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.port, this.#options.host, () => {
        this.#server.removeListener('error', reject);
        resolve();
      });
    });
  }

  /** Changes behaviour; requests that the former mode was holding are cut off. */
  async become(mode: Mode): Promise<void> {
    if (mode === this.#mode) return;
    const former = this.#mode;
    this.#mode = mode;
    if (former === 'blackhole' || mode === 'crash') this.#cutConnections();
    if (mode === 'crash') await new Promise((resolve) => this.#server.close(resolve));
    else if (former === 'crash') await this.listen();
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    this.#cutConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  #cutConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #answer(incoming: IncomingMessage, response: ServerResponse): void {
    incoming.resume();
    if (this.#mode === 'reset') {
      incoming.socket.resetAndDestroy();
      return;
    }
    if (this.#mode === 'blackhole') return;
    if (incoming.url === '/healthz') this.#send(response, 200, { status: 'ok' });
    else if (this.#mode === '500') this.#send(response, 500, { error: 'told to fail' });
    else if (this.#mode === 'slow') setTimeout(() => this.#work(incoming, response), SLOW_MS);
    else this.#work(incoming, response);
  }

  #work(incoming: IncomingMessage, response: ServerResponse): void {
    const { name, id, next } = this.#options;
    if (next === null) {
      this.#send(response, 200, { service: name, instance: id });
      return;
    }
    const call = request({
      host: next.host,
      port: next.port,
      path: incoming.url ?? '/',
      agent: this.#agent,
      headers: { host: next.service, ...keepHeaders(incoming) },
      timeout: NEXT_TIMEOUT_MS,
    });
    call.on('timeout', () => call.destroy(new Error(`no answer from ${next.service}`)));
    call.on('error', (error) => this.#send(response, 502, { service: name, instance: id, error: error.message }));
    call.on('response', (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', (error) => this.#send(response, 502, { service: name, instance: id, error: error.message }));
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const status = answer.statusCode ?? 502;
        this.#send(response, status < 500 ? 200 : 502, { service: name, instance: id, next: readJson(text) });
      });
    });
    call.end();
  }

  #send(response: ServerResponse, status: number, body: object): void {
    if (response.headersSent || response.destroyed) return;
    const text = `${JSON.stringify(body)}\n`;
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.end(text);
  }
}

/** What an application should pass on so that one request can be followed through all services. */
function keepHeaders(incoming: IncomingMessage): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of ['x-request-id', 'traceparent', 'tracestate']) {
    const value = incoming.headers[name];
    if (typeof value === 'string') kept[name] = value;
  }
  return kept;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
