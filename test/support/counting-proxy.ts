// A proxy before Consul that counts what is asked: how many questions about services there were, and how many wait now.

import { createServer, request as httpRequest } from 'node:http';
import type { Teardown } from './processes.ts';

export interface CountingProxy {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** Questions `GET /v1/health/service/…` so far. */
  asked(): number;
  /** Those that have no answer yet. */
  waiting(): number;
  /** From now on questions about services are answered 500, or passed on again. */
  fail(isFailing: boolean): void;
}

export async function startCountingProxy(t: Teardown, targetUrl: string): Promise<CountingProxy> {
  let asked = 0;
  let waiting = 0;
  let isFailing = false;
  const held = new Set<() => void>();
  const server = createServer((request, response) => {
    const { method = 'GET', url = '/', headers } = request;
    const isQuestion = url.startsWith('/v1/health/service/');
    const refuse = (): void => {
      if (!response.headersSent) response.writeHead(500).end('rpc error: No cluster leader');
    };
    if (isQuestion) {
      asked++;
      waiting++;
      held.add(refuse);
      response.once('close', () => {
        waiting--;
        held.delete(refuse);
      });
      if (isFailing) {
        refuse();
        return;
      }
    }
    const onward = httpRequest(new URL(url, targetUrl), { method, headers, agent: false }, (answer) => {
      if (response.headersSent) return;
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    asked: () => asked,
    waiting: () => waiting,
    fail: (failing) => {
      isFailing = failing;
      if (failing) for (const refuse of [...held]) refuse();
    },
  };
}
