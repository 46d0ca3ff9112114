// The npm package http-proxy over three upstreams: `node http-proxy.ts PACKAGE_JSON PORT ORIGIN…`. The package is not one of
// ours: it is used where docs/benchmarks.md's tools are installed.

import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';

interface HttpProxy {
  web(request: IncomingMessage, response: ServerResponse, options: { target: string }): void;
  on(event: 'error', listener: (error: Error, request: IncomingMessage, response: ServerResponse) => void): void;
}

const [packageFile = '', port = '0', ...origins] = process.argv.slice(2);
const { createProxyServer } = createRequire(packageFile)('http-proxy') as {
  createProxyServer(options: object): HttpProxy;
};
const proxy = createProxyServer({
  agent: new Agent({ keepAlive: true, maxSockets: 128 }),
  xfwd: true,
  headers: { 'x-bench': 'on' },
});
proxy.on('error', (_, __, response) => response.writeHead(502).end());
let turn = 0;
const server = createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
  turn = (turn + 1) % origins.length;
  proxy.web(request, response, { target: `http://127.0.0.1:${origins[turn]}` });
});
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
