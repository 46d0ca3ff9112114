// Rolling restarts at 500 requests a second: of every upstream instance on its own port, and of the agent itself on its own.
// No GET fails, and no POST is executed twice.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startMixedLoad } from '../support/mixed-load.ts';
import { freePorts, type RunningProcess, startNode, temporaryFolder } from '../support/processes.ts';

const RATE = 500;

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
  const load = startMixedLoad(port, 'a', RATE);
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
