// Counts behind error budgets over the death of a control plane with a store of its own: never more than the agents said, and nothing
// lost that an agent which lives on can still say.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { EXCHANGE_EVERY_MS, LOOK_EVERY_MS } from '../../control-plane/push/slo-watch.ts';
import { startControlPlaneProcess } from '../support/control-plane-process.ts';
import { Callers, isWithin, shownBudget } from '../support/counting-callers.ts';
import { freePorts, temporaryFolder } from '../support/processes.ts';

t.test(
  'SQLite: killed between two reports, it goes on from what was kept and books the rest once',
  { timeout: 90_000 },
  async (t) => {
    const folder = temporaryFolder(t);
    const [port = 0] = await freePorts(1);
    const store = { sqlite: `${folder}/policies.db` };
    let plane = await startControlPlaneProcess(t, { folder, store, port });
    const callers = new Callers(t, [plane.url]);
    for (let death = 0; death < 2; death++) {
      callers.run();
      await sleep(EXCHANGE_EVERY_MS + LOOK_EVERY_MS);
      const before = callers.said;
      await sleep(EXCHANGE_EVERY_MS + LOOK_EVERY_MS + death * 700);
      await plane.process.end('SIGKILL');
      await callers.pause();
      plane = await startControlPlaneProcess(t, { folder, store, port });
      const kept = await shownBudget(plane.url);
      t.comment(
        `said ${JSON.stringify(callers.said)}, kept ${JSON.stringify(kept)}, said 7 s before the end ${JSON.stringify(before)}`,
      );
      t.ok(isWithin(kept, callers.said), 'never more than was said');
      t.ok(isWithin(before, kept), `what was said ${EXCHANGE_EVERY_MS + LOOK_EVERY_MS} ms before is there`);
      await callers.repeat();
      t.match(await shownBudget(plane.url), callers.said, 'the agents that live on say the rest, once');
    }
  },
);
