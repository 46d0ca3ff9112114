// What the agent counts. Recording writes typed arrays; publishing (render) reads them. Owns the table of edges and its
// bound; must not be read by anything that decides.

import type { EdgeReport } from '#contract/frames.ts';
import type { OutcomeKind } from '../core/outcome.ts';
import type { RequestResult } from '../core/reason.ts';
import type { MeshSnapshot } from '../core/snapshot.ts';

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
}

export interface MetricsOptions {
  /** What is missing is reported as empty or zero. */
  readonly sources?: Partial<MetricSources>;
  /** Software version for build_info. */
  readonly version?: string;
  /** Edges with their own series; further ones share the destination `other`. Default 256. */
  readonly maxEdges?: number;
}

export class Metrics {
  readonly #edges = new Map<string, Edge>();

  constructor(options: MetricsOptions = {}) {
    void options;
  }

  /** The edge between two services, made at its first use. */
  edge(direction: Direction, source: string, destination: string): Edge {
    const key = `${direction} ${source} ${destination}`;
    let edge = this.#edges.get(key);
    if (edge === undefined) {
      edge = { begin() {}, end() {}, attempt() {}, retry() {}, budgetExhausted() {} };
      this.#edges.set(key, edge);
    }
    return edge;
  }

  /** An endpoint was ejected; the composition root calls this for each ejection event. */
  ejection(destination: string, reason: string): void {
    void destination;
    void reason;
  }

  /** Forgets the series of a destination that left the mesh. Requests still in flight there end uncounted. */
  dropDestination(service: string): void {
    void service;
  }

  /** Prometheus text. One rendering is shared by all callers within a second. */
  async render(): Promise<string> {
    return '';
  }

  /** Cumulative traffic of every edge, for reports to the control plane. */
  edgeReports(): EdgeReport[] {
    return [];
  }
}
