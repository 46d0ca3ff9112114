// Whom to ask about a service when the control plane may be asked: it, as long as it knows; Consul when it does not for a while;
// it again once it knew for longer. Pure.

import type { Random } from '../clock.ts';
import type { Origin } from './health-source.ts';

export interface ChoiceTiming {
  /** Patience with a control plane that says nothing useful while there are endpoints to serve from; up to twice that, by chance. */
  readonly lostMs: number;
  /** The same while there are none. */
  readonly coldMs: number;
  /** How long it must know before it is asked again; up to twice that, by chance. Doubles while it comes and goes. */
  readonly returnMs: number;
  readonly longestReturnMs: number;
  /** A control plane that was good for this long is trusted as at first. */
  readonly calmMs: number;
}

export const DEFAULT_CHOICE: ChoiceTiming = {
  lostMs: 3_000,
  coldMs: 1_000,
  returnMs: 10_000,
  longestReturnMs: 300_000,
  calmMs: 300_000,
};

export interface Choice {
  readonly origin: Origin;
  readonly since: number;
  /** When the other one is to be asked if nothing changes, or null. */
  readonly dueAt: number | null;
  readonly returnMs: number;
}

export function firstChoice(timing: ChoiceTiming): Choice {
  return { origin: 'control-plane', since: Number.NEGATIVE_INFINITY, dueAt: null, returnMs: timing.returnMs };
}

/** What is known at one look. */
export interface Look {
  /** The control plane knows who serves the service, from a Consul that answers it. */
  readonly isGood: boolean;
  readonly hasEndpoints: boolean;
  readonly now: number;
}

/**
 * The waits are half by chance: a fleet that loses its control plane must not come to Consul in one instant.
 *
 * @returns the same object when nothing changed
 */
export function choose(choice: Choice, look: Look, random: Random, timing: ChoiceTiming): Choice {
  const { origin, since, dueAt, returnMs } = choice;
  const { isGood, hasEndpoints, now } = look;
  const isWellServed = (origin === 'control-plane') === isGood;
  if (isWellServed) return dueAt === null ? choice : { ...choice, dueAt: null };
  if (dueAt === null) {
    const patienceMs = origin === 'consul' ? returnMs : hasEndpoints ? timing.lostMs : timing.coldMs;
    return { ...choice, dueAt: now + patienceMs * (1 + random()) };
  }
  if (now < dueAt) return choice;
  if (origin === 'consul') return { ...choice, origin: 'control-plane', since: now, dueAt: null };
  const wasShort = now - since < timing.calmMs;
  const next = wasShort ? Math.min(timing.longestReturnMs, returnMs * 2) : timing.returnMs;
  return { origin: 'consul', since: now, dueAt: null, returnMs: next };
}
