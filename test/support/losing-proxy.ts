// A proxy before Consul that loses transactions: the answer, after Consul has done what it was told, or the request, before Consul heard
// of it. To whoever waits both are the same silence.

import { createServer, request as httpRequest } from 'node:http';
import type { Teardown } from './processes.ts';

export interface LosingProxy {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** From now on loses what is about `part` of each transaction that names the key, or nothing. */
  lose(part: 'answer' | 'request' | 'nothing', key?: string): void;
  /** How many were lost so far. */
  lost(): number;
}

export async function startLosingProxy(t: Teardown, targetUrl: string): Promise<LosingProxy> {
  let losing: 'answer' | 'request' | 'nothing' = 'nothing';
  let losingKey = '';
  let lost = 0;
  const server = createServer((request, response) => {
    const { method = 'GET', url = '/', headers } = request;
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const isLost = losing !== 'nothing' && url.startsWith('/v1/txn') && body.includes(`"${losingKey}`);
      if (isLost) lost++;
      if (isLost && losing === 'request') return;
      const onward = httpRequest(new URL(url, targetUrl), { method, headers, agent: false }, (answer) => {
        if (isLost) {
          answer.resume();
          return;
        }
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      onward.on('error', () => response.destroy());
      // Whoever gave up waiting must not take back what Consul is doing.
      if (!isLost) response.on('close', () => onward.destroy());
      onward.end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    lose: (part, key = '') => {
      losing = part;
      losingKey = key;
    },
    lost: () => lost,
  };
}
