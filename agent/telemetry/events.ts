// What happened lately. Owns the ring that the admin API and the reports read, and writes every event to the log with the
// same sentence. Bounded: a storm of events costs the oldest ones, counted.

import type { MeshEvent } from '#contract/frames.ts';
import type { Logger } from './log.ts';

export interface EventLogOptions {
  readonly log: Logger;
  /** Events kept. Default 1000. */
  readonly capacity?: number;
}

/** Most events in one report. */
const MAX_REPORTED = 100;
const DEFAULT_CAPACITY = 1000;
const WARNING_KINDS: readonly MeshEvent['kind'][] = ['ejection', 'overflow', 'panic'];

export class EventLog {
  readonly #log: Logger;
  readonly #capacity: number;
  readonly #ring: MeshEvent[] = [];
  /** Events added so far, and how many of them a report has carried or counted as dropped. */
  #added = 0;
  #reported = 0;

  constructor(options: EventLogOptions) {
    this.#log = options.log;
    this.#capacity = options.capacity ?? DEFAULT_CAPACITY;
  }

  add(event: MeshEvent): void {
    this.#ring[this.#added % this.#capacity] = event;
    this.#added++;
    const { kind, service, endpoint, reason } = event;
    const level = WARNING_KINDS.includes(kind) ? 'warn' : 'info';
    this.#log[level]({ event: kind, service, endpoint, reason }, event.text);
  }

  /** The newest events, oldest first. */
  recent(limit = this.#capacity): MeshEvent[] {
    const from = Math.max(0, this.#added - Math.min(limit, this.#capacity));
    return this.#slice(from);
  }

  /** Events since the former call, oldest first; when they are too many, the newest of them and how many are missing. */
  drain(): { events: MeshEvent[]; eventsDropped: number } {
    const waiting = this.#added - this.#reported;
    const from = Math.max(this.#reported, this.#added - Math.min(MAX_REPORTED, this.#capacity));
    const events = this.#slice(from);
    this.#reported = this.#added;
    return { events, eventsDropped: waiting - events.length };
  }

  #slice(from: number): MeshEvent[] {
    const found: MeshEvent[] = [];
    for (let index = from; index < this.#added; index++) {
      const event = this.#ring[index % this.#capacity];
      if (event !== undefined) found.push(event);
    }
    return found;
  }
}
