// The error budgets of all services: what all control planes counted, held against what the policies promise. Says what is left and
// who must be woken. Pure but for its memory; instants are epoch ms.

import type { SloTarget } from '#contract/policy/slo.ts';
import { BURN_ALERTS, type BurnAlert, burnRate } from '../burn.ts';
import { type AccountCounts, addAccounts, NO_ACCOUNTS } from './accounts.ts';
import { type Counted, countedIn, type MeasuredBy, SloPart } from './part.ts';
import { DAY_MS, type Events } from './ring.ts';

/** Bad events that the long window must hold: a service with a request an hour must not wake anybody by one failure. */
export const LEAST_BAD_EVENTS = 10;
/** A year may have 315.6 s of failure at five nines: 99.999 %. */
export const FIVE_NINES = 0.99999;

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
  /** Successes that took longer are among the bad events; 0 = none is. */
  readonly latencyThresholdMs: number;
  /** Share of the budget below which changes are held back; 0 = never. */
  readonly freezeBelow: number;
  /** It is below, by failures enough to say so. */
  readonly isFrozen: boolean;
  /** The documents that say so. */
  readonly from: SloTarget['from'];
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
  { name: 'month', windowMs: 30 * DAY_MS },
] as const;

/** Since when each alert of each service fires, as it is written down. */
export type ArchivedAlerts = readonly (readonly [service: string, alert: string, sinceEpochMs: number])[];

export class SloBook {
  /** What this control plane counts. */
  readonly own = new SloPart();
  /** What is promised. */
  readonly targetOf: (service: string) => SloTarget;
  #others: readonly SloPart[] = [];
  #firing = new Map<string, Map<string, number>>();

  constructor(targetOf: (service: string) => SloTarget) {
    this.targetOf = targetOf;
  }

  /** What other control planes counted, as of now. */
  setOthers(parts: readonly SloPart[]): void {
    this.#others = parts;
  }

  get others(): readonly SloPart[] {
    return this.#others;
  }

  /** Books what an agent of this control plane counted. Agents beside a service are not heard once its callers are, anywhere. */
  record(service: string, by: MeasuredBy, good: number, bad: AccountCounts, epochMs: number): void {
    if (by === 'inbound' && this.#others.some((part) => part.get(service)?.measuredBy === 'outbound')) return;
    this.own.record(service, by, good, bad, epochMs);
  }

  services(): string[] {
    return [...new Set([this.own, ...this.#others].flatMap((part) => part.services()))].sort();
  }

  /** Looks at every alert of every service. To be called every few seconds. O(services × slots). */
  evaluate(epochMs: number): AlertChange[] {
    const changes: AlertChange[] = [];
    for (const service of this.services()) {
      const counted = this.#countedOf(service);
      const target = this.targetOf(service);
      const firing = this.#firing.get(service) ?? new Map<string, number>();
      for (const alert of BURN_ALERTS) {
        const burn = burnOf(counted, alert, target.objective, epochMs);
        const isBurning = burn.isBurning && alert.longMs <= target.windowMs;
        const since = firing.get(alert.name);
        if (isBurning === (since !== undefined)) continue;
        if (isBurning) firing.set(alert.name, epochMs);
        else firing.delete(alert.name);
        changes.push(changeOf(service, alert, burn, since ?? null, target.objective, epochMs));
      }
      if (firing.size > 0) this.#firing.set(service, firing);
      else this.#firing.delete(service);
    }
    return changes;
  }

  view(service: string, epochMs: number): SloView | null {
    const counted = this.#countedOf(service);
    const [first] = counted;
    if (first === undefined) return null;
    const { objective, windowMs, latencyThresholdMs, freezeBelow, from } = this.targetOf(service);
    const sinceEpochMs = Math.min(...counted.map((one) => one.sinceEpochMs));
    const { good, bad, accounts } = within(counted, windowMs, epochMs);
    const allowed = (good + bad) * (1 - objective);
    const left = allowed === 0 ? 1 : 1 - bad / allowed;
    return {
      service,
      objective,
      windowMs,
      latencyThresholdMs,
      freezeBelow,
      isFrozen: bad >= LEAST_BAD_EVENTS && left < freezeBelow,
      from,
      measuredBy: first.measuredBy,
      sinceEpochMs,
      good,
      bad,
      accounts,
      budget: { allowed, left },
      burns: BURN_ALERTS.filter(({ longMs }) => longMs <= windowMs).map((alert) => {
        const { longBurn, shortBurn } = burnOf(counted, alert, objective, epochMs);
        const { name, severity, rate, longMs, shortMs } = alert;
        const firingSinceEpochMs = this.#firing.get(service)?.get(name) ?? null;
        return { name, severity, threshold: rate, longMs, longBurn, shortMs, shortBurn, firingSinceEpochMs };
      }),
      periods: PERIODS.map(({ name, windowMs: periodMs }) => {
        const coveredMs = Math.max(0, Math.min(periodMs, epochMs - sinceEpochMs));
        return { name, ...periodOf(within(counted, periodMs, epochMs), coveredMs) };
      }),
    };
  }

  alerts(): ArchivedAlerts {
    return [...this.#firing].flatMap(([service, firing]) =>
      [...firing].map(([alert, since]) => [service, alert, since] as const),
    );
  }

  /** Takes over what `alerts` gave, so that who was told is not told again, and still hears of the end. */
  setAlerts(archived: unknown): void {
    this.#firing = new Map();
    for (const entry of Array.isArray(archived) ? archived : []) {
      const [service, alert, since]: readonly unknown[] = Array.isArray(entry) ? entry : [];
      if (typeof service !== 'string' || typeof alert !== 'string' || typeof since !== 'number') continue;
      this.#firing.set(service, (this.#firing.get(service) ?? new Map<string, number>()).set(alert, since));
    }
  }

  #countedOf(service: string): Counted[] {
    return countedIn([this.own, ...this.#others], service);
  }
}

interface Burn {
  readonly longBurn: number;
  readonly shortBurn: number;
  readonly isBurning: boolean;
}

function burnOf(counted: readonly Counted[], alert: BurnAlert, objective: number, epochMs: number): Burn {
  const long = within(counted, alert.longMs, epochMs);
  const short = within(counted, alert.shortMs, epochMs);
  const longBurn = burnRate(long.good, long.bad, objective);
  const shortBurn = burnRate(short.good, short.bad, objective);
  const isFast = longBurn >= alert.rate && shortBurn >= alert.rate;
  return { longBurn, shortBurn, isBurning: long.bad >= LEAST_BAD_EVENTS && isFast };
}

function within(counted: readonly Counted[], windowMs: number, epochMs: number): Events {
  let good = 0;
  let bad = 0;
  let accounts = NO_ACCOUNTS;
  for (const { ring } of counted) {
    const events = ring.within(windowMs, epochMs);
    good += events.good;
    bad += events.bad;
    accounts = addAccounts(accounts, events.accounts);
  }
  return { good, bad, accounts };
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
