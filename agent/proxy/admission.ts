// How many connections may be open: each listener has its own limit, and all listeners of the agent share the descriptors of
// the process. Counts only; what happens to the one too many is listener.ts's business.

import { readFileSync } from 'node:fs';

/** Descriptors that are not for callers: listeners, Consul, the control plane, the admin API, logs, state files. */
const RESERVED_DESCRIPTORS = 64;

/** The share of the process's descriptors that callers may use, over all listeners. */
export class Admission {
  /** Connections of callers at once, over all listeners. */
  readonly maxConnections: number;
  #open = 0;

  /** @param maxDescriptors  descriptors the process may have; null: unknown, and no reason for a limit */
  constructor(maxDescriptors: number | null) {
    // Each connection of a caller may need one to an endpoint.
    this.maxConnections =
      maxDescriptors === null
        ? Number.MAX_SAFE_INTEGER
        : Math.max(1, Math.floor((maxDescriptors - RESERVED_DESCRIPTORS) / 2));
  }

  get isFull(): boolean {
    return this.#open >= this.maxConnections;
  }

  enter(): void {
    this.#open += 1;
  }

  leave(): void {
    this.#open -= 1;
  }
}

/** Descriptors this process may have, or null where there is no /proc to ask. */
export function readMaxDescriptors(): number | null {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return found === undefined ? null : Number(found);
  } catch {
    // Not Linux, or a closed /proc: the limit per listener still holds.
    return null;
  }
}
