// What requests cause beside being served: holding them on purpose and sending copies. Counted for the whole agent, because both
// take memory that nobody waits for.

/** Requests held by an injected delay at once, beyond which none is delayed. */
export const MAX_HELD = 1000;
/** Copies under way at once, beyond which none is sent. Each may have 64 KiB of body. */
export const MAX_MIRRORS = 100;

export interface SideWork {
  held: number;
  mirrors: number;
  readonly maxHeld: number;
  readonly maxMirrors: number;
}

export function createSideWork(maxHeld = MAX_HELD, maxMirrors = MAX_MIRRORS): SideWork {
  return { held: 0, mirrors: 0, maxHeld, maxMirrors };
}
