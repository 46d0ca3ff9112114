// What one control plane counted of the mesh: good and bad events by service, and how far into the cumulative counts of each agent
// that reaches. Both are kept together, so that whoever takes the part over books nothing twice and misses nothing. Instants are
// epoch ms.

import { ACCOUNTS, type AccountCounts, totalOf } from './accounts.ts';
import { type ArchivedRing, EventRing } from './ring.ts';

/** Services with a budget; further ones have none. Each costs 31 KB. */
export const BUDGET_LIMIT = 1_000;
/** Edges of agents whose place is kept; further ones are not booked. Each costs some 300 bytes. */
export const BASE_LIMIT = 200_000;
/** Counts older than this are not booked: nobody can date them. */
export const DATED_FOR_MS = 300_000;

export type MeasuredBy = 'outbound' | 'inbound';

/** How far one edge of one agent's process was booked: its cumulative successes, and failures by kind. */
export interface Base {
  readonly counts: readonly number[];
  readonly atEpochMs: number;
}

/** What is known of one service. */
export interface Counted {
  readonly ring: EventRing;
  readonly measuredBy: MeasuredBy;
  readonly sinceEpochMs: number;
}

/** One service as it is written down. Bases have no time of their own: they hold as of when they were written. */
export interface ArchivedService {
  readonly service: string;
  readonly counted: {
    readonly measuredBy: MeasuredBy;
    readonly sinceEpochMs: number;
    readonly ring: ArchivedRing;
  } | null;
  readonly bases: readonly (readonly [edge: string, counts: readonly number[]])[];
}

export class SloPart {
  readonly #counted = new Map<string, Counted>();
  /** By service, then by edge. */
  readonly #bases = new Map<string, Map<string, Base>>();
  #baseCount = 0;

  services(): string[] {
    return [...this.#counted.keys()];
  }

  get(service: string): Counted | null {
    return this.#counted.get(service) ?? null;
  }

  /** Callers notice endpoints that do not answer, so once they report, what the agents beside the service say is left out. */
  record(service: string, by: MeasuredBy, good: number, bad: AccountCounts, epochMs: number): void {
    if (good === 0 && totalOf(bad) === 0) return;
    const known = this.#counted.get(service);
    if (known === undefined && this.#counted.size >= BUDGET_LIMIT) return;
    if (known?.measuredBy === 'outbound' && by === 'inbound') return;
    const { ring, sinceEpochMs } = known ?? { ring: new EventRing(), sinceEpochMs: epochMs };
    this.#counted.set(service, { ring, sinceEpochMs, measuredBy: by });
    ring.add(good, bad, epochMs);
  }

  /** Bad events that were booked at `epochMs` go to other accounts; the sum stays. */
  rebook(service: string, from: AccountCounts, to: AccountCounts, epochMs: number): void {
    const difference = { ...to };
    for (const account of ACCOUNTS) difference[account] -= from[account];
    this.#counted.get(service)?.ring.add(0, difference, epochMs);
  }

  base(service: string, edge: string): Base | null {
    return this.#bases.get(service)?.get(edge) ?? null;
  }

  /** @returns false when there is no room for one more edge: what is added to it must not be booked, or it would be booked again */
  setBase(service: string, edge: string, base: Base): boolean {
    const bases = this.#bases.get(service) ?? new Map<string, Base>();
    if (!bases.has(edge)) {
      if (this.#baseCount >= BASE_LIMIT) return false;
      this.#baseCount++;
    }
    this.#bases.set(service, bases);
    bases.set(edge, base);
    return true;
  }

  /** Drops bases that are of no use any more. O(edges) */
  tidy(epochMs: number): void {
    for (const [service, bases] of this.#bases) {
      for (const [edge, { atEpochMs }] of bases) {
        if (epochMs - atEpochMs > DATED_FOR_MS && bases.delete(edge)) this.#baseCount--;
      }
      if (bases.size === 0) this.#bases.delete(service);
    }
  }

  clear(): void {
    this.#counted.clear();
    this.#bases.clear();
    this.#baseCount = 0;
  }

  archive(): ArchivedService[] {
    const services = new Set([...this.#counted.keys(), ...this.#bases.keys()]);
    return [...services].map((service) => {
      const counted = this.#counted.get(service);
      const bases = [...(this.#bases.get(service) ?? [])].map(([edge, { counts }]) => [edge, counts] as const);
      return { service, counted: counted === undefined ? null : { ...counted, ring: counted.ring.archive() }, bases };
    });
  }

  /**
   * Adds what `archive` gave. What makes no sense is left out: a measurement is no policy.
   *
   * Requests that callers count are counted by the agents beside the service, too: of two such halves the callers' is taken.
   *
   * @param atEpochMs  when it was written
   */
  add(archived: unknown, atEpochMs: number): void {
    for (const entry of Array.isArray(archived) ? archived : []) {
      if (typeof entry !== 'object' || entry === null) continue;
      const { service, counted, bases } = entry as Readonly<Record<string, unknown>>;
      if (typeof service !== 'string') continue;
      this.#addCounted(service, counted);
      for (const pair of Array.isArray(bases) ? bases : []) {
        const [edge, counts]: readonly unknown[] = Array.isArray(pair) ? pair : [];
        if (typeof edge !== 'string' || !Array.isArray(counts) || !counts.every(isCount)) continue;
        const known = this.base(service, edge);
        // Cumulative counts of one process: the larger ones are the later ones.
        if (known === null || sumOf(known.counts) <= sumOf(counts)) this.setBase(service, edge, { counts, atEpochMs });
      }
    }
  }

  #addCounted(service: string, archived: unknown): void {
    if (typeof archived !== 'object' || archived === null) return;
    const { measuredBy, sinceEpochMs, ring: slots } = archived as Readonly<Record<string, unknown>>;
    if (typeof sinceEpochMs !== 'number' || !Number.isFinite(sinceEpochMs)) return;
    if (measuredBy !== 'outbound' && measuredBy !== 'inbound') return;
    const known = this.#counted.get(service);
    if (known === undefined && this.#counted.size >= BUDGET_LIMIT) return;
    if (known?.measuredBy === 'outbound' && measuredBy === 'inbound') return;
    const isKept = known !== undefined && known.measuredBy === measuredBy;
    const ring = isKept ? known.ring : new EventRing();
    ring.addArchived(slots);
    const since = known === undefined ? sinceEpochMs : Math.min(known.sinceEpochMs, sinceEpochMs);
    this.#counted.set(service, { ring, measuredBy, sinceEpochMs: since });
  }
}

/** Of several parts of one service those that count: the callers', if any caller reports. */
export function countedIn(parts: Iterable<SloPart>, service: string): Counted[] {
  const all = [...parts].flatMap((part) => part.get(service) ?? []);
  const outbound = all.filter(({ measuredBy }) => measuredBy === 'outbound');
  return outbound.length > 0 ? outbound : all;
}

export function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
