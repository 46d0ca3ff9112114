// From reports to budgets: takes what an edge added, finds out whom the failures are put down to, and books it. Pure but for a cache.

import type { AgentReport } from '#contract/frames.ts';
import { RATE_WINDOW_MS } from '../counters.ts';
import { endpointKey, type Fleet, type Member } from '../fleet.ts';
import { type Blame, blameOf, book, type Sighting } from './accounts.ts';
import { BUDGET_LIMIT, type SloBook } from './book.ts';

const NOTHING_FAILED: Blame = { answered: 'service', unanswered: 'service' };

const SEEN_FOR_MS = 1_000;

export class SloIntake {
  readonly #fleet: Fleet;
  readonly #book: SloBook;
  readonly #sinceEpochMs: number;
  /** By service; as many as have budgets at most, in practice those that fail. */
  readonly #seen = new Map<string, { readonly at: number; readonly all: readonly Sighting[] }>();

  /** @param sinceEpochMs  when this control plane began to count */
  constructor(fleet: Fleet, slos: SloBook, sinceEpochMs: number) {
    this.#fleet = fleet;
    this.#book = slos;
    this.#sinceEpochMs = sinceEpochMs;
  }

  /**
   * To be called after the fleet took the whole report in: the endpoints' counts in it are the evidence.
   *
   * Of an agent that is older than this control plane the first report is only the base line: what is in it was booked in an
   * earlier life, but for what happened while there was no control plane, which nobody can date.
   */
  take(agentId: string, report: AgentReport, now: number, epochMs: number): void {
    const isOlder = report.startedAtEpochMs < this.#sinceEpochMs;
    for (const { edge, added, failures, isFirst } of this.#fleet.additions()) {
      if (isFirst && isOlder) continue;
      const { destination, direction } = edge;
      const isUpstream = failures.answered + failures.unanswered > 0;
      const blame = isUpstream && direction === 'outbound' ? this.#blameOf(agentId, destination, now) : NOTHING_FAILED;
      this.#book.record(destination, direction, added.successes, book(failures, blame), epochMs);
    }
  }

  /** What all agents saw of the service, summed at most once a second: in an outage every report has failures. */
  #blameOf(agentId: string, service: string, now: number): Blame {
    const known = this.#seen.get(service);
    const seen =
      known !== undefined && now - known.at < SEEN_FOR_MS ? known : { at: now, all: this.#sumUp(service, now) };
    if (this.#seen.size < BUDGET_LIMIT || known !== undefined) this.#seen.set(service, seen);
    const member = this.#fleet.get(agentId);
    const own = member === null ? [] : sightingsOf(member, service, now);
    const others = seen.all.map((all) => {
      const { attempts, failures } = own.find(({ endpoint }) => endpoint === all.endpoint) ?? NOTHING_SEEN;
      return {
        endpoint: all.endpoint,
        isOwn: false,
        attempts: Math.max(0, all.attempts - attempts),
        failures: Math.max(0, all.failures - failures),
      };
    });
    return blameOf([...own, ...others]);
  }

  /** O(agents × endpoints of the service). */
  #sumUp(service: string, now: number): Sighting[] {
    const sums = new Map<string, Sighting>();
    for (const member of this.#fleet.members()) {
      for (const { endpoint, attempts, failures } of sightingsOf(member, service, now)) {
        const sum = sums.get(endpoint) ?? NOTHING_SEEN;
        const all = { attempts: sum.attempts + attempts, failures: sum.failures + failures };
        sums.set(endpoint, { endpoint, isOwn: false, ...all });
      }
    }
    return [...sums.values()];
  }
}

const NOTHING_SEEN = { attempts: 0, failures: 0 };

function sightingsOf(member: Member, service: string, now: number): Sighting[] {
  const { endpoints = [] } = member.report.services.find((one) => one.service === service) ?? {};
  return endpoints.flatMap(({ id }) => {
    const recent = member.endpoints.get(endpointKey(service, id))?.within(RATE_WINDOW_MS, now).counts;
    if (recent === undefined || recent.requests === 0) return [];
    const { requests: attempts, successes } = recent;
    return [{ endpoint: id, isOwn: true, attempts, failures: attempts - successes }];
  });
}
