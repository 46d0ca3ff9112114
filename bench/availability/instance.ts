// One instance of the service: `node instance.ts PORT`, told what is wrong with it over IPC. Answers after 2 to 10 ms; `/healthz`
// is answered like everything else unless the fault is one that health checks do not see. Tells its parent of every POST it executes.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

export type Mode = 'well' | 'errors' | 'half_errors' | 'slow' | 'reset';

/** What the parent hears: the id of a POST that was executed. */
export interface Executed {
  readonly executed: string;
}

const SLOW_MS = 3_000;
const DRAIN_MS = 1_000;
const BODY = 'x'.repeat(1024);

let mode: Mode = 'well';
let count = 0;

function answer(request: IncomingMessage, response: ServerResponse): void {
  const isCheck = request.url === '/healthz';
  if (mode === 'reset') {
    request.socket.resetAndDestroy();
    return;
  }
  if (!isCheck && request.method === 'POST')
    process.send?.({ executed: String(request.headers['x-id']) } satisfies Executed);
  count += 1;
  const fails = !isCheck && (mode === 'errors' || (mode === 'half_errors' && count % 2 === 0));
  response.statusCode = !fails ? 200 : mode === 'errors' ? 500 : 503;
  response.end(BODY);
}

const server = createServer((request, response) => {
  request.resume();
  setTimeout(() => answer(request, response), mode === 'slow' ? SLOW_MS : 2 + Math.random() * 8);
});
server.keepAliveTimeout = 600_000;
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.send?.('ready'));
process.on('message', (told: Mode) => {
  mode = told;
});
// As a careful application ends: it takes no new connections, answers what is under way and says `Connection: close`.
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(0), DRAIN_MS);
});
process.on('disconnect', () => process.exit(0));
