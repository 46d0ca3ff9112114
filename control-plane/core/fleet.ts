// The fleet's memory: the last report of each agent and counters over time. It only takes in; rollup.ts makes views of it.
// Instants are monotonic ms.

import type { AgentReport, EdgeReport } from '#contract/frames.ts';
import type { LatencySketch } from '#contract/latency-sketch.ts';
import { add, Counter, type CounterReading, type Counts, NO_COUNTS, RATE_WINDOW_MS } from './counters.ts';
import { SketchTrail } from './sketch-trail.ts';
import type { FleetEvent } from './views.ts';

/** Events kept for a page that opens later. */
export const EVENT_LIMIT = 500;
/** Services whose life-long counts are kept; traffic of further ones is still shown, but not summed over their life. */
export const SERVICE_LIMIT = 5_000;

/** Forgotten agents whose counts are kept for their return, the latest ones; otherwise their whole life would count twice. */
export const DEPARTED_LIMIT = 1_000;

/** How long the last report of a process keeps those of an earlier process of the same agent from counting. */
export const OVERLAP_MS = 10_000;

/** Where a report comes from. */
export interface ReportOrigin {
  /** Address of the peer that sent it; null: nobody did. */
  readonly address: string | null;
  /** Another control plane counted the agent up to now: its first values here are where counting begins. */
  readonly isCountedElsewhere: boolean;
}

const FROM_NOBODY: ReportOrigin = { address: null, isCountedElsewhere: false };

/** What is kept about one agent. */
export interface Member {
  readonly agentId: string;
  readonly report: AgentReport;
  /** Address of the peer that sent the report. */
  readonly reportedFrom: string | null;
  readonly receivedAt: number;
  readonly edges: ReadonlyMap<string, CounterReading>;
  /** By service and endpoint id; `successes` are attempts that did not fail. */
  readonly endpoints: ReadonlyMap<string, CounterReading>;
  /** By the keys of both, where the agent reports latencies. */
  readonly latencies: ReadonlyMap<string, TrailReading>;
}

/** What can be read of latencies. */
export interface TrailReading {
  readonly total: LatencySketch;
  recent(): LatencySketch;
}

/** A member whose counters are kept here. */
interface OwnMember extends Member {
  readonly edges: ReadonlyMap<string, Counter>;
  readonly endpoints: ReadonlyMap<string, Counter>;
  readonly latencies: ReadonlyMap<string, SketchTrail>;
}

export type Totals = Readonly<Record<'outbound' | 'inbound', Counts>>;

export class Fleet {
  readonly #members = new Map<string, OwnMember>();
  /** Agents that were forgotten, oldest first. */
  readonly #departed = new Map<string, OwnMember>();
  readonly #totals = new Map<string, Totals>();
  readonly #events: FleetEvent[] = [];
  #sequence = 0;

  /**
   * Takes in one report.
   *
   * A report that is older than the last one of the same life is dropped: reports travel on separate connections. Of an
   * earlier life that drains beside its successor only the events are taken: its counts between theirs would be taken for
   * new lives again and again.
   *
   * @returns the events in it as they were numbered, or null when it was dropped
   */
  record(agentId: string, report: AgentReport, now: number, origin = FROM_NOBODY): readonly FleetEvent[] | null {
    const former = this.#members.get(agentId) ?? this.#departed.get(agentId);
    const isSameLife = former?.report.startedAtEpochMs === report.startedAtEpochMs;
    if (former !== undefined && isSameLife && former.report.sequence >= report.sequence) return null;
    if (former !== undefined && report.startedAtEpochMs < former.report.startedAtEpochMs) {
      // Bounded in time, because a wall clock that was set back makes a successor look like an earlier life.
      if (now - former.receivedAt < OVERLAP_MS) return report.events.map((event) => this.tell({ ...event, agentId }));
    }
    const edges = new Map<string, Counter>();
    const latencies = new Map<string, SketchTrail>();
    const trace = (key: string, latency: LatencySketch | undefined): void => {
      if (latency === undefined) return;
      const trail = former?.latencies.get(key) ?? new SketchTrail();
      trail.record(latency, now, !isSameLife);
      latencies.set(key, trail);
    };
    for (const edge of ownEdges(report)) {
      const key = edgeKey(edge);
      const counter = former?.edges.get(key) ?? new Counter();
      edges.set(key, counter);
      trace(key, edge.latency);
      const added = counter.record(edge, now, !isSameLife);
      this.#addTotal(edge, former === undefined && origin.isCountedElsewhere ? NO_COUNTS : added);
    }
    const endpoints = new Map<string, Counter>();
    for (const { service, endpoints: list } of report.services) {
      for (const { id, attempts, failures, latency } of list) {
        trace(endpointKey(service, id), latency);
        const counter = former?.endpoints.get(endpointKey(service, id)) ?? new Counter(RATE_WINDOW_MS);
        counter.record({ requests: attempts, successes: attempts - failures, retries: 0 }, now, !isSameLife);
        endpoints.set(endpointKey(service, id), counter);
      }
    }
    this.#departed.delete(agentId);
    const reportedFrom = origin.address;
    this.#members.set(agentId, { agentId, report, reportedFrom, receivedAt: now, edges, endpoints, latencies });
    return report.events.map((event) => this.tell({ ...event, agentId }));
  }

  /** Numbers an event and keeps it. @param controlPlane  host of the one that told it, null for this one */
  tell(event: Omit<FleetEvent, 'sequence' | 'controlPlane'>, controlPlane: string | null = null): FleetEvent {
    const numbered = { ...event, sequence: ++this.#sequence, controlPlane };
    this.#events.push(numbered);
    if (this.#events.length > EVENT_LIMIT) this.#events.shift();
    return numbered;
  }

  forget(agentId: string): void {
    const member = this.#members.get(agentId);
    if (member === undefined) return;
    this.#members.delete(agentId);
    // Only the counts are of use by then; endpoints have none that last.
    for (const counter of member.edges.values()) counter.rest();
    this.#departed.set(agentId, { ...member, endpoints: new Map(), latencies: new Map() });
    const oldest = this.#departed.keys().next();
    if (this.#departed.size > DEPARTED_LIMIT && oldest.done !== true) this.#departed.delete(oldest.value);
  }

  get(agentId: string): Member | null {
    return this.#members.get(agentId) ?? null;
  }

  members(): Member[] {
    return [...this.#members.values()];
  }

  /** Counts since the service was first heard of; they outlive the agents that counted. */
  totals(service: string): Totals {
    return this.#totals.get(service) ?? { outbound: NO_COUNTS, inbound: NO_COUNTS };
  }

  /** Oldest first. */
  events(): readonly FleetEvent[] {
    return this.#events;
  }

  #addTotal({ destination, direction }: EdgeReport, added: Counts): void {
    if (!this.#totals.has(destination) && this.#totals.size >= SERVICE_LIMIT) return;
    const totals = this.totals(destination);
    this.#totals.set(destination, { ...totals, [direction]: add(totals[direction], added) });
  }
}

/** An agent speaks for its own side of an edge only; what it says about the traffic of others is not counted. */
export function ownEdges(report: AgentReport): EdgeReport[] {
  return report.edges.filter(
    (edge) => (edge.direction === 'outbound' ? edge.source : edge.destination) === report.service,
  );
}

/** Names cannot hold a line break, so it separates. */
export function edgeKey({ direction, source, destination }: EdgeReport): string {
  return `${direction}\n${source}\n${destination}`;
}

export function endpointKey(service: string, id: string): string {
  return `${service}\n${id}`;
}
