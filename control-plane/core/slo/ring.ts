// Good and bad events of one service over the last 30 days, in rings of time slots that grow coarser with age. Instants are
// epoch ms, because the counts outlive the process; 486 slots, 31 KB a service.

import { ACCOUNTS, type Account, type AccountCounts, NO_ACCOUNTS } from './accounts.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** The ring with the finest slots that still reaches as far as it is asked answers. */
const TIERS = [
  { spanMs: 5 * MINUTE_MS, slotMs: 5_000 },
  { spanMs: HOUR_MS, slotMs: MINUTE_MS },
  { spanMs: 6 * HOUR_MS, slotMs: 5 * MINUTE_MS },
  { spanMs: DAY_MS, slotMs: 15 * MINUTE_MS },
  { spanMs: 3 * DAY_MS, slotMs: HOUR_MS },
  { spanMs: 30 * DAY_MS, slotMs: 6 * HOUR_MS },
] as const;
/** Stamp, good, and one per account. */
const WIDTH = 2 + ACCOUNTS.length;

export interface Events {
  readonly good: number;
  readonly bad: number;
  /** Which make `bad`, exactly. */
  readonly accounts: AccountCounts;
}

/** What is written down; slots that are empty are left out. */
export type ArchivedRing = readonly (readonly (readonly number[])[])[];

export class EventRing {
  readonly #tiers = TIERS.map(({ spanMs, slotMs }) => new Float64Array((spanMs / slotMs + 1) * WIDTH));

  add(good: number, accounts: AccountCounts, epochMs: number): void {
    const counts = [good, ...ACCOUNTS.map((account) => accounts[account])];
    TIERS.forEach(({ slotMs }, tier) => {
      const slots = this.#tiers[tier];
      if (slots !== undefined) addTo(slots, Math.floor(epochMs / slotMs), counts);
    });
  }

  /** Everything within the last `windowMs`, at most 30 days; up to one slot more or less at its far end. O(slots). */
  within(windowMs: number, epochMs: number): Events {
    const found = TIERS.findIndex(({ spanMs }) => spanMs >= windowMs);
    const tier = found < 0 ? TIERS.length - 1 : found;
    const { slotMs } = TIERS[tier] ?? TIERS[0];
    const slots = this.#tiers[tier] ?? new Float64Array(0);
    const newest = Math.floor(epochMs / slotMs);
    // The slot under way counts as part of the window, so a window of n slots is the n newest.
    const oldest = newest - Math.round(windowMs / slotMs) + 1;
    let good = 0;
    let bad = 0;
    const accounts: Record<Account, number> = { ...NO_ACCOUNTS };
    for (let at = 0; at < slots.length; at += WIDTH) {
      const stamp = slots[at] ?? 0;
      if (stamp < oldest || stamp > newest) continue;
      good += slots[at + 1] ?? 0;
      ACCOUNTS.forEach((account, index) => {
        const count = slots[at + 2 + index] ?? 0;
        accounts[account] += count;
        bad += count;
      });
    }
    return { good, bad, accounts };
  }

  archive(): ArchivedRing {
    return this.#tiers.map((slots) => {
      const kept: number[][] = [];
      for (let at = 0; at < slots.length; at += WIDTH) {
        const slot = [...slots.subarray(at, at + WIDTH)];
        if (slot.slice(1).some((count) => count > 0)) kept.push(slot);
      }
      return kept;
    });
  }

  /** @param archived  of `archive`, perhaps of another version: what does not fit is left out */
  addArchived(archived: unknown): void {
    this.#tiers.forEach((slots, tier) => {
      const kept: unknown = Array.isArray(archived) ? archived[tier] : null;
      for (const slot of Array.isArray(kept) ? kept : []) {
        if (!Array.isArray(slot) || slot.length !== WIDTH || !slot.every((count) => Number.isFinite(count))) continue;
        const [stamp, ...counts] = slot as number[];
        if (stamp !== undefined) addTo(slots, stamp, counts);
      }
    });
  }
}

function placeOf(slots: Float64Array, stamp: number): number {
  return (stamp % (slots.length / WIDTH)) * WIDTH;
}

/** @param counts  good, then one per account */
function addTo(slots: Float64Array, stamp: number, counts: readonly number[]): void {
  const at = placeOf(slots, stamp);
  // A slot that came round again belongs to the later time.
  if ((slots[at] ?? 0) > stamp) return;
  if (slots[at] !== stamp) {
    slots.fill(0, at, at + WIDTH);
    slots[at] = stamp;
  }
  counts.forEach((count, index) => {
    slots[at + 1 + index] = (slots[at + 1 + index] ?? 0) + count;
  });
}
