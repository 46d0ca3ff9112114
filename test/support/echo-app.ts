// A small application to stand behind an agent: `node echo-app.ts PORT NAME` answers every request with its name, in a
// process of its own so that a test can kill it. GET /healthz is 200; POST answers with the number of body bytes. GET /executed
// lists the paths of all POSTs but `/`, in order, as JSON. After GET /break all but /healthz is answered 503.

import { createServer } from 'node:http';

const port = Number(process.argv[2]);
const name = process.argv[3] ?? 'app';
if (!Number.isInteger(port)) throw new Error(`echo-app: a port is needed, got ${process.argv[2]}`);

const executed: string[] = [];
let isBroken = false;
const server = createServer((request, response) => {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  request.on('end', () => {
    if (request.method === 'POST' && request.url !== '/') executed.push(request.url ?? '');
    const body =
      request.method === 'POST' ? String(bytes) : request.url === '/executed' ? JSON.stringify(executed) : name;
    response.writeHead(isBroken && request.url !== '/healthz' ? 503 : 200, {
      'content-type': 'text/plain',
      'x-app': name,
      'content-length': Buffer.byteLength(body),
    });
    response.end(body);
    if (request.url === '/break') isBroken = true;
  });
});
server.keepAliveTimeout = 65_000;
server.listen(port, '127.0.0.1', () => process.stdout.write(`listening ${port}\n`));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
// The parent holds this pipe; its end is this process's end, so nothing is left behind.
process.stdin.resume().on('end', () => process.exit(0));
