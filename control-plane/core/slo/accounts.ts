// Books each bad event to exactly one cause. Pure: what was counted and what is known around it go in, sums come out.

import { FAILURE_KINDS, type FailureCounts, NO_FAILURES } from '#contract/failures.ts';

export const ACCOUNTS = ['instance', 'service', 'path', 'caller', 'policy', 'client'] as const;

/**
 * `instance`: some of the service's endpoints. `service`: all or most of them, or there was none. `path`: between this caller and
 * endpoints that others reach. `caller`: the agent beside the caller. `policy`: the mesh said no. `client`: whoever asked left.
 */
export type Account = (typeof ACCOUNTS)[number];
export type AccountCounts = Readonly<Record<Account, number>>;

export const NO_ACCOUNTS: AccountCounts = { instance: 0, service: 0, path: 0, caller: 0, policy: 0, client: 0 };

/** Recent attempts of one caller to one endpoint. */
export interface Sighting {
  readonly endpoint: string;
  readonly isOwn: boolean;
  readonly attempts: number;
  readonly failures: number;
}

/** Share of failed attempts from which something counts as failing, and below which it counts as well. */
const FAILING_RATIO = 0.2;
const WELL_RATIO = 0.05;
/** Attempts of others that it takes to say that they reach an endpoint. */
const ENOUGH_ATTEMPTS = 5;

/** What the upstream failures of one caller are put down to. */
export interface Blame {
  /** For answers of 5xx. */
  readonly answered: 'instance' | 'service';
  /** For no answers. */
  readonly unanswered: 'instance' | 'service' | 'path';
}

/**
 * A path is broken when this caller fails at endpoints that all others together reach. Otherwise it is the endpoints: some of them when
 * at most half of those that were asked fail, else the service; so the one endpoint of a service is the service.
 */
export function blameOf(sightings: readonly Sighting[]): Blame {
  const byEndpoint = new Map<string, { all: Tally; own: Tally }>();
  for (const { endpoint, isOwn, attempts, failures } of sightings) {
    const tallies = byEndpoint.get(endpoint) ?? {
      all: { attempts: 0, failures: 0 },
      own: { attempts: 0, failures: 0 },
    };
    byEndpoint.set(endpoint, tallies);
    for (const tally of isOwn ? [tallies.all, tallies.own] : [tallies.all]) {
      tally.attempts += attempts;
      tally.failures += failures;
    }
  }
  const asked = [...byEndpoint.values()].filter(({ all }) => all.attempts > 0);
  const failing = asked.filter(({ all }) => ratioOf(all) >= FAILING_RATIO).length;
  const isInstance = failing > 0 && failing < asked.length && failing * 2 <= asked.length;
  const endpoints = isInstance ? 'instance' : 'service';
  const accused = asked.filter(({ own }) => ratioOf(own) >= FAILING_RATIO);
  const isPath = accused.length > 0 && accused.every(({ all, own }) => isReachedByOthers(all, own));
  return { answered: endpoints, unanswered: isPath ? 'path' : endpoints };
}

/** Sums to all failures but the invalid ones, exactly. */
export function book(failures: FailureCounts, blame: Blame): AccountCounts {
  const sums: Record<Account, number> = { ...NO_ACCOUNTS };
  sums[blame.answered] += failures.answered;
  sums[blame.unanswered] += failures.unanswered;
  sums.service += failures.unserved;
  sums.policy += failures.policy;
  sums.caller += failures.self;
  sums.client += failures.canceled;
  return sums;
}

export function totalOf(accounts: AccountCounts): number {
  return ACCOUNTS.reduce((sum, account) => sum + accounts[account], 0);
}

/** What was added between two values of one life; never negative. */
export function failuresAdded(newer: FailureCounts, older: FailureCounts = NO_FAILURES): FailureCounts {
  const added = { ...NO_FAILURES };
  for (const kind of FAILURE_KINDS) added[kind] = Math.max(0, newer[kind] - older[kind]);
  return added;
}

interface Tally {
  attempts: number;
  failures: number;
}

function isReachedByOthers(all: Tally, own: Tally): boolean {
  const others = { attempts: all.attempts - own.attempts, failures: all.failures - own.failures };
  return others.attempts >= ENOUGH_ATTEMPTS && ratioOf(others) < WELL_RATIO;
}

function ratioOf({ attempts, failures }: Tally): number {
  return attempts === 0 ? 0 : failures / attempts;
}
