// An instance of a service in a process of its own, whose behaviour a test changes while it runs. Echoes the nonce of each request,
// so that an answer that belongs to another request is noticed.
//
//   fork(test/support/chaos-app.ts, [PORT])      sends { port }; takes Behaviour messages

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Behaviour {
  /** ms before each answer. */
  readonly delayMs?: number;
  /** Status of the share `badShare` of the answers; all others are 200. */
  readonly badStatus?: number;
  readonly badShare?: number;
  /** `reset` and `cut` break off in the midst of a body, `garbage` is no HTTP. */
  readonly manner?: 'whole' | 'reset' | 'cut' | 'garbage';
}

let behaviour: Behaviour = {};
let served = 0;

const server = createServer((request, response) => {
  let body = '';
  request.setEncoding('utf8').on('data', (text: string) => {
    body += text;
  });
  request.on('end', () => {
    served += 1;
    const { delayMs = 0 } = behaviour;
    if (delayMs === 0) answer(request, response, body);
    else setTimeout(() => answer(request, response, body), delayMs);
  });
});

function answer(request: IncomingMessage, response: ServerResponse, body: string): void {
  const { badStatus = 500, badShare = 0, manner = 'whole' } = behaviour;
  const text = JSON.stringify({ nonce: request.headers['x-nonce'], body, from: process.pid });
  const socket = request.socket;
  if (manner === 'garbage') {
    socket.end('220 mail.example ESMTP ready\r\n');
    return;
  }
  if (manner === 'whole') {
    response.statusCode = Math.random() < badShare ? badStatus : 200;
    response.setHeader('content-length', Buffer.byteLength(text));
    response.end(text);
    return;
  }
  response.setHeader('content-length', Buffer.byteLength(text) + 1000);
  response.write(text, () => {
    if (manner === 'reset') socket.resetAndDestroy();
    else socket.destroySoon();
  });
}

process.on('message', (message: Behaviour | 'served') => {
  if (message === 'served') process.send?.({ served });
  else {
    behaviour = message;
    process.send?.({ served });
  }
});
process.on('disconnect', () => process.exit(0));
// As an instance that is stopped in order: what is under way ends, idle connections are closed.
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
