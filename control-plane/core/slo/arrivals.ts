// Which agents may be booked. One that comes from another control plane was booked there up to some count, and that count is known
// here only once the other one has written down what it heard until then. Counts are cumulative, so waiting loses nothing. Pure but
// for its memory.

export type Arrival = 'old' | 'waiting' | 'first' | 'settled';

/** One life of one agent. */
interface Process {
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
/** Of one agent: during a restart with overlap there are two. */
const LIVES = 2;

export class Arrivals {
  /** By agent, then by life, the one that came last at the end. */
  readonly #agents = new Map<string, Map<number, Process>>();
  readonly #isAlone: boolean;

  /** @param isAlone  there is no other control plane, ever */
  constructor(isAlone: boolean) {
    this.#isAlone = isAlone;
  }

  /**
   * @param life  names one process of the agent
   * @param sequence  of its report; a gap may have been heard elsewhere
   * @returns `old`: an earlier report that came late; `first`: the first one that may be booked since it came
   */
  hear(agentId: string, life: number, sequence: number, now: number): Arrival {
    const lives = this.#agents.get(agentId) ?? new Map<number, Process>();
    this.#agents.set(agentId, lives);
    const known = lives.get(life);
    if (known !== undefined && sequence <= known.sequence) return 'old';
    if (known === undefined || (sequence > known.sequence + 1 && !this.#isAlone)) {
      const waiting = this.#isAlone ? null : 'unread';
      lives.delete(life);
      lives.set(life, { sequence, cameAt: now, heardAt: now, waiting });
      const [oldest = life] = lives.keys();
      if (lives.size > LIVES) lives.delete(oldest);
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
    for (const [agentId, lives] of this.#agents) {
      for (const [life, one] of lives) {
        if (began - one.heardAt > FORGET_AFTER_MS) lives.delete(life);
        else wait(one, writings, began);
      }
      if (lives.size === 0) this.#agents.delete(agentId);
    }
  }

  /** What this control plane counted is counted elsewhere now: everybody arrives anew. */
  reset(): void {
    this.#agents.clear();
  }
}

function wait(one: Process, writings: ReadonlyMap<string, number>, began: number): void {
  const { waiting, cameAt } = one;
  if (waiting === null) return;
  if (waiting === 'unread') {
    if (cameAt < began) one.waiting = new Map(writings);
    return;
  }
  for (const [other, count] of waiting) {
    // One that is gone left its counts with another one, which is there at once.
    if ((writings.get(other) ?? Number.POSITIVE_INFINITY) >= count + WRITINGS) waiting.delete(other);
  }
}
