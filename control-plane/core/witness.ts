// What all callers together know of an endpoint: who accuses it, who vouches for it, and so whether the endpoint is bad, the way
// there, or the accuser. Pure but for its memory; instants are monotonic ms.

import type { AgentReport } from '#contract/frames.ts';

/** An advisory that is not renewed ends after this; agents hold themselves to it, too. */
export const ADVISORY_TTL_MS = 30_000;
/** A witness that was not heard for this long is none. */
export const WITNESS_AGE_MS = 10_000;
/** Weight of accusations that it takes. Two failures in a row weigh 1, a last call that failed half. */
export const LEAST_WEIGHT = 2;
const SUPPORTER_WEIGHT = 0.5;
/** Good calls since the first accusation from which a caller vouches. */
const EXONERATING_CALLS = 5;
/** Failed share of its calls since then up to which a caller vouches. */
const NORMAL_RATIO = 0.1;
/** Callers vouching for what an accuser blames that it takes to suspend it. */
const LEAST_EXONERATORS = 2;
/** Share of a service's endpoints that may be advised against at once; one always may, the last one never. */
const CEILING_PERCENT = 34;
/** Endpoints under accusation that are followed at once. */
const CASE_LIMIT = 2_000;

export interface Verdict {
  readonly service: string;
  readonly endpoint: string;
  readonly kind: 'instance' | 'path';
  /** Callers of this zone only; null: everybody. */
  readonly zone: string | null;
  readonly accusers: number;
  readonly exonerators: number;
  readonly since: number;
  /** What speaks against the endpoint, without naming it, no full stop: `2 callers failed there, 0 vouch for it`. */
  readonly cause: string;
  /** The same as a full sentence. */
  readonly text: string;
}

export interface Change {
  readonly kind: 'advised' | 'withdrawn' | 'suspended' | 'restored';
  readonly service: string | null;
  readonly endpoint: string | null;
  readonly agentId: string | null;
  readonly text: string;
}

interface Witness {
  /** Of its process: counts of another life are a new base. */
  readonly startedAtEpochMs: number;
  /** At its first word in this case. */
  base: { readonly attempts: number; readonly failures: number };
  /** One report earlier: what callers of other zones did just before the first failure was heard tells paths apart. */
  readonly before: { readonly attempts: number; readonly failures: number };
  attempts: number;
  failures: number;
  isAccusing: boolean;
  /** Its last call failed, which is less than an accusation. */
  isSupporting: boolean;
  zone: string | null;
  heardAt: number;
}

interface Case {
  readonly service: string;
  readonly endpoint: string;
  readonly witnesses: Map<string, Witness>;
  verdict: Verdict | null;
  /** Since the first accusation; before, there are only callers whose last call failed. */
  isOpen: boolean;
}

interface Caller {
  readonly targets: number;
  readonly blamed: number;
  readonly heardAt: number;
  readonly report: AgentReport;
}

export class WitnessBook {
  readonly #cases = new Map<string, Case>();
  readonly #callers = new Map<string, Caller>();
  readonly #suspended = new Set<string>();
  /** Endpoints of a service, as the caller that knows most of them says. */
  readonly #sizes = new Map<string, number>();

  /** Takes one report as the vote of its agent. One vote each: the newest report replaces what it said before. */
  hear(agentId: string, report: AgentReport, now: number): void {
    let targets = 0;
    let blamed = 0;
    for (const { service, endpoints } of report.services) {
      if (endpoints.length > 0) this.#sizes.set(service, endpoints.length);
      for (const { id, attempts, failures, isAccused = false, failuresInARow = 0 } of endpoints) {
        if (attempts > 0) targets++;
        if (isAccused) blamed++;
        const key = `${service}\n${id}`;
        const known = this.#cases.get(key);
        const isSupporting = !isAccused && failuresInARow > 0;
        if (known === undefined && ((!isAccused && !isSupporting) || this.#cases.size >= CASE_LIMIT)) continue;
        const found = known ?? { service, endpoint: id, witnesses: new Map(), verdict: null, isOpen: false };
        this.#cases.set(key, found);
        const { startedAtEpochMs, zone = null } = report;
        const former = found.witnesses.get(agentId);
        const isSame =
          former !== undefined && former.startedAtEpochMs === startedAtEpochMs && attempts >= former.attempts;
        const base = isSame ? former.base : { attempts, failures };
        found.witnesses.set(agentId, {
          startedAtEpochMs,
          base,
          before: isSame ? former.before : (this.#before(agentId, report, service, id) ?? base),
          attempts,
          failures,
          isAccusing: isAccused,
          isSupporting,
          zone,
          heardAt: now,
        });
        if (isAccused && !found.isOpen) open(found);
      }
    }
    this.#callers.set(agentId, { targets, blamed, heardAt: now, report });
  }

  /** What the agent's former report said of the endpoint, in the same life. */
  #before(
    agentId: string,
    { startedAtEpochMs }: AgentReport,
    service: string,
    endpoint: string,
  ): Witness['before'] | null {
    const former = this.#callers.get(agentId)?.report;
    if (former?.startedAtEpochMs !== startedAtEpochMs) return null;
    const { endpoints = [] } = former.services.find((one) => one.service === service) ?? {};
    return endpoints.find(({ id }) => id === endpoint) ?? null;
  }

  /** Decides every open case anew. To be called after hearing something new and every few seconds. O(cases × callers). */
  judge(now: number): Change[] {
    const changes: Change[] = [];
    for (const [agentId, { heardAt }] of this.#callers) {
      if (now - heardAt <= WITNESS_AGE_MS) continue;
      this.#callers.delete(agentId);
      this.#suspended.delete(agentId);
    }
    this.#judgeCallers(now, changes);
    for (const [key, one] of this.#cases) {
      const before = one.verdict;
      one.verdict = this.#verdictOf(one, now);
      if (before === null && one.verdict !== null) changes.push(changeOf('advised', one, one.verdict.text));
      if (before !== null && one.verdict === null) changes.push(changeOf('withdrawn', one, withdrawalOf(one)));
      if (one.verdict === null) this.#tidy(key, one, now);
    }
    return changes;
  }

  /** In force. */
  verdicts(): Verdict[] {
    return [...this.#cases.values()].flatMap(({ verdict }) => verdict ?? []);
  }

  isSuspended(agentId: string): boolean {
    return this.#suspended.has(agentId);
  }

  suspended(): string[] {
    return [...this.#suspended].sort();
  }

  /**
   * Whoever blames half of what it calls, and more than one endpoint, has no vote; and once others vouch for what it blames it is
   * the one that is broken, and its own ejections are suspended. When nobody vouches, the services may well be down.
   */
  #judgeCallers(now: number, changes: Change[]): void {
    for (const [agentId, caller] of this.#callers) {
      const isBroken = isSweeping(caller) && this.#isContradicted(agentId, now);
      if (isBroken === this.#suspended.has(agentId)) continue;
      const { blamed, targets } = caller;
      if (isBroken) this.#suspended.add(agentId);
      else this.#suspended.delete(agentId);
      const text = isBroken
        ? `${agentId} accuses ${blamed} of ${targets} endpoints that others vouch for: its ejections are suspended.`
        : `${agentId} accuses ${blamed} of ${targets} endpoints: its ejections count again.`;
      changes.push({ kind: isBroken ? 'suspended' : 'restored', service: null, endpoint: null, agentId, text });
    }
  }

  #isContradicted(agentId: string, now: number): boolean {
    const exonerators = new Set<string>();
    for (const one of this.#cases.values()) {
      if (one.witnesses.get(agentId)?.isAccusing !== true) continue;
      for (const [other, witness] of one.witnesses) {
        if (other !== agentId && isHeard(witness, now) && isExonerating(witness)) exonerators.add(other);
      }
      if (exonerators.size >= LEAST_EXONERATORS) return true;
    }
    return false;
  }

  /** Accusations without a vote keep a case open: it is where those who have none are contradicted. */
  #tidy(key: string, one: Case, now: number): void {
    const heard = [...one.witnesses.values()].filter((witness) => isHeard(witness, now));
    if (!heard.some(({ isAccusing }) => isAccusing)) one.isOpen = false;
    if (!one.isOpen && !heard.some(({ isSupporting }) => isSupporting)) this.#cases.delete(key);
  }

  #verdictOf(one: Case, now: number): Verdict | null {
    const heard = [...one.witnesses.values()].filter((witness) => isHeard(witness, now));
    const accusers = this.#accusers(one, now);
    const exonerators = heard.filter(isExonerating);
    if (one.verdict !== null) {
      // Who was warned off can no longer vouch, so it ends when no accuser is left, or when more speak for it after all.
      const isLeft = accusers.length === 0 && (one.verdict.accusers > 0 || now - one.verdict.since >= ADVISORY_TTL_MS);
      if (isLeft || exonerators.length > Math.max(1, accusers.length)) return null;
      const { zone } = one.verdict;
      const isWider = zone !== null && accusers.some((accuser) => accuser.zone !== zone);
      const scope = isWider ? ({ kind: 'instance', zone: null } as const) : {};
      return { ...one.verdict, ...scope, accusers: accusers.length, exonerators: exonerators.length };
    }
    const supporters = heard.filter(({ isSupporting }) => isSupporting);
    const weight = accusers.length + SUPPORTER_WEIGHT * supporters.length;
    const against = [...accusers, ...supporters];
    const others = heard.filter((witness) => !against.includes(witness));
    const well = others.filter((witness) => hasCalledWell(witness, witness.base));
    if (weight < LEAST_WEIGHT) return null;
    // Without an accuser it takes that hardly anybody called it well since the first of them failed.
    if (accusers.length === 0 && well.length > SUPPORTER_WEIGHT * supporters.length) return null;
    const zone = zoneOfPath(against, others);
    if (zone !== null) return this.#advise(one, 'path', zone, against.length, well.length, now, accusers.length);
    if (weight < 2 * exonerators.length) return null;
    return this.#advise(one, 'instance', null, against.length, exonerators.length, now, accusers.length);
  }

  #advise(
    { service, endpoint }: Case,
    kind: 'instance' | 'path',
    zone: string | null,
    against: number,
    exonerators: number,
    since: number,
    accusers: number,
  ): Verdict | null {
    const size = this.#sizes.get(service) ?? 0;
    const limit = Math.min(size - 1, Math.max(1, Math.floor((CEILING_PERCENT * size) / 100)));
    let out = 0;
    for (const { verdict } of this.#cases.values()) if (verdict?.service === service) out++;
    if (out >= limit) return null;
    const who = zone === null ? 'callers' : `callers of zone ${zone}`;
    const cause = `${against} ${who} failed there, ${exonerators} vouch for it`;
    const text = `${endpoint} is advised against: ${cause}.`;
    return { service, endpoint, kind, zone, accusers, exonerators, since, cause, text };
  }

  #accusers({ witnesses }: Case, now: number): Witness[] {
    return [...witnesses].flatMap(([agentId, witness]) => {
      const caller = this.#callers.get(agentId);
      const hasVote = caller !== undefined && !isSweeping(caller) && !this.#suspended.has(agentId);
      return hasVote && witness.isAccusing && isHeard(witness, now) ? [witness] : [];
    });
  }
}

/** What callers did before the first accusation says nothing about what is wrong since. */
function open(one: Case): void {
  one.isOpen = true;
  for (const witness of one.witnesses.values()) {
    witness.base = { attempts: witness.attempts, failures: witness.failures };
  }
}

/** All who failed are in one zone, and a caller elsewhere called the endpoint well: the way from that zone is bad, until one from elsewhere fails too. */
function zoneOfPath(against: readonly Witness[], others: readonly Witness[]): string | null {
  const zone = against[0]?.zone ?? null;
  if (zone === null || against.some((witness) => witness.zone !== zone)) return null;
  const well = others.filter((witness) => hasCalledWell(witness, witness.before));
  return well.some((witness) => witness.zone !== zone) ? zone : null;
}

function isSweeping({ targets, blamed }: Caller): boolean {
  return blamed >= 2 && blamed * 2 >= targets;
}

function isHeard({ heardAt }: Witness, now: number): boolean {
  return now - heardAt <= WITNESS_AGE_MS;
}

function isExonerating(witness: Witness): boolean {
  const { isAccusing, isSupporting, attempts, failures, base } = witness;
  const calls = attempts - base.attempts;
  return !isAccusing && !isSupporting && calls >= EXONERATING_CALLS && failures - base.failures <= calls * NORMAL_RATIO;
}

function hasCalledWell({ attempts, failures }: Witness, since: Witness['before']): boolean {
  return attempts > since.attempts && failures === since.failures;
}

function changeOf(kind: 'advised' | 'withdrawn', { service, endpoint }: Case, text: string): Change {
  return { kind, service, endpoint, agentId: null, text };
}

function withdrawalOf({ endpoint }: Case): string {
  return `${endpoint} is no longer advised against: its accusers found it well, or are gone.`;
}
