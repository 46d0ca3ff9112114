// From reports to budgets: takes what an edge added since it was booked last, finds out whom the failures are put down to, and books
// it; a few seconds later, when it is known what all others saw meanwhile, it books them anew if that says otherwise. Pure but for
// its memory.

import { FAILURE_KINDS, type FailureCounts, NO_FAILURES } from '#contract/failures.ts';
import type { AgentReport, EdgeReport } from '#contract/frames.ts';
import { EMPTY_SKETCH, sketchCount, sketchCountAbove } from '#contract/latency-sketch.ts';
import { RATE_WINDOW_MS } from '../counters.ts';
import { endpointKey, type Fleet, type Member, ownEdges } from '../fleet.ts';
import {
  type AccountCounts,
  ALL_SERVICE,
  blameOf,
  book,
  NO_TALLY,
  type Sighting,
  SLOW_SERVICE,
  slowBlameOf,
  type Tally,
} from './accounts.ts';
import type { Arrivals } from './arrivals.ts';
import type { SloBook } from './book.ts';
import { type Base, BUDGET_LIMIT, DATED_FOR_MS, sumOf } from './part.ts';

const SEEN_FOR_MS = 1_000;
/** Two reports of every agent. */
export const HINDSIGHT_MS = 4_000;
/** Bookings that are looked at again; of more, the first look holds. */
const PENDING_LIMIT = 20_000;

/** What one report added to one edge, successes aside. */
interface Bad {
  readonly failures: FailureCounts;
  readonly slow: number;
}

/** Bad events that may be booked anew. */
interface Pending {
  readonly agentId: string;
  readonly service: string;
  readonly bad: Bad;
  readonly booked: AccountCounts;
  readonly at: number;
  readonly epochMs: number;
}

/** By endpoint. */
interface Tallies {
  readonly failed: ReadonlyMap<string, Tally>;
  readonly slowly: ReadonlyMap<string, Tally>;
}

const NOTHING: Tallies = { failed: new Map(), slowly: new Map() };

interface Seen {
  readonly at: number;
  readonly tallies: Tallies;
  readonly byZone: ReadonlyMap<string, Tallies>;
}

export class SloIntake {
  readonly #fleet: Fleet;
  readonly #book: SloBook;
  readonly #arrivals: Arrivals;
  /** By service; as many as have budgets at most, in practice those that fail. */
  readonly #seen = new Map<string, Seen>();
  #pending: Pending[] = [];

  constructor(fleet: Fleet, slos: SloBook, arrivals: Arrivals) {
    this.#fleet = fleet;
    this.#book = slos;
    this.#arrivals = arrivals;
  }

  /** To be called after the fleet took the whole report in: the endpoints' counts in it are the evidence. */
  take(agentId: string, report: AgentReport, now: number, epochMs: number): void {
    const { sequence, startedAtEpochMs } = report;
    const process = `${agentId}\n${startedAtEpochMs}`;
    const arrival = this.#arrivals.hear(agentId, startedAtEpochMs, sequence, now);
    if (arrival === 'old' || arrival === 'waiting') return;
    for (const edge of ownEdges(report)) {
      const { destination: service, direction, source } = edge;
      const key = `${process}\n${direction}\n${source}`;
      const base = this.#baseOf(service, key, arrival === 'first');
      const counts = countsOf(edge);
      if (!this.#book.own.setBase(service, key, { counts, atEpochMs: epochMs })) continue;
      // What was counted while nobody could be told is dated by nobody.
      if (epochMs - (base?.atEpochMs ?? startedAtEpochMs) > DATED_FOR_MS) continue;
      const [successes = 0, slow = 0, ...failed] = added(counts, base);
      const failures = { ...NO_FAILURES };
      FAILURE_KINDS.forEach((kind, index) => {
        failures[kind] = failed[index] ?? 0;
      });
      // Successes and slow ones are counted apart, and a restart of one of them must not make fewer than none.
      const good = Math.max(0, successes - slow);
      this.#record(agentId, service, direction, good, { failures, slow: successes - good }, now, epochMs);
    }
  }

  /** Looks again at what was booked HINDSIGHT_MS ago. To be called every few seconds. */
  review(now: number): void {
    let reviewed = 0;
    for (const one of this.#pending) {
      if (now - one.at < HINDSIGHT_MS) break;
      reviewed++;
      const { agentId, service, bad, booked, epochMs } = one;
      this.#book.own.rebook(service, booked, this.#accountsOf(agentId, service, bad, now), epochMs);
    }
    if (reviewed > 0) this.#pending = this.#pending.slice(reviewed);
  }

  /** What was counted here is counted elsewhere now. */
  reset(): void {
    this.#book.own.clear();
    this.#arrivals.reset();
    this.#pending = [];
  }

  #record(
    agentId: string,
    service: string,
    direction: EdgeReport['direction'],
    good: number,
    bad: Bad,
    now: number,
    epochMs: number,
  ): void {
    const isUpstream = direction === 'outbound' && bad.failures.answered + bad.failures.unanswered + bad.slow > 0;
    const booked = isUpstream
      ? this.#accountsOf(agentId, service, bad, now)
      : book(bad.failures, ALL_SERVICE, bad.slow);
    this.#book.record(service, direction, good, booked, epochMs);
    if (!isUpstream || this.#pending.length >= PENDING_LIMIT || this.#book.own.get(service) === null) return;
    this.#pending.push({ agentId, service, bad, booked, at: now, epochMs });
  }

  #accountsOf(agentId: string, service: string, { failures, slow }: Bad, now: number): AccountCounts {
    const { failed, slowly } = this.#sightingsOf(agentId, service, now);
    return book(failures, blameOf(failed), slow, slow === 0 ? SLOW_SERVICE : slowBlameOf(slowly));
  }

  /** @param isFirst  it may have been booked elsewhere since it was booked here */
  #baseOf(service: string, key: string, isFirst: boolean): Base | null {
    const own = this.#book.own.base(service, key);
    if (own !== null && !isFirst) return own;
    const bases = [own, ...this.#book.others.map((part) => part.base(service, key))];
    return bases.reduce((best, one) => {
      return best === null || (one !== null && sumOf(one.counts) > sumOf(best.counts)) ? one : best;
    });
  }

  #sightingsOf(agentId: string, service: string, now: number): Record<keyof Seen['tallies'], Sighting[]> {
    const member = this.#fleet.get(agentId);
    const seen = this.#seenOf(service, now);
    const own = member === null ? NOTHING : this.#talliesOf(member, service, now);
    const zone = member?.report.zone ?? null;
    const of = (which: keyof Seen['tallies']): Sighting[] => {
      const all = seen.tallies[which];
      const mates = zone === null ? null : (seen.byZone.get(zone)?.[which] ?? new Map<string, Tally>());
      return [...new Set([...all.keys(), ...own[which].keys()])].map((endpoint): Sighting => {
        const everybody = all.get(endpoint) ?? NO_TALLY;
        const mine = own[which].get(endpoint) ?? NO_TALLY;
        const elsewhere = mates === null ? NO_TALLY : minus(everybody, mates.get(endpoint) ?? NO_TALLY);
        return { endpoint, own: mine, others: minus(everybody, mine), elsewhere };
      });
    };
    return { failed: of('failed'), slowly: of('slowly') };
  }

  /** What all agents saw of the service, summed at most once a second: in an outage every report has failures. */
  #seenOf(service: string, now: number): Seen {
    const known = this.#seen.get(service);
    if (known !== undefined && now - known.at < SEEN_FOR_MS) return known;
    const tallies = { failed: new Map<string, Tally>(), slowly: new Map<string, Tally>() };
    const byZone = new Map<string, typeof tallies>();
    for (const member of this.#fleet.members()) {
      const { zone = null } = member.report;
      const ofZone = zone === null ? null : (byZone.get(zone) ?? { failed: new Map(), slowly: new Map() });
      if (zone !== null && ofZone !== null) byZone.set(zone, ofZone);
      const own = this.#talliesOf(member, service, now);
      for (const which of ['failed', 'slowly'] as const) {
        for (const [endpoint, tally] of own[which]) {
          for (const sums of [tallies[which], ofZone?.[which]])
            sums?.set(endpoint, plus(sums.get(endpoint) ?? NO_TALLY, tally));
        }
      }
    }
    const seen = { at: now, tallies, byZone };
    if (known !== undefined || this.#seen.size < BUDGET_LIMIT) this.#seen.set(service, seen);
    return seen;
  }

  /** Recent attempts of one agent by endpoint: those that failed, and those that alone took longer than the whole request may. */
  #talliesOf(member: Member, service: string, now: number): Tallies {
    const failed = new Map<string, Tally>();
    const slowly = new Map<string, Tally>();
    const thresholdMs = this.#book.targetOf(service).latencyThresholdMs;
    const { endpoints = [] } = member.report.services.find((one) => one.service === service) ?? {};
    for (const { id } of endpoints) {
      const key = endpointKey(service, id);
      const recent = member.endpoints.get(key)?.within(RATE_WINDOW_MS, now).counts;
      if (recent !== undefined && recent.requests > 0) {
        failed.set(id, { attempts: recent.requests, failures: recent.requests - recent.successes });
      }
      const sketch = thresholdMs === 0 ? EMPTY_SKETCH : (member.latencies.get(key)?.recent() ?? EMPTY_SKETCH);
      const attempts = sketchCount(sketch);
      if (attempts > 0) slowly.set(id, { attempts, failures: sketchCountAbove(sketch, thresholdMs) });
    }
    return { failed, slowly };
  }
}

function plus(a: Tally, b: Tally): Tally {
  return { attempts: a.attempts + b.attempts, failures: a.failures + b.failures };
}

function minus(a: Tally, b: Tally): Tally {
  return { attempts: Math.max(0, a.attempts - b.attempts), failures: Math.max(0, a.failures - b.failures) };
}

/** Successes, the slow ones of them, then failures by kind. Agents from before the kinds say only how many failed. */
function countsOf({ requests, successes, slow = 0, failures }: EdgeReport): number[] {
  const known = failures ?? { ...NO_FAILURES, answered: requests - successes };
  return [successes, slow, ...FAILURE_KINDS.map((kind) => known[kind])];
}

/** An edge that was dropped and came back counts from zero again. A base of another version says nothing, and so nothing is added. */
function added(counts: readonly number[], base: Base | null): readonly number[] {
  if (base !== null && base.counts.length !== counts.length) return [];
  if (base === null || counts.some((count, index) => count < (base.counts[index] ?? 0))) return counts;
  return counts.map((count, index) => count - (base.counts[index] ?? 0));
}
