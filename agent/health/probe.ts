// One active health check over a connection of its own: a GET, or a TCP connection that is taken. Decides nothing but whether
// it passed. A kept connection would hide that no new one can be opened.

import { request } from 'node:http';
import { connect } from 'node:net';
import type { HealthCheckPolicy } from '#contract/policy/outlier.ts';
import type { Endpoint } from '../core/endpoint.ts';
import type { CheckResult } from '../core/outlier/checks.ts';

/** A check under way. */
export interface Probe {
  /** Resolves once, never rejects. */
  readonly result: Promise<CheckResult>;
  /** Ends it at once; the result is then of no interest. */
  cancel(): void;
}

/**
 * @param service  named in `Host`, as a request through the mesh would
 * @param policy   `type` is not `off`
 */
export function startProbe(endpoint: Endpoint, service: string, policy: HealthCheckPolicy): Probe {
  return policy.type === 'tcp' ? startTcp(endpoint, policy) : startHttp(endpoint, service, policy);
}

function startHttp({ address, port }: Endpoint, service: string, policy: HealthCheckPolicy): Probe {
  const call = request({
    host: address,
    port,
    path: policy.path,
    agent: false,
    headers: { host: service, 'user-agent': 'outrigger-health-check', connection: 'close' },
  });
  return settle(policy.timeoutMs, call, (pass, fail) => {
    call.on('response', ({ statusCode = 0 }) => {
      if (policy.expectedStatuses.includes(statusCode)) pass(`answered ${statusCode}`);
      else fail(`answered ${statusCode}`);
    });
    call.end();
  });
}

function startTcp({ address, port }: Endpoint, { timeoutMs }: HealthCheckPolicy): Probe {
  const socket = connect({ host: address, port });
  return settle(timeoutMs, socket, (pass) => {
    socket.on('connect', () => pass('took the connection'));
  });
}

interface Channel {
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
  destroy(): unknown;
}

/** Joins the ends that a check can come to: an answer, an error, no time left. The first one counts. */
function settle(
  timeoutMs: number,
  channel: Channel,
  listen: (pass: (text: string) => void, fail: (text: string) => void) => void,
): Probe {
  const { promise, resolve } = Promise.withResolvers<CheckResult>();
  const end = (isPassed: boolean, text: string): void => {
    clearTimeout(timer);
    resolve({ isPassed, text });
    channel.destroy();
  };
  const timer = setTimeout(() => end(false, `no answer within ${timeoutMs} ms`), timeoutMs);
  timer.unref();
  // Stays after the end: destroying a channel under way raises one more error.
  channel.on('error', (error) => end(false, words(error)));
  listen(
    (text) => end(true, text),
    (text) => end(false, text),
  );
  return { result: promise, cancel: () => end(false, 'canceled') };
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'connection timed out',
  ENOTFOUND: 'address not found',
};

/** Error messages of Node name addresses and ports; a parser's code says enough. */
function words({ code }: NodeJS.ErrnoException): string {
  return WORDS[code ?? ''] ?? `failed with ${code ?? 'an unknown error'}`;
}
