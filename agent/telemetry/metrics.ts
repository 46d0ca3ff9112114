// What the agent counts. Recording (edge.ts) writes typed arrays; publishing (edge-text.ts, families.ts) reads them in slices
// that traffic does not feel. Must not be read by anything that decides.

import type { EdgeReport } from '#contract/frames.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { OutcomeKind } from '../core/outcome.ts';
import type { RequestResult } from '../core/reason.ts';
import type { MeshSnapshot, ServiceView } from '../core/snapshot.ts';
import { EdgeTable } from './edge-table.ts';
import { EdgeText } from './edge-text.ts';
import { formatSamples, header, Pacer } from './exposition.ts';
import { type Family, families } from './families.ts';
import { type ProcessFamily, processFamilies } from './process-metrics.ts';
import { ReasonCounts } from './reason-counts.ts';
import { SeriesBudget } from './series-budget.ts';
import { TcpCounters, tcpFamilies } from './tcp-counters.ts';

export type Direction = 'outbound' | 'inbound';

/**
 * Traffic from one source to one destination in one direction. The request path takes it once per request (or keeps it) and
 * calls it; no call allocates.
 */
export interface Edge {
  /** A request's head was accepted. */
  begin(): void;
  /**
   * The request ended. Exactly one end for each begin.
   *
   * @param status  what went downstream, 0 for nothing
   * @param isOwnFault  it failed because of this agent itself
   * @param slowAboveMs  from which on a success counts as slow; 0 = never
   */
  end(result: RequestResult, status: number, durationMs: number, isOwnFault?: boolean, slowAboveMs?: number): void;
  attempt(kind: OutcomeKind): void;
  retry(reason: string): void;
  budgetExhausted(): void;
}

/** What the gauges read at scrape time. Every function is cheap, synchronous and must not throw. */
export interface MetricSources {
  snapshot(): MeshSnapshot | null;
  /** Where the endpoints of each watched service came from, and the age of their last confirmation, ms; null for static ones. */
  discovery(): readonly { readonly service: string; readonly source: string; readonly ageMs: number | null }[];
  connections(): readonly { readonly destination: string; readonly active: number; readonly idle: number }[];
  policy(): { readonly appliedVersion: number; readonly wantedVersion: number };
  isControlPlaneConnected(): boolean;
  droppedLogLines(): number;
  /** Whether the control plane suspended this agent's ejections. */
  isSuspended(): boolean;
  /** The own application as the inbound listener sees it; null without one. */
  own(): ServiceView | null;
  /** Monotonic ms, for what changes with time alone. */
  now(): number;
  /** What the agent thinks of its own measurement; null where nobody looks. */
  stalls(): SelfMeasurement | null;
}

/** When the process itself stood still. */
export interface SelfMeasurement {
  readonly grade: number;
  readonly count: number;
  readonly totalMs: number;
  readonly ownFailures: number;
}

export interface MetricsOptions {
  /** What is missing is reported as empty or zero. */
  readonly sources?: Partial<MetricSources>;
  /** Software version for build_info. */
  readonly version?: string;
  /** Edges with their own series; further ones share the destination `other`. Default 256. */
  readonly maxEdges?: number;
  /** Most series altogether. Default 10,000. */
  readonly maxSeries?: number;
  readonly clock?: Clock;
}

/** One rendering serves every scrape within this time. */
const CACHE_MS = 1000;
const DEFAULT_MAX_EDGES = 256;
const DEFAULT_MAX_SERIES = 10_000;
/** Share of the series for what traffic names; the rest is for the gauges of destinations. */
const TRAFFIC_SHARE = 0.8;
/** Series of the process and the agent itself, and room for the few edges named `other`. */
const FIXED_SERIES = 300;
/** Gauges of one destination: connections 2, endpoints 4, panic, four of limits, discovery age and source. */
const GAUGES_PER_DESTINATION = 13;
const NO_SOURCES: MetricSources = {
  snapshot: () => null,
  discovery: () => [],
  connections: () => [],
  policy: () => ({ appliedVersion: 0, wantedVersion: 0 }),
  isControlPlaneConnected: () => false,
  droppedLogLines: () => 0,
  isSuspended: () => false,
  own: () => null,
  now: () => 0,
  stalls: () => null,
};

export class Metrics {
  readonly #edges: EdgeTable;
  readonly #ejections: ReasonCounts;
  readonly #detections: ReasonCounts;
  readonly #faults: ReasonCounts;
  readonly #mirrored: ReasonCounts;
  readonly #tcp = new Map<string, TcpCounters>();
  readonly #families: (Family | ProcessFamily)[];
  readonly #edgeText = new EdgeText();
  readonly #budget: SeriesBudget;
  /** Of the former rendering. */
  #series = 0;
  #longestSliceMs = 0;
  readonly #clock: Clock;
  readonly #maxEdges: number;
  #process: { stop(): void } | null = null;
  #rendered: { readonly at: number; readonly text: Promise<string> } | null = null;

  constructor(options: MetricsOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxEdges = options.maxEdges ?? DEFAULT_MAX_EDGES;
    const maxSeries = options.maxSeries ?? DEFAULT_MAX_SERIES;
    this.#budget = new SeriesBudget(Math.floor(maxSeries * TRAFFIC_SHARE) - FIXED_SERIES);
    this.#edges = new EdgeTable(this.#maxEdges, this.#budget);
    this.#ejections = new ReasonCounts(this.#maxEdges, this.#budget);
    this.#detections = new ReasonCounts(this.#maxEdges, this.#budget);
    this.#faults = new ReasonCounts(this.#maxEdges, this.#budget);
    this.#mirrored = new ReasonCounts(this.#maxEdges, this.#budget);
    const inputs = {
      edges: this.#edges,
      sources: { ...NO_SOURCES, ...options.sources },
      version: options.version ?? 'unknown',
      ejections: this.#ejections,
      detections: this.#detections,
      faults: this.#faults,
      mirrored: this.#mirrored,
      maxDestinations: Math.min(this.#maxEdges, Math.floor((maxSeries * (1 - TRAFFIC_SHARE)) / GAUGES_PER_DESTINATION)),
    };
    this.#families = [...families(inputs), ...tcpFamilies(this.#tcp), ...this.#selfFamilies()];
  }

  /** The edge between two services, made at its first use. */
  edge(direction: Direction, source: string, destination: string): Edge {
    return this.#edges.get(direction, source, destination);
  }

  /** Counters of the TCP connections to a destination, made at its first use: for the destinations of the configuration. */
  tcp(destination: string): TcpCounters {
    const counters = this.#tcp.get(destination) ?? new TcpCounters();
    this.#tcp.set(destination, counters);
    return counters;
  }

  /** An endpoint was ejected; the composition root calls this for each ejection event. */
  ejection(destination: string, reason: string): void {
    this.#ejections.add(destination, reason);
  }

  /** A detector fired without ejecting: it is not enforced, or begins by halving a weight. Called for each such event. */
  detection(destination: string, reason: string): void {
    this.#detections.add(destination, reason);
  }

  /** A rule delayed or answered a request on purpose, or would have (`overflow`). */
  fault(destination: string, reason: string): void {
    this.#faults.add(destination, reason);
  }

  /** What became of the copy of a request that a rule mirrors. */
  mirrored(destination: string, reason: string): void {
    this.#mirrored.add(destination, reason);
  }

  /** Forgets the series of a destination that left the mesh, once no request is in flight there. */
  dropDestination(service: string): void {
    this.#edges.drop(service);
    this.#ejections.drop(service);
    this.#detections.drop(service);
    this.#faults.drop(service);
    this.#mirrored.drop(service);
  }

  /** Prometheus text. One rendering is shared by all callers within a second, so a flood of scrapes costs one. */
  render(): Promise<string> {
    const now = this.#clock.now();
    if (this.#rendered !== null && now - this.#rendered.at < CACHE_MS) return this.#rendered.text;
    this.#watchProcess();
    this.#edges.prune();
    const text = this.#render();
    const rendered = { at: now, text };
    this.#rendered = rendered;
    text.catch(() => {
      // The callers get the error; the next scrape shall try again rather than share it.
      if (this.#rendered === rendered) this.#rendered = null;
    });
    return text;
  }

  async #render(): Promise<string> {
    const pacer = new Pacer();
    const { parts, series: ofEdges } = await this.#edgeText.render(this.#edges.all(), pacer);
    let series = ofEdges;
    for (const family of this.#families) {
      if (pacer.isDue) await pacer.rest();
      const samples = await family.samples();
      series += samples.length;
      parts.push(header(family), await formatSamples(family.name, samples, pacer), '\n');
    }
    this.#series = series;
    const text = parts.join('');
    this.#longestSliceMs = pacer.longestMs;
    return text;
  }

  /** What a scrape costs and leaves out. */
  #selfFamilies(): Family[] {
    const family = (name: string, help: string, type: Family['type'], value: () => number): Family => {
      return { name, help, type, samples: () => [{ labels: {}, value: value() }] };
    };
    return [
      family('outrigger_series', 'Series in the former rendering.', 'gauge', () => this.#series),
      family(
        'outrigger_series_folded_total',
        'Events counted under the name other because no series was left for their own.',
        'counter',
        () => this.#budget.folded,
      ),
      family(
        'outrigger_scrape_slice_seconds',
        'Longest time for which the former rendering held the event loop.',
        'gauge',
        () => this.#longestSliceMs / 1000,
      ),
    ];
  }

  /** Cumulative traffic of every edge, for reports to the control plane. */
  edgeReports(): EdgeReport[] {
    this.#edges.prune();
    return this.#edges.all().map((edge) => edge.report());
  }

  /** Ends the measurement of the event loop. */
  close(): void {
    this.#process?.stop();
  }

  /** From the first scrape on: an agent that nobody scrapes does not pay for the measurement. */
  #watchProcess(): void {
    if (this.#process !== null) return;
    const started = processFamilies();
    this.#process = started;
    this.#families.push(...started.families);
  }
}
