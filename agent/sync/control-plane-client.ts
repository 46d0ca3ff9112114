// One place that speaks HTTP to the control plane: bearer token attached and re-read, every wait cut off by a signal and a
// deadline, every fault a value. Of several replicas it speaks to one, and to the next once a stream ended. It does not know
// what is said.

import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Random } from '../clock.ts';

export interface ControlPlaneAccess {
  /** At least one. */
  readonly urls: readonly string[];
  readonly token: string | null;
  /** Re-read before every call. Wins over `token`. */
  readonly tokenFile: string | null;
  /** Certificates to trust in place of those of the system. Re-read before every call. */
  readonly caFile?: string;
}

/** null when the control plane took it, else why not. */
export type Fault = string | null;

export interface ControlPlaneClient {
  /** POSTs JSON; the answer's body is discarded. */
  post(path: string, body: unknown, signal: AbortSignal, timeoutMs: number): Promise<Fault>;
  /**
   * Opens a stream and hands over each chunk until it ends; resolves with why it ended, never rejects.
   * `idleMs` without a byte, the head included, ends it. However it ends, what follows goes to the next replica: verdicts
   * and reports belong where the stream is, because only that replica knows what it sent.
   */
  stream(call: StreamCall): Promise<string>;
  close(): void;
}

export interface StreamCall {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly lastEventId: string | null;
  readonly idleMs: number;
  readonly signal: AbortSignal;
  onOpen(): void;
  /** Returns a fault to end the stream. */
  onChunk(chunk: Uint8Array): Fault;
}

/** @param random  chooses the replica to begin with, so that agents spread over all of them */
export function createControlPlaneClient(access: ControlPlaneAccess, random: Random): ControlPlaneClient {
  const bases = access.urls.map((url) => new URL(url));
  const agents = { 'http:': new HttpAgent({ keepAlive: true }), 'https:': new HttpsAgent({ keepAlive: true }) };
  let turn = Math.floor(random() * bases.length);
  const urlOf = (path: string): URL => {
    const base = bases[turn % bases.length];
    if (base === undefined) throw new Error('there must be one control plane at least');
    return new URL(base.pathname.replace(/\/$/, '') + path, base);
  };

  async function authorization(): Promise<Record<string, string>> {
    const token = access.tokenFile === null ? access.token : (await readFile(access.tokenFile, 'utf8')).trim();
    return token === null || token === '' ? {} : { authorization: `Bearer ${token}` };
  }

  /** Connections are kept by what they trust, so a new file is in force with the next call. */
  async function trust(): Promise<RequestOptions & { readonly ca?: Buffer }> {
    return access.caFile === undefined ? {} : { ca: await readFile(access.caFile) };
  }

  async function post(path: string, body: unknown, signal: AbortSignal, timeoutMs: number): Promise<Fault> {
    try {
      const text = JSON.stringify(body);
      const deadline = AbortSignal.timeout(timeoutMs);
      const headers = {
        ...(await authorization()),
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      };
      const url = urlOf(path);
      const agent = url.protocol === 'https:' ? agents['https:'] : agents['http:'];
      const options: RequestOptions = {
        ...(await trust()),
        method: 'POST',
        agent,
        headers,
        signal: AbortSignal.any([signal, deadline]),
      };
      const answer = await open(url, options, text);
      const said = await readShort(answer);
      const status = answer.statusCode ?? 0;
      return status >= 200 && status < 300 ? null : `the control plane answered ${status}: ${said}`;
    } catch (error) {
      return explain(error);
    }
  }

  async function stream(call: StreamCall): Promise<string> {
    const idle = new AbortController();
    const timer = setTimeout(() => idle.abort(), call.idleMs);
    try {
      const url = urlOf(call.path);
      for (const [name, value] of Object.entries(call.query)) url.searchParams.set(name, value);
      const headers = {
        ...(await authorization()),
        accept: 'text/event-stream',
        'cache-control': 'no-store',
        ...(call.lastEventId === null ? {} : { 'last-event-id': call.lastEventId }),
      };
      // A connection of its own: a stream lives for days and would only ever leave the pool broken.
      const options: RequestOptions = {
        ...(await trust()),
        method: 'GET',
        agent: false,
        headers,
        signal: AbortSignal.any([call.signal, idle.signal]),
      };
      const answer = await open(url, options, null);
      if (answer.statusCode !== 200)
        return `the control plane answered ${answer.statusCode}: ${await readShort(answer)}`;
      if (!/^text\/event-stream\b/.test(answer.headers['content-type'] ?? '')) {
        answer.destroy();
        return `the control plane answered with ${answer.headers['content-type'] ?? 'no content type'}, not with an event stream`;
      }
      call.onOpen();
      for await (const chunk of answer) {
        timer.refresh();
        const fault = call.onChunk(chunk);
        if (fault !== null) return fault;
      }
      return 'the control plane ended the stream';
    } catch (error) {
      return idle.signal.aborted ? `nothing heard for ${Math.round(call.idleMs / 1000)} s` : explain(error);
    } finally {
      clearTimeout(timer);
      turn = (turn + 1) % bases.length;
    }
  }

  function close(): void {
    for (const agent of Object.values(agents)) agent.destroy();
  }

  return { post, stream, close };
}

function open(url: URL, options: RequestOptions, body: string | null): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, resolve);
    outgoing.on('error', reject);
    outgoing.end(body ?? undefined);
  });
}

/** The beginning of a body, the rest read and dropped so that the connection can be used again. */
async function readShort(answer: IncomingMessage): Promise<string> {
  let text = '';
  let bytes = 0;
  for await (const chunk of answer) {
    bytes += chunk.length;
    if (text.length < 200) text += String(chunk);
    // Nobody who is asked here has that much to say.
    if (bytes > 1024 * 1024) break;
  }
  return (text.trim().split('\n', 1)[0] ?? '').slice(0, 200);
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError' || (error.name === 'AbortError' && isTimeout(error.cause)))
    return 'no answer in time';
  const inner = error instanceof AggregateError ? error.errors.map(explain).join(', ') : error.message;
  return inner === '' ? error.name : inner;
}

function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && cause.name === 'TimeoutError';
}
