// A client that writes exactly the bytes it is given and collects exactly those it gets.

import { connect, type Socket } from 'node:net';
import type { Test } from 'tap';

export interface RawClient {
  readonly socket: Socket;
  /** Everything received so far, Latin-1. */
  readonly received: () => string;
  write(text: string): void;
  /** Resolves when `received` satisfies the check; rejects after `ms` or when the connection closed without it. */
  until(check: (received: string) => boolean, ms?: number): Promise<string>;
  /** Resolves with everything when the connection is closed; `ms` bounds the wait. */
  closed(ms?: number): Promise<string>;
  end(): void;
  reset(): void;
}

export async function rawClient(t: Test, port: number): Promise<RawClient> {
  let text = '';
  let isClosed = false;
  const waiters = new Set<() => void>();
  const wake = () => {
    for (const waiter of [...waiters]) waiter();
  };
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true });
  socket.on('error', () => {});
  socket.on('end', () => socket.end());
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    wake();
  });
  socket.on('close', () => {
    isClosed = true;
    wake();
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  t.teardown(() => socket.destroy());
  const wait = (check: () => boolean, ms: number) =>
    new Promise<string>((resolve, reject) => {
      const done = (error: Error | null) => {
        clearTimeout(timer);
        waiters.delete(look);
        if (error === null) resolve(text);
        else reject(error);
      };
      const look = () => {
        if (check()) done(null);
        else if (isClosed) done(new Error(`closed after ${JSON.stringify(text.slice(0, 300))}`));
      };
      const timer = setTimeout(
        () => done(new Error(`${ms} ms passed after ${JSON.stringify(text.slice(0, 300))}`)),
        ms,
      );
      waiters.add(look);
      look();
    });
  return {
    socket,
    received: () => text,
    write: (bytes) => socket.write(bytes, 'latin1'),
    until: (check, ms = 2000) => wait(() => check(text), ms),
    closed: (ms = 2500) => wait(() => isClosed, ms),
    end: () => socket.end(),
    reset: () => socket.resetAndDestroy(),
  };
}

/** Sends one input on its own connection and returns everything until the connection closes. */
export async function exchangeRaw(t: Test, port: number, input: string): Promise<string> {
  const client = await rawClient(t, port);
  client.write(input);
  return client.closed();
}
