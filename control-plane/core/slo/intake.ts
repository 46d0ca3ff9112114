// From reports to budgets: takes what an edge added since it was booked last, finds out whom the failures are put down to, and books
// it; a few seconds later, when it is known what all others saw meanwhile, it books them anew if that says otherwise. Pure but for
// its memory.

import { FAILURE_KINDS, type FailureCounts, NO_FAILURES } from '#contract/failures.ts';
import type { AgentReport, EdgeReport } from '#contract/frames.ts';
import { RATE_WINDOW_MS } from '../counters.ts';
import { endpointKey, type Fleet, type Member, ownEdges } from '../fleet.ts';
import {
  type AccountCounts,
  ALL_SERVICE,
  type Blame,
  blameOf,
  book,
  NO_TALLY,
  type Sighting,
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

/** Upstream failures that may be booked anew. */
interface Pending {
  readonly agentId: string;
  readonly service: string;
  readonly failures: FailureCounts;
  readonly booked: AccountCounts;
  readonly at: number;
  readonly epochMs: number;
}

interface Seen {
  readonly at: number;
  /** By endpoint: of everybody, and by zone. */
  readonly all: ReadonlyMap<string, Tally>;
  readonly byZone: ReadonlyMap<string, ReadonlyMap<string, Tally>>;
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
    const arrival = this.#arrivals.hear(process, sequence, now);
    if (arrival === 'old' || arrival === 'waiting') return;
    for (const edge of ownEdges(report)) {
      const { destination: service, direction, source } = edge;
      const key = `${process}\n${direction}\n${source}`;
      const base = this.#baseOf(service, key, arrival === 'first');
      const counts = countsOf(edge);
      this.#book.own.setBase(service, key, { counts, atEpochMs: epochMs });
      // What was counted while nobody could be told is dated by nobody.
      if (epochMs - (base?.atEpochMs ?? startedAtEpochMs) > DATED_FOR_MS) continue;
      const [good = 0, ...failed] = added(counts, base);
      const failures = { ...NO_FAILURES };
      FAILURE_KINDS.forEach((kind, index) => {
        failures[kind] = failed[index] ?? 0;
      });
      this.#record(agentId, service, direction, good, failures, now, epochMs);
    }
  }

  /** Looks again at what was booked HINDSIGHT_MS ago. To be called every few seconds. */
  review(now: number): void {
    let reviewed = 0;
    for (const one of this.#pending) {
      if (now - one.at < HINDSIGHT_MS) break;
      reviewed++;
      const { agentId, service, failures, booked, epochMs } = one;
      this.#book.own.rebook(service, booked, book(failures, this.#blameOf(agentId, service, now)), epochMs);
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
    failures: FailureCounts,
    now: number,
    epochMs: number,
  ): void {
    const isUpstream = direction === 'outbound' && failures.answered + failures.unanswered > 0;
    const booked = book(failures, isUpstream ? this.#blameOf(agentId, service, now) : ALL_SERVICE);
    this.#book.record(service, direction, good, booked, epochMs);
    if (!isUpstream || this.#pending.length >= PENDING_LIMIT || this.#book.own.get(service) === null) return;
    this.#pending.push({ agentId, service, failures, booked, at: now, epochMs });
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

  #blameOf(agentId: string, service: string, now: number): Blame {
    const member = this.#fleet.get(agentId);
    const seen = this.#seenOf(service, now);
    const own = member === null ? new Map<string, Tally>() : talliesOf(member, service, now);
    const zone = member?.report.zone ?? null;
    const zoneMates = zone === null ? null : (seen.byZone.get(zone) ?? new Map<string, Tally>());
    const sightings = [...new Set([...seen.all.keys(), ...own.keys()])].map((endpoint): Sighting => {
      const all = seen.all.get(endpoint) ?? NO_TALLY;
      const mine = own.get(endpoint) ?? NO_TALLY;
      const elsewhere = zoneMates === null ? NO_TALLY : minus(all, zoneMates.get(endpoint) ?? NO_TALLY);
      return { endpoint, own: mine, others: minus(all, mine), elsewhere };
    });
    return blameOf(sightings);
  }

  /** What all agents saw of the service, summed at most once a second: in an outage every report has failures. */
  #seenOf(service: string, now: number): Seen {
    const known = this.#seen.get(service);
    if (known !== undefined && now - known.at < SEEN_FOR_MS) return known;
    const all = new Map<string, Tally>();
    const byZone = new Map<string, Map<string, Tally>>();
    for (const member of this.#fleet.members()) {
      const { zone = null } = member.report;
      const ofZone = zone === null ? null : (byZone.get(zone) ?? new Map<string, Tally>());
      if (zone !== null && ofZone !== null) byZone.set(zone, ofZone);
      for (const [endpoint, tally] of talliesOf(member, service, now)) {
        all.set(endpoint, plus(all.get(endpoint) ?? NO_TALLY, tally));
        ofZone?.set(endpoint, plus(ofZone.get(endpoint) ?? NO_TALLY, tally));
      }
    }
    const seen = { at: now, all, byZone };
    if (known !== undefined || this.#seen.size < BUDGET_LIMIT) this.#seen.set(service, seen);
    return seen;
  }
}

/** Recent attempts of one agent by endpoint. */
function talliesOf(member: Member, service: string, now: number): Map<string, Tally> {
  const tallies = new Map<string, Tally>();
  const { endpoints = [] } = member.report.services.find((one) => one.service === service) ?? {};
  for (const { id } of endpoints) {
    const recent = member.endpoints.get(endpointKey(service, id))?.within(RATE_WINDOW_MS, now).counts;
    if (recent === undefined || recent.requests === 0) continue;
    tallies.set(id, { attempts: recent.requests, failures: recent.requests - recent.successes });
  }
  return tallies;
}

function plus(a: Tally, b: Tally): Tally {
  return { attempts: a.attempts + b.attempts, failures: a.failures + b.failures };
}

function minus(a: Tally, b: Tally): Tally {
  return { attempts: Math.max(0, a.attempts - b.attempts), failures: Math.max(0, a.failures - b.failures) };
}

/** Successes, then failures by kind. Agents from before the kinds say only how many failed. */
function countsOf({ requests, successes, failures }: EdgeReport): number[] {
  const known = failures ?? { ...NO_FAILURES, answered: requests - successes };
  return [successes, ...FAILURE_KINDS.map((kind) => known[kind])];
}

/** An edge that was dropped and came back counts from zero again. */
function added(counts: readonly number[], base: Base | null): readonly number[] {
  if (base === null || counts.some((count, index) => count < (base.counts[index] ?? 0))) return counts;
  return counts.map((count, index) => count - (base.counts[index] ?? 0));
}
