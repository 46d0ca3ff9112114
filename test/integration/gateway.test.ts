// The Fastify gateway: nothing fails when an upstream dies, and every trap of @fastify/http-proxy is closed.

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import t, { type Test } from 'tap';
import type { PolicyDocument } from '../../contract/policy/policy.ts';
import { createGateway } from '../../examples/gateway/gateway.ts';
import { forwardedHeaders } from '../../gateway/fastify.ts';
import { failureOf } from '../../gateway/mesh-call.ts';

const KEY = 'a-key-of-some-length';
const ORIGIN = 'https://shop.example';

interface Upstream {
  readonly port: number;
  readonly seen: { url: string; headers: IncomingMessage['headers'] }[];
  kill(): void;
}

async function startUpstream(
  t: Test,
  answer: (incoming: IncomingMessage, response: ServerResponse) => void,
): Promise<Upstream> {
  const seen: Upstream['seen'] = [];
  const server: Server = createServer((incoming, response) => {
    seen.push({ url: incoming.url ?? '', headers: incoming.headers });
    answer(incoming, response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  const kill = (): void => {
    server.close();
    server.closeAllConnections();
  };
  t.teardown(kill);
  return { port: typeof address === 'object' ? (address?.port ?? 0) : 0, seen, kill };
}

const well = (_incoming: IncomingMessage, response: ServerResponse): void => void response.end('well');

async function startGateway(t: Test, upstreams: readonly Upstream[], spec: PolicyDocument['spec'] = {}) {
  const document: PolicyDocument = {
    apiVersion: 'outrigger.dev/v1',
    kind: 'ServicePolicy',
    metadata: { name: 'orders' },
    spec,
  };
  const endpoints = upstreams.map(({ port }) => ({ host: '127.0.0.1', port }));
  const events: string[] = [];
  const app = await createGateway({
    key: KEY,
    origin: ORIGIN,
    mesh: {
      caller: 'gateway',
      routes: [{ prefix: '/orders', service: 'orders', endpoints }],
      policies: [document],
      onEvent: ({ text }) => void events.push(text),
    },
  });
  t.teardown(() => app.close());
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`${url}${path}`, { ...init, headers: { authorization: `Bearer ${KEY}`, ...init.headers } });
  return { app, url, ask, events };
}

t.test('20 clients, an upstream killed in the middle: not one GET fails', { timeout: 60_000 }, async (t) => {
  const upstreams = [await startUpstream(t, well), await startUpstream(t, well), await startUpstream(t, well)];
  const { ask, events } = await startGateway(t, upstreams);
  let done = 0;
  const failed: unknown[] = [];
  const client = async (): Promise<void> => {
    for (let nth = 0; nth < 50; nth++) {
      try {
        const answer = await ask('/orders/7');
        if (answer.status !== 200 || (await answer.text()) !== 'well') failed.push(answer.status);
      } catch (error) {
        failed.push(error);
      }
      if (++done === 300) upstreams[1]?.kill();
    }
  };
  await Promise.all(Array.from({ length: 20 }, client));
  t.equal(done, 1000);
  t.same(failed, []);
  t.ok(
    (upstreams[1]?.seen.length ?? 0) > 0 && (upstreams[0]?.seen.length ?? 0) > 200,
    'it was asked before, the others after',
  );
  t.ok(
    events.some((text) => text.includes('ejected')),
    events.join('\n'),
  );
});

t.test('the example asks for a key and answers pages of one origin', async (t) => {
  const upstream = await startUpstream(t, well);
  const { url, ask } = await startGateway(t, [upstream]);
  t.equal((await fetch(`${url}/orders/`)).status, 401);
  t.equal(upstream.seen.length, 0, 'nothing reached the mesh');
  const preflight = { method: 'OPTIONS', headers: { origin: ORIGIN, 'access-control-request-method': 'GET' } };
  const allowed = await fetch(`${url}/orders/`, preflight);
  t.equal(allowed.status, 204);
  t.equal(allowed.headers.get('access-control-allow-origin'), ORIGIN);
  const other = await ask('/orders/', { headers: { origin: 'https://evil.example' } });
  t.equal(other.headers.get('access-control-allow-origin'), null);
  t.equal((await ask('/orders/7?x=1')).status, 200);
  t.equal(upstream.seen.at(-1)?.url, '/7?x=1');
});

t.test('trap 1: a 503 is repeated as the policy says, not ten times', async (t) => {
  const upstream = await startUpstream(
    t,
    (_, response) => void response.writeHead(503, { 'retry-after': '5' }).end('no'),
  );
  const none = await startGateway(t, [upstream], { retries: { attempts: 0 } });
  const answer = await none.ask('/orders/');
  t.equal(answer.status, 503);
  t.equal(answer.headers.get('retry-after'), '5');
  t.equal(upstream.seen.length, 1);
  const good = await startUpstream(t, well);
  const twice = await startGateway(t, [upstream, good], { retries: { attempts: 1, on: ['gatewayError'] } });
  for (let nth = 0; nth < 4; nth++) {
    const found = await twice.ask('/orders/');
    t.equal(found.status, 200);
    t.equal(found.headers.get('retry-after'), null, 'no field of the answer that was left behind');
  }
});

t.test('trap 2: a POST that was sent is not sent again; one that never left is', async (t) => {
  const dropping = await startUpstream(t, ({ socket }) => void socket.destroy());
  const { ask } = await startGateway(t, [dropping, dropping]);
  t.match(await ask('/orders/', { method: 'POST', body: 'a' }), { status: 502 });
  t.equal(dropping.seen.length, 1);
});

t.test('trap 3: Keep-Alive and other fields of one connection are not passed on', async (t) => {
  const upstream = await startUpstream(t, well);
  const { url } = await startGateway(t, [upstream]);
  const status = await new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${KEY}`,
      'keep-alive': 'timeout=5',
      connection: 'x-private',
      'x-private': '1',
      te: 'trailers',
      'x-forwarded-for': '6.6.6.6',
    };
    request(`${url}/orders/`, { headers }, (response) => resolve(response.resume().statusCode))
      .once('error', reject)
      .end();
  });
  t.equal(status, 200);
  const [seen] = upstream.seen;
  t.equal(seen?.headers['x-private'], undefined);
  t.equal(seen?.headers.te, undefined);
  t.equal(seen?.headers['x-forwarded-for'], '127.0.0.1', 'who it is, not who it says it is');
  t.same(forwardedHeaders({ connection: 'a, B', a: '1', b: '2', c: '3' }, undefined), { c: '3' });
});

t.test('trap 4: a dead upstream is 503 or 502 with a reason, and a slow one 504', { timeout: 30_000 }, async (t) => {
  const dead = await startUpstream(t, well);
  dead.kill();
  const refused = await (await startGateway(t, [dead])).ask('/orders/');
  t.equal(refused.status, 503);
  t.equal(refused.headers.get('x-outrigger-reason'), 'upstream_connect_failure');
  const dropping = await startUpstream(t, ({ socket }) => void socket.destroy());
  const reset = await (await startGateway(t, [dropping])).ask('/orders/');
  t.equal(reset.status, 502);
  t.equal(reset.headers.get('x-outrigger-reason'), 'upstream_reset');
  const silent = await startUpstream(t, () => {});
  const spec = { timeouts: { backendRequest: '100ms' }, retries: { attempts: 0 } };
  const slow = await (await startGateway(t, [silent], spec)).ask('/orders/');
  t.equal(slow.status, 504);
  t.equal(slow.headers.get('x-outrigger-reason'), 'upstream_timeout');
});

t.test('trap 5: paths that climb out of the prefix do not', async (t) => {
  const upstream = await startUpstream(t, well);
  const { url } = await startGateway(t, [upstream]);
  for (const path of ['/orders/../admin', '/orders/%2e%2e/admin', '/orders/..%2fadmin']) {
    await new Promise((resolve, reject) => {
      const { port } = new URL(url);
      const sent = request(
        { host: '127.0.0.1', port, path, headers: { authorization: `Bearer ${KEY}` } },
        (response) => {
          response.resume().once('end', () => resolve(undefined));
        },
      );
      sent.once('error', reject).end();
    });
  }
  for (const seen of upstream.seen) t.notMatch(decodeURIComponent(seen.url), /\.\.|^\/admin/);
});

t.test('intentions, a client that leaves, and a service that nobody serves', { timeout: 30_000 }, async (t) => {
  const silent = await startUpstream(t, () => {});
  const { ask } = await startGateway(t, [silent]);
  const leaving = new AbortController();
  const asked = ask('/orders/', { signal: leaving.signal }).catch((error: Error) => error.name);
  while (silent.seen.length === 0) await new Promise((done) => setTimeout(done, 5));
  leaving.abort();
  t.equal(await asked, 'AbortError');
  const empty = await startGateway(t, []);
  const none = await empty.ask('/orders/');
  t.equal(none.status, 503);
  t.equal(none.headers.get('x-outrigger-reason'), 'no_healthy_upstream');
});

t.test('what reply-from says of a failure is traced to what happened', async (t) => {
  const wrapped = (code: string, message = code) =>
    new Error('x', { cause: Object.assign(new Error(message), { code }) });
  t.match(failureOf(wrapped('ECONNREFUSED')), { kind: 'connect_failure', isSent: false, status: 503 });
  t.match(failureOf(wrapped('UND_ERR_CONNECT_TIMEOUT')), { kind: 'connect_timeout', isSent: false });
  t.match(failureOf(wrapped('UND_ERR_HEADERS_TIMEOUT')), { kind: 'timeout', status: 504 });
  t.match(failureOf(wrapped('UND_ERR_SOCKET')), { kind: 'reset', isSent: true, status: 502 });
  t.match(failureOf(wrapped('HPE_INVALID_CONSTANT')), { kind: 'protocol_error', status: 502 });
});
