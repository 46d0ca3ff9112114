// What the agent counts. Recording (edge.ts) writes typed arrays; publishing (families.ts) reads them through a prom-client
// registry. Must not be read by anything that decides.

import type { Metric } from 'prom-client';
// Only the registry: the whole package brings cluster support, a push gateway and a tracing API, 60 ms of every start.
import Registry from 'prom-client/lib/registry.js';
import type { EdgeReport } from '#contract/frames.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { OutcomeKind } from '../core/outcome.ts';
import type { RequestResult } from '../core/reason.ts';
import type { MeshSnapshot } from '../core/snapshot.ts';
import { EdgeTable, OTHER } from './edge-table.ts';
import { type Family, families } from './families.ts';
import { type ProcessFamily, processFamilies } from './process-metrics.ts';

export type Direction = 'outbound' | 'inbound';

/**
 * Traffic from one source to one destination in one direction. The request path takes it once per request (or keeps it) and
 * calls it; no call allocates.
 */
export interface Edge {
  /** A request's head was accepted. */
  begin(): void;
  /** The request ended. `status` is what went downstream, 0 for nothing. Exactly one end for each begin. */
  end(result: RequestResult, status: number, durationMs: number): void;
  attempt(kind: OutcomeKind): void;
  retry(reason: string): void;
  budgetExhausted(): void;
}

/** What the gauges read at scrape time. Every function is cheap, synchronous and must not throw. */
export interface MetricSources {
  snapshot(): MeshSnapshot | null;
  /** Age of the last confirmation of each watched service, ms; null for static endpoints. */
  discovery(): readonly { readonly service: string; readonly ageMs: number | null }[];
  connections(): readonly { readonly destination: string; readonly active: number; readonly idle: number }[];
  policy(): { readonly appliedVersion: number; readonly wantedVersion: number };
  isControlPlaneConnected(): boolean;
  droppedLogLines(): number;
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
  readonly clock?: Clock;
}

/** One rendering serves every scrape within this time. */
const CACHE_MS = 1000;
const DEFAULT_MAX_EDGES = 256;
/** Ejection reasons that one destination tells apart; further ones count as `other`. */
const MAX_EJECTION_REASONS = 16;
const NO_SOURCES: MetricSources = {
  snapshot: () => null,
  discovery: () => [],
  connections: () => [],
  policy: () => ({ appliedVersion: 0, wantedVersion: 0 }),
  isControlPlaneConnected: () => false,
  droppedLogLines: () => 0,
  stalls: () => null,
};

export class Metrics {
  readonly #edges: EdgeTable;
  readonly #ejections = new Map<string, Map<string, number>>();
  readonly #registry = new Registry();
  readonly #clock: Clock;
  readonly #maxEdges: number;
  #process: { stop(): void } | null = null;
  #rendered: { readonly at: number; readonly text: Promise<string> } | null = null;

  constructor(options: MetricsOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxEdges = options.maxEdges ?? DEFAULT_MAX_EDGES;
    this.#edges = new EdgeTable(this.#maxEdges);
    const inputs = {
      edges: this.#edges,
      sources: { ...NO_SOURCES, ...options.sources },
      version: options.version ?? 'unknown',
      ejections: this.#ejections,
      maxDestinations: this.#maxEdges,
    };
    for (const family of families(inputs)) register(this.#registry, family);
  }

  /** The edge between two services, made at its first use. */
  edge(direction: Direction, source: string, destination: string): Edge {
    return this.#edges.get(direction, source, destination);
  }

  /** An endpoint was ejected; the composition root calls this for each ejection event. */
  ejection(destination: string, reason: string): void {
    const isKnown = this.#ejections.has(destination) || this.#ejections.size < this.#maxEdges;
    const name = isKnown ? destination : OTHER;
    const reasons = this.#ejections.get(name) ?? new Map<string, number>();
    const word = reasons.has(reason) || reasons.size < MAX_EJECTION_REASONS ? reason : OTHER;
    reasons.set(word, (reasons.get(word) ?? 0) + 1);
    this.#ejections.set(name, reasons);
  }

  /** Forgets the series of a destination that left the mesh, once no request is in flight there. */
  dropDestination(service: string): void {
    this.#edges.drop(service);
    this.#ejections.delete(service);
  }

  /** Prometheus text. One rendering is shared by all callers within a second, so a flood of scrapes costs one. */
  render(): Promise<string> {
    const now = this.#clock.now();
    if (this.#rendered !== null && now - this.#rendered.at < CACHE_MS) return this.#rendered.text;
    this.#watchProcess();
    this.#edges.prune();
    const text = this.#registry.metrics();
    const rendered = { at: now, text };
    this.#rendered = rendered;
    text.catch(() => {
      // The callers get the error; the next scrape shall try again rather than share it.
      if (this.#rendered === rendered) this.#rendered = null;
    });
    return text;
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
    for (const family of started.families) register(this.#registry, family);
  }
}

/**
 * prom-client's registry asks a metric for `get()` and formats what it returns; its own Counter and Histogram would hash
 * every label set again at each scrape. The declared type is a union of its four classes, hence the cast.
 */
function register(registry: InstanceType<typeof Registry>, family: Family | ProcessFamily): void {
  const { name, help, type } = family;
  const metric = { name, help, type, get: async () => ({ name, help, type, values: await family.samples() }) };
  registry.registerMetric(metric as unknown as Metric<string>);
}
