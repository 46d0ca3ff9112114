// Counts behind error budgets with two control planes over one Consul: both show the sum, and over deaths and departures no event is
// counted twice or lost.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { startControlPlaneProcess } from '../support/control-plane-process.ts';
import { Callers, isWithin, shownBudget } from '../support/counting-callers.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

t.test(
  'Consul: two control planes, the one with the agents is killed, and comes back',
  { timeout: 115_000 },
  async (t) => {
    if (consulOrFail(t) === null) return;
    const consul = await startConsul(t);
    const folders = [temporaryFolder(t), temporaryFolder(t)];
    const ports = await freePorts(2);
    const start = (index: number) =>
      startControlPlaneProcess(t, {
        folder: folders[index] ?? '',
        store: { consul: { url: consul.url } },
        port: ports[index] ?? 0,
      });
    const [first, second] = [await start(0), await start(1)];
    const callers = new Callers(t, [first.url, second.url]);
    const settled = async (urls: readonly string[], text: string): Promise<void> => {
      let last = '';
      await until(
        async () => {
          await callers.repeat();
          const all = await Promise.all(urls.map(shownBudget));
          last = JSON.stringify({ all, said: callers.said });
          for (const one of all) if (!isWithin(one, callers.said)) throw new Error(`more than was said: ${last}`);
          await sleep(500);
          return all.every((one) => one.good === callers.said.good && one.bad === callers.said.bad);
        },
        90_000,
        () => last,
      );
      t.pass(`${text}: ${last}`);
      t.comment(`${text}: ${last}`);
    };
    callers.run();
    await sleep(15_000);
    await callers.pause();
    await settled([first.url, second.url], 'both show what all agents said');
    callers.run();
    await sleep(3_000);
    await first.process.end('SIGKILL');
    await sleep(3_000);
    await callers.pause();
    await settled([second.url], 'the other one takes over what was kept, and books the rest once');
    const again = await start(0);
    callers.run();
    await sleep(3_000);
    await second.process.end('SIGTERM');
    await sleep(3_000);
    await callers.pause();
    await settled([again.url], 'and back, without a kill');
  },
);
