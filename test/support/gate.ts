// A wire between two processes that a test can cut: while it is cut nothing passes and nothing is refused, as in a network that
// lost its way.

import { connect, createServer, type Socket } from 'node:net';
import type { Teardown } from './processes.ts';

export interface Gate {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** Open connections fall silent, new ones are accepted and stay silent. */
  cut(): void;
  /** Those that fell silent are reset, new ones pass. */
  heal(): void;
}

/** A gate before `targetUrl`. */
export async function startGate(t: Teardown, targetUrl: string): Promise<Gate> {
  const { hostname, port } = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let isCut = false;
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((near) => {
    keep(near);
    if (isCut) {
      near.pause();
      return;
    }
    const far = keep(connect(Number(port), hostname));
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    cut: () => {
      isCut = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
    heal: () => {
      isCut = false;
      for (const socket of sockets) socket.resetAndDestroy();
    },
  };
}
