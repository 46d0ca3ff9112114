// What befalls the instances, in which order and for how long. Pure: the same for every proxy of a run, and for every run.

export type FaultKind =
  | 'crash'
  | 'hang'
  | 'errors'
  | 'half_errors'
  | 'slow'
  | 'reset'
  | 'restart'
  | 'two_at_once'
  | 'all_but_one';

export interface Fault {
  readonly kind: FaultKind;
  /** Instances that it befalls, by their number. */
  readonly instances: readonly number[];
  /** ms since the start of the load. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** What each does, as the report says it. */
export const FAULT_TEXT: Readonly<Record<FaultKind, string>> = {
  crash: 'one of five is killed, and comes back',
  hang: 'one stands still with its sockets open',
  errors: 'one answers 500, its health check 200',
  half_errors: 'one answers every second request with 503',
  slow: 'one answers after 3 s',
  reset: 'one resets every connection once a request is there',
  restart: 'all are restarted in turn, each draining for 1 s',
  two_at_once: 'one is killed while another answers 500',
  all_but_one: 'four of five are killed at once, and come back',
};

const KINDS = Object.keys(FAULT_TEXT) as FaultKind[];

/** A quiet beginning, and after each fault time to recover; failures in a pause are booked to the fault before it. */
export const CALM_MS = 5_000;
export const FAULT_MS = 10_000;
export const PAUSE_MS = 5_000;

/** How many instances one fault befalls at once; `restart` goes through all, one after the other. */
const WIDTH: Readonly<Partial<Record<FaultKind, number>>> = { two_at_once: 2, all_but_one: 4 };

/**
 * Every kind once in each round, each time at other instances.
 *
 * @param instances  how many there are, at least five
 */
export function planFaults(rounds: number, instances: number): readonly Fault[] {
  const faults: Fault[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const [index, kind] of KINDS.entries()) {
      const fromMs = CALM_MS + faults.length * (FAULT_MS + PAUSE_MS);
      const first = (round + index) % instances;
      const width = kind === 'restart' ? instances : (WIDTH[kind] ?? 1);
      const concerned = Array.from({ length: width }, (_, offset) => (first + offset) % instances);
      faults.push({ kind, instances: concerned, fromMs, untilMs: fromMs + FAULT_MS });
    }
  }
  return faults;
}

/** ms from the start to the end of the last pause. */
export function lengthOf(faults: readonly Fault[]): number {
  return (faults.at(-1)?.untilMs ?? CALM_MS) + PAUSE_MS;
}

/** The fault that a request started at `atMs` is booked to; null in the calm at the beginning. */
export function faultAt(faults: readonly Fault[], atMs: number): Fault | null {
  let last: Fault | null = null;
  for (const fault of faults) if (fault.fromMs <= atMs) last = fault;
  return last;
}
