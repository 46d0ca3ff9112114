// How long to wait before the control plane is tried again. Pure.

import type { Random } from '../clock.ts';

export interface BackOff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Half fixed, half chance: hundreds of agents that lost one control plane must not come back in the same instant. */
export function backOffMs(failures: number, random: Random, { baseMs, capMs }: BackOff): number {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(30, Math.max(0, failures - 1)));
  return full / 2 + (full / 2) * random();
}
