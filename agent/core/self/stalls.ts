// When this process itself stood still, and what that does to what it measured meanwhile. A proxy that is starved of CPU sees
// slow upstreams everywhere; without this it would eject innocents. Pure: a timer of the composition root says tick(now).
//
// What is seen is the delay of that timer: garbage collection, a starved cgroup, a blocked loop and a suspended machine all
// show there and need no measurement of their own.

/** How often tick() is to be called, ms. */
export const TICK_MS = 20;
/** Delays below this are the timer's own imprecision. */
const LEAST_STALL_MS = 10;
/** Stalls below this are taken off latencies and leave the grade alone: a busy loop is late by as much and still judges well. */
const LEAST_GRADED_MS = 50;
/** Stalls kept, newest last: with one every 30 ms they cover two seconds, and long ones far more than any attempt lasts. */
const KEPT = 64;
/** Time constant of the grade. */
const GRADE_TAU_MS = 5_000;
/** Below the first the agent does not trust itself; above the second it does again. */
const SUSPECT_BELOW = 0.75;
const TRUSTED_ABOVE = 0.9;
/** From this share of stalls on, a failure to answer in time is the agent's own. */
const OWN_SHARE = 0.5;

export type SelfChange = 'suspect' | 'trusted';

export class Stalls {
  readonly #from = new Float64Array(KEPT);
  readonly #to = new Float64Array(KEPT);
  #count = 0;
  #tickedAt = -1;
  #stalledShare = 0;
  #isSuspect = false;
  #totalMs = 0;
  #ownFailures = 0;

  /** @returns what the agent thinks of itself now, when that has just changed */
  tick(now: number): SelfChange | null {
    if (this.#tickedAt < 0) this.#tickedAt = now;
    const elapsed = now - this.#tickedAt;
    if (elapsed <= 0) return null;
    const stalledMs = this.#pendingMs(now);
    if (stalledMs > 0) this.#note(now - stalledMs, now);
    this.#tickedAt = now;
    const kept = Math.exp(-elapsed / GRADE_TAU_MS);
    const share = stalledMs < LEAST_GRADED_MS ? 0 : stalledMs / elapsed;
    this.#stalledShare = this.#stalledShare * kept + share * (1 - kept);
    const wasSuspect = this.#isSuspect;
    this.#isSuspect = this.grade < (wasSuspect ? TRUSTED_ABOVE : SUSPECT_BELOW);
    if (wasSuspect === this.#isSuspect) return null;
    return this.#isSuspect ? 'suspect' : 'trusted';
  }

  /**
   * Ms of [from, to] in which the process stood still, the stall that nobody has ticked after yet included: after a stall the
   * timer of a deadline may run before the tick does. Costs two comparisons when there was no stall since `from`.
   */
  overlap(from: number, to: number): number {
    let overlap = 0;
    const pendingMs = this.#pendingMs(to);
    if (pendingMs > 0) overlap += Math.min(pendingMs, to - from);
    for (let nth = this.#count - 1; nth >= 0 && nth >= this.#count - KEPT; nth--) {
      const end = this.#to[nth % KEPT] ?? 0;
      if (end <= from) break;
      overlap += Math.max(0, Math.min(end, to) - Math.max(this.#from[nth % KEPT] ?? 0, from));
    }
    return overlap;
  }

  /** Counts a failure that isOwnFailure() found. */
  noteOwnFailure(): void {
    this.#ownFailures++;
  }

  /** 1 = never stood still of late, 0 = did nothing else. */
  get grade(): number {
    return 1 - this.#stalledShare;
  }

  /** While true nobody is ejected. */
  get isSuspect(): boolean {
    return this.#isSuspect;
  }

  get count(): number {
    return this.#count;
  }

  get totalMs(): number {
    return this.#totalMs;
  }

  get ownFailures(): number {
    return this.#ownFailures;
  }

  #pendingMs(now: number): number {
    if (this.#tickedAt < 0) return 0;
    const delay = now - this.#tickedAt - TICK_MS;
    return delay < LEAST_STALL_MS ? 0 : delay;
  }

  #note(from: number, to: number): void {
    this.#from[this.#count % KEPT] = from;
    this.#to[this.#count % KEPT] = to;
    this.#count++;
    this.#totalMs += to - from;
  }
}

/** True when an attempt was given up for lack of time of which the agent itself spent half or more standing still. */
export function isOwnFailure({
  kind,
  latencyMs,
  stalledMs,
}: {
  readonly kind: string;
  readonly latencyMs: number;
  readonly stalledMs: number;
}): boolean {
  return (kind === 'timeout' || kind === 'connect_timeout') && isMostlyStalled(stalledMs, latencyMs);
}

/** True when of a time that ran out this process itself stood still for half or more. */
export function isMostlyStalled(stalledMs: number, ms: number): boolean {
  return stalledMs > 0 && stalledMs >= OWN_SHARE * ms;
}

/** `this agent stood still for 71 % of the last seconds: nobody is ejected until it runs again`. */
export function describeSelf(change: SelfChange, grade: number): string {
  const percent = Math.round(100 * (1 - grade));
  return change === 'suspect'
    ? `this agent stood still for ${percent} % of the last seconds: nobody is ejected until it runs freely again`
    : `this agent runs freely again, ${percent} % of the last seconds stood still: ejections are decided as before`;
}
