// A steerable origin: a raw TCP server that speaks exactly the bytes a test tells it to, and remembers every byte it got.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';

export interface OriginRequest {
  /** Head and whatever came with it, Latin-1. */
  readonly text: string;
  readonly socket: Socket;
  /** Requests on this connection so far, from 1. */
  readonly turn: number;
  readonly connection: number;
}

/** What to do with a request: text is written; a function may do anything. */
export type OriginAnswer = string | ((request: OriginRequest) => void);

export interface Origin {
  readonly port: number;
  readonly host: string;
  answer: OriginAnswer;
  /** All bytes of each connection, Latin-1, in order of accept. */
  readonly received: string[];
  /** Requests seen: heads that ended in an empty line. */
  readonly requests: () => number;
  readonly sockets: Socket[];
  /** Connections that are open now. */
  readonly open: () => number;
  stop(): Promise<void>;
}

export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Starts an origin on a free port. A request is answered when its head and its declared body are there. */
export async function startOrigin(t: Test, answer: OriginAnswer = OK, port = 0): Promise<Origin> {
  const received: string[] = [];
  const sockets: Socket[] = [];
  const live = new Set<Socket>();
  let requests = 0;
  const origin = { answer };
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const connection = sockets.push(socket) - 1;
    live.add(socket);
    received[connection] = '';
    let unread = '';
    let turn = 0;
    socket.on('error', () => {});
    socket.on('close', () => live.delete(socket));
    socket.on('end', () => socket.end());
    socket.on('data', (bytes: Buffer) => {
      received[connection] += bytes.toString('latin1');
      unread += bytes.toString('latin1');
      for (;;) {
        const length = messageLength(unread);
        if (length < 0) return;
        const text = unread.slice(0, length);
        unread = unread.slice(length);
        requests += 1;
        turn += 1;
        const { answer: now } = origin;
        if (typeof now === 'string') socket.write(now, 'latin1');
        else now({ text, socket, turn, connection });
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const stop = () =>
    new Promise<void>((resolve) => {
      for (const socket of live) socket.destroy();
      server.close(() => resolve());
    });
  t.teardown(stop);
  const bound = (server.address() as AddressInfo).port;
  return Object.assign(origin, {
    port: bound,
    host: '127.0.0.1',
    received,
    requests: () => requests,
    sockets,
    open: () => live.size,
    stop,
  });
}

/** Length of the first whole message of our own writing, or -1. Origins in tests only ever hear the proxy's canonical form. */
function messageLength(text: string): number {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return -1;
  const head = text.slice(0, end).toLowerCase();
  if (head.includes('\r\nexpect: 100-continue')) return end + 4;
  const declared = /\r\ncontent-length: (\d+)/.exec(head);
  if (declared !== null) {
    const length = end + 4 + Number(declared[1]);
    return text.length >= length ? length : -1;
  }
  if (!head.includes('\r\ntransfer-encoding: chunked')) return end + 4;
  const last = text.indexOf('0\r\n\r\n', end + 2);
  return last < 0 ? -1 : last + 5;
}
