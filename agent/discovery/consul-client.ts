// One place that speaks HTTP to Consul for the hot path: token and datacenter attached, every wait cut off by a signal and a
// deadline, every body capped, every fault a value. It knows no endpoint and no policy.

import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

/** Where Consul is and how to be let in. The token travels as the X-Consul-Token header, never in a query. */
export interface ConsulAccess {
  readonly url: string;
  readonly token: string | null;
  /** Re-read before every call, so a rotated token is used at once. Wins over `token`. */
  readonly tokenFile: string | null;
  readonly datacenter: string | null;
}

export interface ConsulCall {
  readonly method: 'GET' | 'PUT';
  /** Path without query, `/v1/health/service/payments`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly signal: AbortSignal;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
}

/** What became of a call: an answer of whatever status, or a failure that never became one. */
export type ConsulAnswer =
  | { readonly kind: 'answer'; readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string }
  | { readonly kind: 'failure'; readonly reason: ConsulFailure; readonly text: string };

/** `unreachable` and `closed` may mean that Consul restarted; `stopped` means that our own signal fired. */
export type ConsulFailure = 'unreachable' | 'closed' | 'timeout' | 'truncated' | 'too_large' | 'no_token' | 'stopped';

export interface ConsulClient {
  readonly access: ConsulAccess;
  call(call: ConsulCall): Promise<ConsulAnswer>;
  /** The token in force now; null when there is none. Rejects when the token file cannot be read. */
  readToken(): Promise<string | null>;
  /** Closes idle connections. */
  close(): void;
}

/** 8 MiB: about 10 000 instances with their checks. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;

const CLOSED_HINT =
  'Consul closed the connection at once; 200 connections per client address is its default. ' +
  'Raise limits.http_max_conns_per_client or declare fewer upstreams';

export function createConsulClient(access: ConsulAccess, maxBodyBytes: number = MAX_BODY_BYTES): ConsulClient {
  const base = new URL(access.url);
  const isTls = base.protocol === 'https:';
  const agent = isTls ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });

  async function readToken(): Promise<string | null> {
    if (access.tokenFile === null) return access.token;
    return (await readFile(access.tokenFile, 'utf8')).trim();
  }

  async function call(call: ConsulCall): Promise<ConsulAnswer> {
    let token: string | null;
    try {
      token = await readToken();
    } catch (error) {
      return failure('no_token', `the token file could not be read: ${messageOf(error)}`);
    }
    if (call.signal.aborted) return failure('stopped', 'stopped');
    const url = new URL(base.pathname.replace(/\/$/, '') + call.path, base);
    for (const [name, value] of Object.entries(call.query ?? {})) url.searchParams.set(name, value);
    if (access.datacenter !== null) url.searchParams.set('dc', access.datacenter);
    const body = call.body === undefined ? null : JSON.stringify(call.body);
    const deadline = AbortSignal.timeout(Math.ceil(call.timeoutMs));
    const options: RequestOptions = {
      method: call.method,
      agent,
      signal: AbortSignal.any([call.signal, deadline]),
      headers: {
        accept: 'application/json',
        ...(token === null || token === '' ? {} : { 'x-consul-token': token }),
        ...(body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
    };
    const explain = (error: unknown): ConsulAnswer => {
      if (call.signal.aborted) return failure('stopped', 'stopped');
      if (deadline.aborted) return failure('timeout', `no answer within ${Math.round(call.timeoutMs)} ms`);
      const text = messageOf(error);
      return /ECONNRESET|socket hang up/.test(text)
        ? failure('closed', `${text} (${CLOSED_HINT})`)
        : failure('unreachable', text);
    };
    return send(isTls ? httpsRequest : httpRequest, url, options, body, maxBodyBytes, explain);
  }

  return { access, call, readToken, close: () => agent.destroy() };
}

function send(
  request: typeof httpRequest,
  url: URL,
  options: RequestOptions,
  body: string | null,
  maxBodyBytes: number,
  explain: (error: unknown) => ConsulAnswer,
): Promise<ConsulAnswer> {
  return new Promise((resolve) => {
    const outgoing = request(url, options, (incoming) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      incoming.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxBodyBytes) {
          resolve(failure('too_large', `the answer is larger than ${maxBodyBytes} bytes`));
          outgoing.destroy();
        } else chunks.push(chunk);
      });
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ kind: 'answer', status: incoming.statusCode ?? 0, headers: incoming.headers, text });
      });
      // Node reports a body that broke off as an error of the answer; without this listener the call would never end.
      incoming.on('error', (error) => {
        const explained = explain(error);
        const isBroken =
          explained.kind === 'failure' && (explained.reason === 'closed' || explained.reason === 'unreachable');
        resolve(isBroken ? failure('truncated', `the answer broke off after ${bytes} bytes`) : explained);
      });
    });
    outgoing.on('error', (error) => resolve(explain(error)));
    outgoing.end(body ?? undefined);
  });
}

function failure(reason: ConsulFailure, text: string): ConsulAnswer {
  return { kind: 'failure', reason, text };
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // A refused connection to a name with two addresses is an AggregateError without a message of its own.
  const inner = error instanceof AggregateError ? error.errors.map(messageOf).join(', ') : error.message;
  return inner === '' ? error.name : inner;
}
