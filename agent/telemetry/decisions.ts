// The decision records of the last requests, and of the last that went wrong. Bounded in number and in what they keep alive;
// writing costs a few stores side by side, reading happens when somebody asks.

import type { Random } from '../clock.ts';
import { DecisionRecord, type Evicted } from '../core/decision/decision-record.ts';
import type { HeldView } from '../core/decision/pick-trace.ts';
import { FLAGS, ID_BYTES, IS_OPEN, NUMBERS, roomFor, SEQUENCE } from '../core/decision/storage.ts';
import type { ServiceView } from '../core/snapshot.ts';

/** Records of the last requests, whatever became of them. */
const RECENT = 4096;
/** Records of requests that failed or took several attempts: they outlive a flood of good ones. */
const ANOMALIES = 1024;
/** Endpoints in all views that records keep alive: about 20 MB at most. */
const MAX_HELD_ENDPOINTS = 200_000;

const ID = /^[0-9a-z]{1,12}-([0-9a-z]{1,11})$/;

export class Decisions {
  readonly #prefix: string;
  /** Records side by side, used in turn: 2.3 MB. */
  readonly #room = roomFor(RECENT);
  readonly #evicted: Evicted = new Map();
  readonly #anomalies: DecisionRecord[] = [];
  #anomalyCount = 0;
  #sequence = 0;
  /** Oldest first. */
  readonly #held: HeldView[] = [];
  #heldEndpoints = 0;

  /** @param prefix  tells ids of this process from those of others; letters a–z and digits, at most 12 */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** @param now  monotonic ms */
  begin(now: number): DecisionRecord {
    this.#sequence += 1;
    const record = new DecisionRecord(this.#room, this.#sequence % RECENT, this.#evicted, this.#sequence);
    const { numbers, at } = record;
    // A request that is still under way after 4096 others takes its record along: the slow ones are those people ask about.
    const isOpen = ((numbers[at + FLAGS] ?? 0) & IS_OPEN) !== 0;
    if (isOpen) this.#evicted.set(numbers[at + SEQUENCE] ?? 0, record.copy());
    record.begin(now);
    return record;
  }

  /** The request is over; its record has been told how. */
  keep(record: DecisionRecord): void {
    if (record.attemptCount < 2 && record.status < 500 && record.result === 'ok') return;
    record.detach();
    this.#anomalies[this.#anomalyCount % ANOMALIES] = record;
    this.#anomalyCount += 1;
  }

  /** What a record refers to in place of a view, so that old views can be let go. */
  hold(view: ServiceView): HeldView {
    const { held } = view;
    if (held.view === null) this.#list(held, view);
    return held;
  }

  #list(held: HeldView, view: ServiceView): void {
    held.view = view;
    this.#held.push(held);
    this.#heldEndpoints += weightOf(view);
    while (this.#heldEndpoints > MAX_HELD_ENDPOINTS && this.#held.length > 1) {
      const oldest = this.#held.shift();
      if (oldest === undefined) break;
      this.#heldEndpoints -= oldest.view === null ? 0 : weightOf(oldest.view);
      oldest.view = null;
    }
  }

  /** Text that names a record: what `x-outrigger-why` says. */
  idOf({ sequence }: DecisionRecord): string {
    return this.#id(sequence);
  }

  /** An id of the same kind for what is logged but leaves no record. */
  nextId(): string {
    this.#sequence += 1;
    return this.#id(this.#sequence);
  }

  #id(sequence: number): string {
    return `${this.#prefix}-${sequence.toString(36)}`;
  }

  /** By its id, or the last one with this request id; null when it is unknown or gone. O(records). */
  find(id: string): DecisionRecord | null {
    const digits = id.startsWith(`${this.#prefix}-`) ? ID.exec(id)?.[1] : undefined;
    const sequence = digits === undefined ? -1 : Number.parseInt(digits, 36);
    let found: DecisionRecord | null = null;
    for (const record of this.#all()) {
      if (record.sequence === sequence) return record;
      const isNamed = record.requestId === id.slice(0, ID_BYTES);
      if (isNamed && record.sequence > (found?.sequence ?? 0)) found = record;
    }
    return found;
  }

  /** Newest first, those under way included. */
  recent(count: number, isAnomaly: boolean): DecisionRecord[] {
    const all = isAnomaly ? [...this.#anomalies] : [...this.#all()];
    return all.sort((a, b) => b.sequence - a.sequence).slice(0, count);
  }

  /** Each once; copies where the place may become another record's. */
  *#all(): Generator<DecisionRecord> {
    const seen = new Set<number>();
    for (const record of this.#anomalies) {
      seen.add(record.sequence);
      yield record;
    }
    for (const [sequence, { numbers, refs, texts }] of this.#evicted) {
      yield new DecisionRecord({ numbers, refs, texts }, 0, null, sequence);
    }
    for (let slot = 0; slot < RECENT; slot++) {
      const sequence = this.#room.numbers[slot * NUMBERS + SEQUENCE] ?? 0;
      if (sequence === 0 || seen.has(sequence)) continue;
      const record = new DecisionRecord(this.#room, slot, null, sequence);
      record.detach();
      yield record;
    }
  }
}

/** A prefix that another process does not share: 40 bits of chance. */
export function idPrefix(random: Random): string {
  return Math.floor(random() * 2 ** 40).toString(36);
}

/** A view without endpoints is not for nothing: an empty subset makes one at every rebuild. */
function weightOf({ endpoints }: ServiceView): number {
  return endpoints.length + 1;
}
