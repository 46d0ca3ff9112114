// One run of an HTTP or TCP check against a real address. Never rejects: every end is a status and a line of output.

import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import type { Probe } from './definitions.ts';
import type { CheckStatus } from './state/model.ts';

export interface ProbeResult {
  readonly status: CheckStatus;
  readonly output: string;
}

export type RunProbe = (
  probe: Exclude<Probe, { kind: 'ttl' }>,
  maxOutputBytes: number,
  signal: AbortSignal,
) => Promise<ProbeResult>;

/** 2xx passes, 429 warns, anything else and any failure is critical. Redirects are answers, not followed. */
export const runProbe: RunProbe = (probe, maxOutputBytes, signal) => {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(probe.timeoutMs)]);
  return probe.kind === 'http' ? probeHttp(probe, maxOutputBytes, limit) : probeTcp(probe, limit);
};

function probeHttp(
  probe: Extract<Probe, { kind: 'http' }>,
  maxOutputBytes: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const failed = (error: unknown): void =>
      resolve({ status: 'critical', output: `${probe.method} "${probe.url}": ${describe(error, signal)}` });
    const headers: Record<string, string | string[]> = {
      'User-Agent': 'Outrigger Registry Health Check',
      Accept: 'text/plain, text/*, */*',
    };
    for (const [name, values] of Object.entries(probe.header)) headers[name] = [...values];
    const send = probe.url.startsWith('https:') ? httpsRequest : httpRequest;
    try {
      const outgoing = send(probe.url, {
        method: probe.method,
        headers,
        agent: false,
        signal,
        ...(probe.isInsecure ? { rejectUnauthorized: false } : {}),
      });
      outgoing.on('error', failed);
      outgoing.on('response', (incoming) => {
        const code = incoming.statusCode ?? 0;
        const chunks: Buffer[] = [];
        let size = 0;
        const done = (): void => {
          const body = Buffer.concat(chunks).subarray(0, maxOutputBytes).toString('utf8');
          const output = `HTTP ${probe.method} ${probe.url}: ${code} ${incoming.statusMessage ?? ''} Output: ${body}`;
          resolve({ status: statusOf(code), output });
          outgoing.destroy();
        };
        incoming.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size >= maxOutputBytes) done();
        });
        incoming.on('end', done);
        incoming.on('error', failed);
      });
      outgoing.end(probe.body === '' ? undefined : probe.body);
    } catch (error) {
      // node:http throws for headers that cannot be sent.
      failed(error);
    }
  });
}

function statusOf(code: number): CheckStatus {
  if (code >= 200 && code <= 299) return 'passing';
  return code === 429 ? 'warning' : 'critical';
}

function probeTcp(probe: Extract<Probe, { kind: 'tcp' }>, signal: AbortSignal): Promise<ProbeResult> {
  const target = `${probe.host}:${probe.port}`;
  return new Promise((resolve) => {
    const end = (status: CheckStatus, output: string): void => {
      socket.destroy();
      resolve({ status, output });
    };
    const socket = connect({ host: probe.host, port: probe.port, signal });
    socket.on('connect', () => end('passing', `TCP connect ${target}: Success`));
    socket.on('error', (error) => end('critical', `dial tcp ${target}: ${describe(error, signal)}`));
  });
}

function describe(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'no answer within the timeout';
  return error instanceof Error ? error.message : String(error);
}
