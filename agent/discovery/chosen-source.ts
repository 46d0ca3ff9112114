// One service's source while there are two: asks the one that was chosen, and withdraws the question when the choice changes.

import type { Random } from '../clock.ts';
import type { EndpointFeed } from './endpoint-feed.ts';
import type { HealthAnswer, HealthQuestion, HealthSource, Origin } from './health-source.ts';
import { type Choice, type ChoiceTiming, choose, firstChoice } from './source-choice.ts';

export interface ChosenSourceOptions {
  readonly service: string;
  readonly consul: HealthSource;
  readonly feed: EndpointFeed;
  readonly random: Random;
  readonly timing: ChoiceTiming;
  /** @param why  the control plane is not asked any more; null when it is asked again */
  onMoved(origin: Origin, why: string | null): void;
}

export class ChosenSource implements HealthSource {
  readonly #options: ChosenSourceOptions;
  #choice: Choice;
  #withdraw = new AbortController();

  constructor(options: ChosenSourceOptions) {
    this.#options = options;
    this.#choice = firstChoice(options.timing);
  }

  async ask(question: HealthQuestion): Promise<HealthAnswer> {
    const { consul, feed } = this.#options;
    const withdrawn = this.#withdraw.signal;
    const signal = AbortSignal.any([question.signal, withdrawn]);
    const source = this.#choice.origin === 'consul' ? consul : feed;
    const answer = await source.ask({ ...question, signal });
    // An answer that came in the same moment is of the source that is not asked any more.
    return withdrawn.aborted && !question.signal.aborted ? { kind: 'moved' } : answer;
  }

  /** To be called every few hundred milliseconds. */
  look(now: number, hasEndpoints: boolean): void {
    const { service, feed, random, timing, onMoved } = this.#options;
    const former = this.#choice.origin;
    this.#choice = choose(this.#choice, { isGood: feed.isGood(service), hasEndpoints, now }, random, timing);
    const { origin } = this.#choice;
    if (origin === former) return;
    const withdrawn = this.#withdraw;
    this.#withdraw = new AbortController();
    withdrawn.abort();
    onMoved(origin, origin === 'consul' ? feed.whyNot(service) : null);
  }
}
