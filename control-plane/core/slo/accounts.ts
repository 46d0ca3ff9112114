// Books each bad event to exactly one cause. Pure: what was counted and what is known around it go in, sums come out.

import type { FailureCounts } from '#contract/failures.ts';

export const ACCOUNTS = ['instance', 'service', 'path', 'caller', 'policy', 'client'] as const;

/**
 * `instance`: some of the service's endpoints. `service`: all or most of them, or there was none. `path`: between this caller and
 * endpoints that others reach. `caller`: the agent beside the caller. `policy`: the mesh said no. `client`: whoever asked left.
 */
export type Account = (typeof ACCOUNTS)[number];
export type AccountCounts = Readonly<Record<Account, number>>;

export const NO_ACCOUNTS: AccountCounts = { instance: 0, service: 0, path: 0, caller: 0, policy: 0, client: 0 };

/** Recent attempts at one endpoint: of the caller in question, of all others, and of those of them in other zones. */
export interface Sighting {
  readonly endpoint: string;
  readonly own: Tally;
  readonly others: Tally;
  readonly elsewhere: Tally;
}

export interface Tally {
  readonly attempts: number;
  readonly failures: number;
}

export const NO_TALLY: Tally = { attempts: 0, failures: 0 };

/** Shares of the upstream failures of one caller, each summing to 1. */
export interface Blame {
  /** For answers of 5xx. */
  readonly answered: { readonly instance: number; readonly service: number };
  /** For no answers. */
  readonly unanswered: { readonly instance: number; readonly service: number; readonly path: number };
}

export const ALL_SERVICE: Blame = {
  answered: { instance: 0, service: 1 },
  unanswered: { instance: 0, service: 1, path: 0 },
};

/** Share of this caller's failure ratio up to which others are well. */
const WELL_SHARE = 0.2;
/** How much likelier it must be that they differ than that chance made it look so, natural logarithm: once in 400. */
const SURE = 6;
/** Share of the failures that endpoints which are well may have all the same, when others are ill. */
const STRAY_SHARE = 0.1;

/**
 * Failures of this caller go by the endpoints at which its attempts failed. An endpoint that others (or those of other zones) reach is
 * a matter of the path. For the rest it is asked which explains the failures of all callers better: a minority of endpoints that
 * has nearly all of them, or all alike. The one endpoint of a service is the service.
 */
export function blameOf(sightings: readonly Sighting[]): Blame {
  const own = sightings.reduce((sum, sighting) => sum + sighting.own.failures, 0);
  const ill = illMinority(sightings);
  const endpoints = ill === null ? 'service' : 'instance';
  if (own === 0) return { answered: shares(endpoints, 0), unanswered: { ...shares(endpoints, 0), path: 0 } };
  const byPath = sightings.reduce((sum, sighting) => sum + (isPath(sighting) ? sighting.own.failures : 0), 0);
  return { answered: shares(endpoints, 0), unanswered: { ...shares(endpoints, byPath / own), path: byPath / own } };
}

function shares(endpoints: 'instance' | 'service', path: number): { instance: number; service: number } {
  return endpoints === 'instance' ? { instance: 1 - path, service: 0 } : { instance: 0, service: 1 - path };
}

function isPath({ own, others, elsewhere }: Sighting): boolean {
  return [others, elsewhere].some((rest) => {
    if (own.failures === 0 || rest.attempts === 0 || ratioOf(rest) > WELL_SHARE * ratioOf(own)) return false;
    const both = { attempts: own.attempts + rest.attempts, failures: own.failures + rest.failures };
    return likelihood(own) + likelihood(rest) - likelihood(both) >= SURE;
  });
}

function ratioOf({ attempts, failures }: Tally): number {
  return failures / attempts;
}

/** Natural logarithm of how likely the tally is at its own ratio. */
function likelihood({ attempts, failures }: Tally): number {
  const share = failures / attempts;
  const part = (count: number, ratio: number): number => (count === 0 ? 0 : count * Math.log(ratio));
  return part(failures, share) + part(attempts - failures, 1 - share);
}

/**
 * The minority of endpoints (at most half of those that were asked) that explains the failures better than that all are alike, or
 * null. By likelihood: alike, a failure falls on an endpoint as often as an attempt does; with a minority STRAY_SHARE of them falls
 * elsewhere. There are many minorities to choose from, which counts against each.
 */
export function illMinority(sightings: readonly Sighting[]): readonly string[] | null {
  const asked = sightings
    .map(({ endpoint, own, others }) => ({
      endpoint,
      attempts: own.attempts + others.attempts,
      failures: own.failures + others.failures,
    }))
    .filter(({ attempts }) => attempts > 0)
    .sort((a, b) => b.failures / b.attempts - a.failures / a.attempts);
  const attempts = asked.reduce((sum, one) => sum + one.attempts, 0);
  const failures = asked.reduce((sum, one) => sum + one.failures, 0);
  if (failures === 0) return null;
  let best = 0;
  let found: number | null = null;
  let inside = { attempts: 0, failures: 0 };
  let choices = 0;
  for (let size = 1; size * 2 <= asked.length; size++) {
    const next = asked[size - 1];
    if (next === undefined) break;
    inside = { attempts: inside.attempts + next.attempts, failures: inside.failures + next.failures };
    choices += Math.log((asked.length - size + 1) / size);
    // Relative to "all alike"; what both have in common cancels.
    const gain =
      inside.failures * Math.log(((1 - STRAY_SHARE) * attempts) / inside.attempts) +
      (failures - inside.failures) * Math.log((STRAY_SHARE * attempts) / (attempts - inside.attempts));
    // One endpoint that fails once is likelier than a whole service that does.
    const score = gain - choices + 1;
    if (score <= best) continue;
    best = score;
    found = size;
  }
  return found === null ? null : asked.slice(0, found).map(({ endpoint }) => endpoint);
}

/** Whom slow successes are put down to, shares summing to 1. */
export type SlowBlame = Readonly<Partial<Record<'instance' | 'service' | 'path' | 'policy', number>>>;

/**
 * As for no answers, with slow attempts for failed ones. Where none was slow it was no endpoint's time: retries, a queue, or a delay on
 * purpose, which are the mesh's.
 */
export function slowBlameOf(sightings: readonly Sighting[]): SlowBlame {
  return sightings.every(({ own }) => own.failures === 0) ? { policy: 1 } : blameOf(sightings).unanswered;
}

export const SLOW_SERVICE: SlowBlame = { service: 1 };

/** Sums to the slow ones and all failures but the invalid ones, exactly. */
export function book(failures: FailureCounts, blame: Blame, slow = 0, slowBlame = SLOW_SERVICE): AccountCounts {
  const sums: Record<Account, number> = { ...NO_ACCOUNTS };
  for (const [account, count] of divide(slow, slowBlame)) sums[account] += count;
  for (const [account, count] of divide(failures.answered, blame.answered)) sums[account] += count;
  for (const [account, count] of divide(failures.unanswered, blame.unanswered)) sums[account] += count;
  sums.service += failures.unserved;
  sums.policy += failures.policy;
  sums.caller += failures.self;
  sums.client += failures.canceled;
  return sums;
}

/** Whole numbers by shares; what rounding leaves goes to the largest. */
function divide(count: number, shares: Readonly<Partial<Record<Account, number>>>): [Account, number][] {
  const parts = ACCOUNTS.flatMap((account): [Account, number][] => {
    const share = shares[account] ?? 0;
    return share > 0 ? [[account, Math.floor(count * share)]] : [];
  });
  parts.sort(([a], [b]) => (shares[b] ?? 0) - (shares[a] ?? 0));
  const [largest] = parts;
  if (largest !== undefined) largest[1] += count - parts.reduce((sum, [, part]) => sum + part, 0);
  return parts;
}

export function totalOf(accounts: AccountCounts): number {
  return ACCOUNTS.reduce((sum, account) => sum + accounts[account], 0);
}

export function addAccounts(a: AccountCounts, b: AccountCounts): AccountCounts {
  const sums = { ...NO_ACCOUNTS };
  for (const account of ACCOUNTS) sums[account] = a[account] + b[account];
  return sums;
}
