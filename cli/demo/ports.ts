// Finds free ports of loopback for processes that will be started in a moment.

import { createServer } from 'node:net';
import type { Random } from '../../agent/clock.ts';

/** Below Linux' range for outgoing connections (32768–60999): nothing takes one of these between the search and the start. */
const LOWEST = 20_000;
const HIGHEST = 32_000;
const MAX_TRIES = 500;

/** @returns `count` different ports on which 127.0.0.1 accepted a listener just now */
export async function findFreePorts(count: number, random: Random): Promise<number[]> {
  const found = new Set<number>();
  for (let tries = 0; found.size < count && tries < count + MAX_TRIES; tries++) {
    const port = LOWEST + Math.floor(random() * (HIGHEST - LOWEST));
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  if (found.size < count)
    throw new Error(`found only ${found.size} of ${count} free ports between ${LOWEST} and ${HIGHEST}`);
  return [...found];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
