// The decision records of the last requests, and of the last that went wrong. Bounded in number and in what they keep alive;
// writing costs one store, reading happens when somebody asks.

import { DecisionRecord } from '../core/decision/decision-record.ts';
import type { HeldView } from '../core/decision/pick-trace.ts';
import type { ServiceView } from '../core/snapshot.ts';

/** Records of the last requests, whatever became of them. */
const RECENT = 4096;
/** Records of requests that failed or took several attempts: they outlive a quiet flood of good ones. */
const ANOMALIES = 1024;
/** Endpoints in all views that records keep alive: about 20 MB at most. */
const MAX_HELD_ENDPOINTS = 200_000;

const ID = /^[0-9a-z]{1,12}-([0-9a-z]{1,11})$/;

export class Decisions {
  readonly #prefix: string;
  readonly #recent: (DecisionRecord | undefined)[] = new Array(RECENT);
  readonly #anomalies: (DecisionRecord | undefined)[] = [];
  #anomalyCount = 0;
  #sequence = 0;
  readonly #heldOf = new WeakMap<ServiceView, HeldView>();
  /** Oldest first. */
  #held: HeldView[] = [];
  #heldEndpoints = 0;

  /** @param prefix  tells ids of this process from those of others; letters a–z and digits, at most 12 */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  begin(
    direction: 'outbound' | 'inbound',
    head: { readonly method: string; readonly target: string },
    requestId: string,
    now: number,
    epochMs: number,
  ): DecisionRecord {
    this.#sequence += 1;
    return new DecisionRecord(this.#sequence, direction, head, requestId, now, epochMs);
  }

  /** The request is over. */
  keep(record: DecisionRecord): void {
    this.#recent[record.sequence % RECENT] = record;
    const isPlain = record.result === 'ok' && record.status < 500 && record.attempts.length < 2;
    if (isPlain) return;
    this.#anomalies[this.#anomalyCount % ANOMALIES] = record;
    this.#anomalyCount += 1;
  }

  /** What a record refers to in place of a view, so that old views can be let go. */
  hold(view: ServiceView): HeldView {
    const known = this.#heldOf.get(view);
    if (known !== undefined) return known;
    const held: HeldView = { view };
    this.#heldOf.set(view, held);
    this.#held.push(held);
    this.#heldEndpoints += view.endpoints.length;
    while (this.#heldEndpoints > MAX_HELD_ENDPOINTS && this.#held.length > 1) {
      const oldest = this.#held.shift();
      if (oldest === undefined) break;
      this.#heldEndpoints -= oldest.view?.endpoints.length ?? 0;
      oldest.view = null;
    }
    return held;
  }

  /** Text that names a record: what `x-outrigger-why` says. */
  idOf({ sequence }: DecisionRecord): string {
    return `${this.#prefix}-${sequence.toString(36)}`;
  }

  /** By its id, or the last one with this request id; null when it is unknown or gone. O(records) for request ids. */
  find(id: string): DecisionRecord | null {
    const digits = id.startsWith(`${this.#prefix}-`) ? ID.exec(id)?.[1] : undefined;
    const sequence = digits === undefined ? -1 : Number.parseInt(digits, 36);
    let found: DecisionRecord | null = null;
    for (const record of [...this.#anomalies, ...this.#recent]) {
      if (record === undefined) continue;
      if (record.sequence === sequence) return record;
      if (record.requestId === id && record.sequence > (found?.sequence ?? -1)) found = record;
    }
    return found;
  }

  /** Newest first. */
  recent(count: number, isAnomaly: boolean): DecisionRecord[] {
    const all = (isAnomaly ? this.#anomalies : this.#recent).filter((record) => record !== undefined);
    return all.sort((a, b) => b.sequence - a.sequence).slice(0, count);
  }
}
