// @fastify/http-proxy over three upstreams: `node fastify-http-proxy.ts PORT ORIGIN…`. Its own retry is off: it would repeat a
// GET that met 503 ten times.

import proxy from '@fastify/http-proxy';
import fastify from 'fastify';

const [port, ...origins] = process.argv.slice(2).map(Number);
const app = fastify({ keepAliveTimeout: 600_000 });
let turn = 0;
await app.register(proxy, {
  upstream: '',
  undici: { connections: 128, pipelining: 1, keepAliveTimeout: 60_000 },
  replyOptions: {
    retryDelay: () => null,
    getUpstream: () => {
      turn = (turn + 1) % origins.length;
      return `http://127.0.0.1:${origins[turn]}`;
    },
    rewriteRequestHeaders: (_, headers) => ({ ...headers, 'x-bench': 'on' }),
  },
});
await app.listen({ host: '127.0.0.1', port: port ?? 0, backlog: 4096 });
