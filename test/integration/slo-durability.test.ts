// Counts behind error budgets over the death of control planes: never more than the agents said, and nothing lost that an agent which
// lives on can still say. With a store of its own, and with several control planes over one Consul.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { NO_FAILURES } from '#contract/failures.ts';
import type { SloView } from '../../control-plane/core/slo/book.ts';
import { EXCHANGE_EVERY_MS, LOOK_EVERY_MS } from '../../control-plane/push/slo-watch.ts';
import { ask, orderReport } from '../support/control-plane-client.ts';
import { startControlPlaneProcess } from '../support/control-plane-process.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

const AGENTS = 5;
const REPORT_EVERY_MS = 200;

interface Events {
  readonly good: number;
  readonly bad: number;
}

interface Caller {
  urls: readonly string[];
  good: number;
  bad: number;
  sequence: number;
}

/** Agents that call payments, ten good and one bad request a report, and go on to the next address when one does not answer. */
class Callers {
  readonly #startedAtEpochMs = Date.now();
  readonly #callers: Caller[];
  #timer: NodeJS.Timeout | null = null;
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(t: Test, urls: readonly string[]) {
    this.#callers = Array.from({ length: AGENTS }, () => ({ urls, good: 0, bad: 0, sequence: 0 }));
    t.teardown(() => this.pause());
  }

  get said(): Events {
    const sum = { good: 0, bad: 0 };
    for (const { good, bad } of this.#callers) {
      sum.good += good;
      sum.bad += bad;
    }
    return sum;
  }

  run(): void {
    this.#timer = setInterval(() => {
      this.#underWay = Promise.all([
        this.#underWay,
        ...this.#callers.map((caller, index) => this.#report(caller, index, 1)),
      ]);
    }, REPORT_EVERY_MS);
  }

  async pause(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#underWay;
  }

  /** They report what they counted so far, and nothing new. */
  async repeat(): Promise<void> {
    await Promise.all(this.#callers.map((caller, index) => this.#report(caller, index, 0)));
  }

  async #report(caller: Caller, index: number, times: number): Promise<void> {
    caller.good += 10 * times;
    caller.bad += times;
    const { good, bad, urls } = caller;
    const counts = { requests: good + bad, successes: good, failures: { ...NO_FAILURES, answered: bad } };
    const edge = { direction: 'outbound', source: 'orders', destination: 'payments', retries: 0, inFlight: 0 } as const;
    const sequence = ++caller.sequence;
    const report = orderReport(sequence, { startedAtEpochMs: this.#startedAtEpochMs, edges: [{ ...edge, ...counts }] });
    const [first = ''] = urls;
    try {
      await ask(`${first}/v1/agents/orders-${index}/reports`, 'POST', report);
    } catch {
      // It is dead, or died before it answered: the next report goes to the next one.
      if (caller.urls[0] === first) caller.urls = [...urls.slice(1), first];
    }
  }
}

async function shown(url: string): Promise<Events & { readonly accounts: SloView['accounts'] | null }> {
  const { status, body } = await ask(`${url}/v1/slo/payments`, 'GET');
  if (status !== 200) return { good: 0, bad: 0, accounts: null };
  const { good, bad, accounts } = body as unknown as SloView;
  return { good, bad, accounts };
}

function isWithin(few: Events, many: Events): boolean {
  return few.good <= many.good && few.bad <= many.bad;
}

t.test(
  'SQLite: killed between two reports, it goes on from what was kept and books the rest once',
  { timeout: 90_000 },
  async (t) => {
    const folder = temporaryFolder(t);
    const [port = 0] = await freePorts(1);
    const store = { sqlite: `${folder}/policies.db` };
    let plane = await startControlPlaneProcess(t, { folder, store, port });
    const callers = new Callers(t, [plane.url]);
    for (let death = 0; death < 3; death++) {
      callers.run();
      await sleep(EXCHANGE_EVERY_MS + LOOK_EVERY_MS);
      const before = callers.said;
      await sleep(EXCHANGE_EVERY_MS + LOOK_EVERY_MS + death * 700);
      await plane.process.end('SIGKILL');
      await callers.pause();
      plane = await startControlPlaneProcess(t, { folder, store, port });
      const kept = await shown(plane.url);
      t.comment(
        `said ${JSON.stringify(callers.said)}, kept ${JSON.stringify(kept)}, said 7 s before the end ${JSON.stringify(before)}`,
      );
      t.ok(isWithin(kept, callers.said), 'never more than was said');
      t.ok(isWithin(before, kept), `what was said ${EXCHANGE_EVERY_MS + LOOK_EVERY_MS} ms before is there`);
      await callers.repeat();
      t.match(await shown(plane.url), callers.said, 'the agents that live on say the rest, once');
    }
  },
);

t.test(
  'Consul: two control planes, the one with the agents is killed, and comes back',
  { timeout: 180_000 },
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
          const all = await Promise.all(urls.map(shown));
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
