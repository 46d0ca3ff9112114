// Tells the rest of the agent what changed, after it changed: events first, then the newest snapshot. A listener may cause
// further changes; they are told in a later round and never out of order. Nobody who listens can stop the others, or the
// request in whose midst the change was made.

import type { MeshEvent } from '#contract/frames.ts';
import type { MeshSnapshot } from '../core/snapshot.ts';

/** A listener that answers every snapshot with a change would go on for ever; the rest is told at the next change. */
const MAX_ROUNDS = 16;

export class Publisher {
  readonly #onEvent: (event: MeshEvent) => void;
  readonly #onFault: (error: unknown) => void;
  readonly #listeners = new Set<(snapshot: MeshSnapshot) => void>();
  #events: MeshEvent[] = [];
  #untold: MeshSnapshot | null = null;
  #isTelling = false;

  /** @param onFault  told what a listener threw; must not throw itself */
  constructor(onEvent: (event: MeshEvent) => void, onFault: (error: unknown) => void) {
    this.#onEvent = onEvent;
    this.#onFault = onFault;
  }

  /** @returns a function that takes the listener back */
  subscribe(listener: (snapshot: MeshSnapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param snapshot  null when only events are to be told */
  tell(snapshot: MeshSnapshot | null, events: readonly MeshEvent[]): void {
    this.#events.push(...events);
    this.#untold = snapshot ?? this.#untold;
    if (this.#isTelling) return;
    this.#isTelling = true;
    for (let round = 0; round < MAX_ROUNDS && (this.#untold !== null || this.#events.length > 0); round++) {
      this.#round();
    }
    this.#isTelling = false;
  }

  #round(): void {
    const events = this.#events;
    const snapshot = this.#untold;
    this.#events = [];
    this.#untold = null;
    for (const event of events) this.#call(this.#onEvent, event);
    if (snapshot !== null) for (const listener of this.#listeners) this.#call(listener, snapshot);
  }

  #call<T>(listener: (told: T) => void, told: T): void {
    try {
      listener(told);
    } catch (error) {
      this.#onFault(error);
    }
  }
}
