// Idle connections: opens many to one proxy, makes one request on each so that it is a connection in use, and holds them.
// Run pinned, as its own process: `node idle.ts PORT COUNT HOST PATH`; says `ready N` and ends when its input does.

import { connect, type Socket } from 'node:net';

/** Opened at once: less than the listen backlog. */
const BATCH = 100;

function open(port: number, request: string): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => resolve(null));
    socket.once('connect', () => socket.write(request, 'latin1'));
    socket.once('data', () => resolve(socket));
  });
}

async function main(port: number, count: number, host: string, path: string): Promise<void> {
  const request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const sockets: Socket[] = [];
  for (let done = 0; done < count; done += BATCH) {
    const batch = await Promise.all(Array.from({ length: BATCH }, () => open(port, request)));
    for (const socket of batch) if (socket !== null) sockets.push(socket);
  }
  console.log(`ready ${sockets.length}`);
  process.stdin.on('end', () => process.exit(0)).resume();
}

if (import.meta.main) {
  const [port, count, host = '', path = ''] = process.argv.slice(2);
  await main(Number(port), Number(count), host, path);
}
