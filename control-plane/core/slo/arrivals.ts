// Which agents may be booked. One that comes from another control plane was booked there up to some count, and that count is known
// here only once the other one has written down what it heard until then. Counts are cumulative, so waiting loses nothing. Pure but
// for its memory.

export type Arrival = 'old' | 'waiting' | 'first' | 'settled';

interface Agent {
  sequence: number;
  readonly cameAt: number;
  heardAt: number;
  /** Writings of the others that are waited for, by control plane; `unread`: they were not looked at since it came. */
  waiting: 'unread' | Map<string, number> | null;
}

/** One that is under way when an agent comes may have been begun before; the one after it was not. */
const WRITINGS = 2;

/** Longer than the pause between two reports of any agent. */
const FORGET_AFTER_MS = 600_000;

export class Arrivals {
  readonly #agents = new Map<string, Agent>();
  readonly #isAlone: boolean;

  /** @param isAlone  there is no other control plane, ever */
  constructor(isAlone: boolean) {
    this.#isAlone = isAlone;
  }

  /**
   * @param process  names one life of one agent
   * @param sequence  of its report; a gap may have been heard elsewhere
   * @returns `old`: an earlier report that came late; `first`: the first one that may be booked since it came
   */
  hear(process: string, sequence: number, now: number): Arrival {
    const known = this.#agents.get(process);
    if (known !== undefined && sequence <= known.sequence) return 'old';
    if (known === undefined || (sequence > known.sequence + 1 && !this.#isAlone)) {
      const waiting = this.#isAlone ? null : 'unread';
      this.#agents.set(process, { sequence, cameAt: now, heardAt: now, waiting });
      return waiting === null ? 'first' : 'waiting';
    }
    known.sequence = sequence;
    known.heardAt = now;
    if (known.waiting === null) return 'settled';
    if (known.waiting === 'unread' || known.waiting.size > 0) return 'waiting';
    known.waiting = null;
    return 'first';
  }

  /**
   * To be told after each look at the others.
   *
   * @param writings  how often each has written so far
   * @param began  when the look began
   */
  looked(writings: ReadonlyMap<string, number>, began: number): void {
    for (const [process, agent] of this.#agents) {
      if (began - agent.heardAt > FORGET_AFTER_MS) this.#agents.delete(process);
      if (agent.waiting === null) continue;
      if (agent.waiting === 'unread') {
        if (agent.cameAt < began) agent.waiting = new Map(writings);
        continue;
      }
      for (const [other, count] of agent.waiting) {
        // One that is gone left its counts with another one, which is there at once.
        if ((writings.get(other) ?? Number.POSITIVE_INFINITY) >= count + WRITINGS) agent.waiting.delete(other);
      }
    }
  }

  /** What this control plane counted is counted elsewhere now: everybody arrives anew. */
  reset(): void {
    this.#agents.clear();
  }
}
