// Open-loop GETs and POSTs at a fixed rate through one port, as an application with keep-alive sends them; each POST has a path
// of its own, so that whoever executed it can be asked how often.

import { Agent, type IncomingMessage, request } from 'node:http';

export interface Tally {
  sent: number;
  /** Connections that were refused or reset before a request went out; tried again. */
  refusals: number;
  /** What became of GETs that were not answered 200. */
  readonly failures: string[];
  /** Result by path: `200`, status with reason, or error code. */
  readonly posts: Map<string, string>;
}

function reasonOf({ headers }: IncomingMessage): string {
  return String(headers['x-outrigger-reason'] ?? '');
}

/** Every fifth request is a POST. What failed before a connection was there is tried again, as any client does. */
export function startMixedLoad(
  port: number,
  host: string,
  ratePerSecond: number,
): { tally: Tally; stop(): Promise<void> } {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const tally: Tally = { sent: 0, refusals: 0, failures: [], posts: new Map() };
  const pending = new Set<Promise<void>>();
  const ask = (method: string, path: string, tries: number): Promise<void> =>
    new Promise((resolve) => {
      let isConnected = false;
      const note = (result: string) => {
        if (method === 'POST') tally.posts.set(path, result);
        else if (result !== '200') tally.failures.push(`${path}: ${result}`);
        resolve();
      };
      const call = request({ host: '127.0.0.1', port, method, path, agent, headers: { host } }, (response) => {
        response.resume();
        response.on('error', (error) => note(error.message));
        response.on('end', () =>
          note(response.statusCode === 200 ? '200' : `${response.statusCode} ${reasonOf(response)}`),
        );
      });
      call.on('socket', (socket) => {
        if (socket.connecting) socket.once('connect', () => (isConnected = true));
        else isConnected = true;
      });
      call.on('error', (error: NodeJS.ErrnoException) => {
        if (isConnected || tries === 0) note(error.code ?? error.message);
        else {
          tally.refusals += 1;
          setTimeout(() => void ask(method, path, tries - 1).then(resolve), 20);
        }
      });
      call.end(method === 'POST' ? 'body' : undefined);
    });
  const startedAt = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) * ratePerSecond) / 1000);
    for (; tally.sent < due; tally.sent += 1) {
      const one = ask(tally.sent % 5 === 4 ? 'POST' : 'GET', `/${tally.sent}`, 10);
      pending.add(one);
      void one.then(() => pending.delete(one));
    }
  }, 4);
  return {
    tally,
    stop: async () => {
      clearInterval(timer);
      await Promise.all(pending);
      agent.destroy();
    },
  };
}
