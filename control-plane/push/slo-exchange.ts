// Has what is counted here written down, and reads what other control planes counted; takes over the part of one that is gone.

import type { Clock } from '../core/clock.ts';
import type { Arrivals } from '../core/slo/arrivals.ts';
import type { SloBook } from '../core/slo/book.ts';
import type { SloIntake } from '../core/slo/intake.ts';
import { SloPart } from '../core/slo/part.ts';
import type { OtherPart, SloStore } from '../store/slo-store.ts';

/** A control plane that has not written for this long is gone: four writings. */
export const GONE_AFTER_MS = 20_000;

export interface SloExchangeOptions {
  readonly book: SloBook;
  readonly intake: SloIntake;
  readonly arrivals: Arrivals;
  readonly store: SloStore;
  /** One of several control planes tells what burns. */
  readonly isLeader: () => boolean;
  readonly clock: Clock;
  /** Told in a sentence what an operator must know. */
  readonly onNotice: (text: string) => void;
}

interface Other {
  readonly writings: number;
  readonly since: number;
  readonly part: SloPart;
}

export class SloExchange {
  readonly #options: SloExchangeOptions;
  #others = new Map<string, Other>();
  /** What fires, as it was written last. */
  #alerts = '[]';

  constructor(options: SloExchangeOptions) {
    this.#options = options;
  }

  /** Goes on from what was kept. The others see this control plane before it books anything. */
  async begin(): Promise<void> {
    const { book, store } = this.#options;
    const kept = await store.load();
    if (kept !== null) book.own.add(kept.services, kept.atEpochMs);
    await this.#readAlerts();
    if (!store.isAlone) await this.#swap();
  }

  /** To be called every few seconds, once at a time. Rejects when the store does. */
  async run(): Promise<void> {
    if (this.#options.isLeader()) await this.#writeAlerts();
    else await this.#readAlerts();
    await this.#swap();
  }

  /** Writes for the last time. */
  async end(): Promise<void> {
    if (this.#options.isLeader()) await this.#writeAlerts();
    await this.#save(true);
  }

  async #swap(): Promise<void> {
    await this.#save(false);
    await this.#readOthers();
  }

  async #save(isEnd: boolean): Promise<void> {
    const { book, store, intake, clock, onNotice } = this.#options;
    book.own.tidy(clock.epochMs());
    if ((await store.save(book.own.archive(), isEnd)) === 'saved') return;
    intake.reset();
    onNotice('the counts of error budgets were taken over by another control plane, which had not heard of this one');
    // The head is there again before anybody is booked.
    if (!isEnd) await store.save([], false);
  }

  async #readOthers(): Promise<void> {
    const { book, store, arrivals, clock } = this.#options;
    const began = clock.now();
    const parts = await store.others();
    const others = new Map<string, Other>();
    for (const [name, part] of parts) {
      const known = this.#others.get(name);
      const isKnown = known !== undefined && known.writings === part.writings;
      others.set(name, isKnown ? known : { writings: part.writings, since: began, part: partOf(part) });
    }
    this.#others = others;
    for (const [name, part] of parts) {
      const since = others.get(name)?.since ?? began;
      if (!part.isEnded && began - since <= GONE_AFTER_MS) continue;
      if (!(await store.adopt(name))) continue;
      book.own.add(part.services, part.atEpochMs);
      others.delete(name);
    }
    book.setOthers([...others.values()].map(({ part }) => part));
    arrivals.looked(new Map([...others].map(([name, { writings }]) => [name, writings])), began);
  }

  async #readAlerts(): Promise<void> {
    const { book, store } = this.#options;
    book.setAlerts(await store.alerts());
    this.#alerts = JSON.stringify(book.alerts());
  }

  async #writeAlerts(): Promise<void> {
    const { book, store } = this.#options;
    const alerts = book.alerts();
    const text = JSON.stringify(alerts);
    if (text === this.#alerts) return;
    await store.saveAlerts(alerts);
    this.#alerts = text;
  }
}

function partOf({ services, atEpochMs }: OtherPart): SloPart {
  const part = new SloPart();
  part.add(services, atEpochMs);
  return part;
}
