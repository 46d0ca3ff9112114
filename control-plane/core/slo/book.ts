// The error budgets of all services: takes counted events in, says what is left and who must be woken. Pure but for its memory;
// instants are epoch ms.

import { BURN_ALERTS, type BurnAlert, burnRate } from '../burn.ts';
import { type AccountCounts, totalOf } from './accounts.ts';
import { type ArchivedRing, DAY_MS, EventRing, type Events } from './ring.ts';

export const WINDOW_MS = 30 * DAY_MS;
/** Services with a budget; further ones have none. Each costs 31 KB. */
export const BUDGET_LIMIT = 1_000;
/** Bad events that the long window must hold: a service with a request an hour must not wake anybody by one failure. */
export const LEAST_BAD_EVENTS = 10;
/** A year may have 315.6 s of failure at five nines: 99.999 %. */
export const FIVE_NINES = 0.99999;

export type MeasuredBy = 'outbound' | 'inbound';

interface Account {
  ring: EventRing;
  measuredBy: MeasuredBy;
  sinceEpochMs: number;
  readonly firing: Map<string, number>;
}

/** An alert that began or ended. */
export interface AlertChange {
  readonly service: string;
  readonly alert: string;
  readonly severity: 'page' | 'ticket';
  readonly state: 'firing' | 'resolved';
  readonly atEpochMs: number;
  readonly text: string;
}

export interface BurnView {
  readonly name: string;
  readonly severity: 'page' | 'ticket';
  /** Both burn rates must be above it. */
  readonly threshold: number;
  readonly longMs: number;
  readonly longBurn: number;
  readonly shortMs: number;
  readonly shortBurn: number;
  readonly firingSinceEpochMs: number | null;
}

export interface PeriodView {
  readonly name: 'day' | 'week' | 'month';
  /** How much of the period is measured. */
  readonly coveredMs: number;
  readonly good: number;
  readonly bad: number;
  readonly availability: number | null;
  /** Time without service that the bad events are worth: their share of the covered time. */
  readonly downtimeMs: number;
  /** What five nines would allow in the covered time. */
  readonly fiveNinesMs: number;
}

export interface SloView {
  readonly service: string;
  readonly objective: number;
  readonly windowMs: number;
  readonly measuredBy: MeasuredBy;
  readonly sinceEpochMs: number;
  readonly good: number;
  readonly bad: number;
  /** Every bad event of the window, booked once. */
  readonly accounts: AccountCounts;
  readonly budget: {
    /** Bad events that the traffic of the window allows. */
    readonly allowed: number;
    /** 1 untouched, 0 spent, negative overdrawn; 1 without traffic. */
    readonly left: number;
  };
  readonly burns: readonly BurnView[];
  readonly periods: readonly PeriodView[];
}

const PERIODS = [
  { name: 'day', windowMs: DAY_MS },
  { name: 'week', windowMs: 7 * DAY_MS },
  { name: 'month', windowMs: WINDOW_MS },
] as const;

export class SloBook {
  readonly #accounts = new Map<string, Account>();
  readonly #objective: number;

  constructor(objective: number) {
    this.#objective = objective;
  }

  /** Callers notice endpoints that do not answer, so once they report, what the agents beside the service say is left out. */
  record(service: string, by: MeasuredBy, good: number, bad: AccountCounts, epochMs: number): void {
    if (good === 0 && totalOf(bad) === 0) return;
    const known = this.#accounts.get(service);
    if (known === undefined && this.#accounts.size >= BUDGET_LIMIT) return;
    const account = known ?? { ring: new EventRing(), measuredBy: by, sinceEpochMs: epochMs, firing: new Map() };
    this.#accounts.set(service, account);
    if (account.measuredBy === 'outbound' && by === 'inbound') return;
    account.measuredBy = by;
    account.ring.add(good, bad, epochMs);
  }

  services(): string[] {
    return [...this.#accounts.keys()].sort();
  }

  /** Looks at every alert of every service. To be called every few seconds. O(services × slots). */
  evaluate(epochMs: number): AlertChange[] {
    const changes: AlertChange[] = [];
    for (const [service, account] of this.#accounts) {
      for (const alert of BURN_ALERTS) {
        const burn = this.#burnOf(account.ring, alert, epochMs);
        const since = account.firing.get(alert.name);
        if (burn.isBurning === (since !== undefined)) continue;
        if (burn.isBurning) account.firing.set(alert.name, epochMs);
        else account.firing.delete(alert.name);
        changes.push(changeOf(service, alert, burn, since ?? null, this.#objective, epochMs));
      }
    }
    return changes;
  }

  view(service: string, epochMs: number): SloView | null {
    const account = this.#accounts.get(service);
    if (account === undefined) return null;
    const { ring, measuredBy, sinceEpochMs, firing } = account;
    const { good, bad, accounts } = ring.within(WINDOW_MS, epochMs);
    const objective = this.#objective;
    const allowed = (good + bad) * (1 - objective);
    return {
      service,
      objective,
      windowMs: WINDOW_MS,
      measuredBy,
      sinceEpochMs,
      good,
      bad,
      accounts,
      budget: { allowed, left: allowed === 0 ? 1 : 1 - bad / allowed },
      burns: BURN_ALERTS.map((alert) => {
        const { longBurn, shortBurn } = this.#burnOf(ring, alert, epochMs);
        const { name, severity, rate, longMs, shortMs } = alert;
        const firingSinceEpochMs = firing.get(name) ?? null;
        return { name, severity, threshold: rate, longMs, longBurn, shortMs, shortBurn, firingSinceEpochMs };
      }),
      periods: PERIODS.map(({ name, windowMs }) => {
        const coveredMs = Math.max(0, Math.min(windowMs, epochMs - sinceEpochMs));
        return { name, ...periodOf(ring.within(windowMs, epochMs), coveredMs) };
      }),
    };
  }

  archive(): object {
    return [...this.#accounts].map(([service, { ring, measuredBy, sinceEpochMs, firing }]) => {
      return { service, measuredBy, sinceEpochMs, firing: [...firing], ring: ring.archive() satisfies ArchivedRing };
    });
  }

  /** Takes over what `archive` gave in an earlier life. What makes no sense is left out: a measurement is no policy. */
  restore(archived: unknown): void {
    for (const entry of Array.isArray(archived) ? archived : []) {
      if (typeof entry !== 'object' || entry === null) continue;
      const { service, measuredBy, sinceEpochMs, firing, ring } = entry as Readonly<Record<string, unknown>>;
      if (typeof service !== 'string' || typeof sinceEpochMs !== 'number') continue;
      if (measuredBy !== 'outbound' && measuredBy !== 'inbound') continue;
      if (this.#accounts.size >= BUDGET_LIMIT) return;
      this.#accounts.set(service, { ring: EventRing.from(ring), measuredBy, sinceEpochMs, firing: firingOf(firing) });
    }
  }

  #burnOf(ring: EventRing, { rate, longMs, shortMs }: BurnAlert, epochMs: number): Burn {
    const long = ring.within(longMs, epochMs);
    const short = ring.within(shortMs, epochMs);
    const longBurn = burnRate(long.good, long.bad, this.#objective);
    const shortBurn = burnRate(short.good, short.bad, this.#objective);
    return { longBurn, shortBurn, isBurning: long.bad >= LEAST_BAD_EVENTS && longBurn >= rate && shortBurn >= rate };
  }
}

/** So that who was told before the restart is not told again, and still hears of the end. */
function firingOf(archived: unknown): Map<string, number> {
  const firing = new Map<string, number>();
  for (const entry of Array.isArray(archived) ? archived : []) {
    const [name, since]: readonly unknown[] = Array.isArray(entry) ? entry : [];
    if (typeof name === 'string' && typeof since === 'number') firing.set(name, since);
  }
  return firing;
}

interface Burn {
  readonly longBurn: number;
  readonly shortBurn: number;
  readonly isBurning: boolean;
}

function periodOf({ good, bad }: Events, coveredMs: number): Omit<PeriodView, 'name'> {
  const availability = good + bad === 0 ? null : good / (good + bad);
  return {
    coveredMs,
    good,
    bad,
    availability,
    downtimeMs: (1 - (availability ?? 1)) * coveredMs,
    fiveNinesMs: (1 - FIVE_NINES) * coveredMs,
  };
}

function changeOf(
  service: string,
  { name, severity, longMs, shortMs }: BurnAlert,
  { longBurn, shortBurn }: Burn,
  since: number | null,
  objective: number,
  atEpochMs: number,
): AlertChange {
  const budget = `the error budget of ${Number((objective * 100).toFixed(4))} %`;
  const rates = `${longBurn.toFixed(1)} times over ${hours(longMs)} and ${shortBurn.toFixed(1)} times over ${hours(shortMs)}`;
  const text =
    since === null
      ? `${service} burns ${budget} too fast: ${rates}.`
      : `${service} stopped burning ${budget} too fast after ${Math.round((atEpochMs - since) / 1000)} s: ${rates}.`;
  return { service, alert: name, severity, state: since === null ? 'firing' : 'resolved', atEpochMs, text };
}

function hours(ms: number): string {
  return ms < 3_600_000 ? `${ms / 60_000} min` : `${ms / 3_600_000} h`;
}
