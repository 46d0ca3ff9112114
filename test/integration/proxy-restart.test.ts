// Rolling restarts at 500 requests a second: of every upstream instance on its own port, and of the agent itself on its own.
// No GET fails, and no POST is executed twice.

import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { freePorts, type RunningProcess, startNode, temporaryFolder } from '../support/processes.ts';

const RATE = 500;

interface Tally {
  sent: number;
  refusals: number;
  readonly failures: string[];
  readonly posts: Map<string, string>;
}

function reasonOf({ headers }: IncomingMessage): string {
  return String(headers['x-outrigger-reason'] ?? '');
}

/** Every fifth request is a POST. What failed before a connection was there is tried again, as any client does. */
function startLoad(port: number): { tally: Tally; stop(): Promise<void> } {
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
      const call = request({ host: '127.0.0.1', port, method, path, agent, headers: { host: 'a' } }, (response) => {
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
    const due = Math.floor(((performance.now() - startedAt) * RATE) / 1000);
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

t.test('instances and agent are restarted on their ports under load', async (t) => {
  const ports = await freePorts(4);
  const [port = 0, ...originPorts] = ports;
  const file = join(temporaryFolder(t), 'executed');
  writeFileSync(file, '');
  const startOrigin = async (originPort: number): Promise<RunningProcess> => {
    const origin = startNode(t, ['test/support/counting-origin.ts', String(originPort), file]);
    await origin.waitFor('listening');
    return origin;
  };
  const startAgent = async (): Promise<RunningProcess> => {
    const agent = startNode(t, ['test/support/small-agent.ts', originPorts.join(','), String(port), 'reuse']);
    await agent.waitFor(String(port));
    return agent;
  };
  const origins = await Promise.all(originPorts.map(startOrigin));
  const first = await startAgent();
  const load = startLoad(port);
  await new Promise((resolve) => setTimeout(resolve, 500));

  for (const [index, origin] of origins.entries()) {
    t.equal(await origin.end('SIGTERM'), 0);
    await startOrigin(originPorts[index] ?? 0);
    await new Promise((resolve) => setTimeout(resolve, 800)); // until its ejection is over
  }
  t.same(load.tally.failures, [], 'no GET fails while every instance is restarted');

  // The new process listens before the old one stops: the kernel shares the port out between the two.
  await startAgent();
  t.equal(await first.end('SIGTERM'), 0);
  await new Promise((resolve) => setTimeout(resolve, 500));
  await load.stop();

  const { tally } = load;
  t.same(tally.failures, [], 'no GET fails while the agent is restarted');
  const executed = readFileSync(file, 'utf8').trim().split('\n');
  t.equal(new Set(executed).size, executed.length, 'no POST is executed twice');
  const failed = [...tally.posts].filter(([, result]) => result !== '200');
  t.ok(executed.length >= tally.posts.size - failed.length, 'every POST that was answered was executed');
  t.comment(
    `${tally.sent} requests, ${tally.posts.size} POSTs, ${failed.length} told of a failure, ${tally.refusals} refused connections`,
  );
  t.ok(failed.length <= tally.posts.size / 50, JSON.stringify(failed));
});
