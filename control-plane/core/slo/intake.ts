// From reports to budgets: takes what an edge added, finds out whom the failures are put down to, and books it. Pure but for a cache.

import type { AgentReport } from '#contract/frames.ts';
import { RATE_WINDOW_MS } from '../counters.ts';
import { endpointKey, type Fleet } from '../fleet.ts';
import { type Blame, blameOf, book, type Sighting } from './accounts.ts';
import type { SloBook } from './book.ts';

const NOTHING_FAILED: Blame = { answered: 'service', unanswered: 'service' };

export class SloIntake {
  readonly #fleet: Fleet;
  readonly #book: SloBook;
  readonly #sinceEpochMs: number;

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

  /** O(agents × endpoints of the service), for reports with failures only. */
  #blameOf(agentId: string, service: string, now: number): Blame {
    const sightings: Sighting[] = [];
    for (const member of this.#fleet.members()) {
      for (const { service: name, endpoints } of member.report.services) {
        if (name !== service) continue;
        for (const { id } of endpoints) {
          const recent = member.endpoints.get(endpointKey(service, id))?.within(RATE_WINDOW_MS, now).counts;
          if (recent === undefined || recent.requests === 0) continue;
          const { requests, successes } = recent;
          sightings.push({
            endpoint: id,
            isOwn: member.agentId === agentId,
            attempts: requests,
            failures: requests - successes,
          });
        }
      }
    }
    return blameOf(sightings);
  }
}
