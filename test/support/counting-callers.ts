// Agents that count requests to payments and report to whichever control plane answers, and what control planes make of it.

import { NO_FAILURES } from '#contract/failures.ts';
import type { SloView } from '../../control-plane/core/slo/book.ts';
import { ask, orderReport } from './control-plane-client.ts';
import type { Teardown } from './processes.ts';

const AGENTS = 5;
const REPORT_EVERY_MS = 200;

export interface Events {
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
export class Callers {
  readonly #startedAtEpochMs = Date.now();
  readonly #callers: Caller[];
  #timer: NodeJS.Timeout | null = null;
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(t: Teardown, urls: readonly string[]) {
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

/** The budget of payments as a control plane shows it. */
export async function shownBudget(url: string): Promise<Events & { readonly accounts: SloView['accounts'] | null }> {
  const { status, body } = await ask(`${url}/v1/slo/payments`, 'GET');
  if (status !== 200) return { good: 0, bad: 0, accounts: null };
  const { good, bad, accounts } = body as unknown as SloView;
  return { good, bad, accounts };
}

export function isWithin(few: Events, many: Events): boolean {
  return few.good <= many.good && few.bad <= many.bad;
}
