// The shapes that the API and the page show: agents' reports rolled up. Data only. Ages are ms, shares 0–1, latencies ms.

import type { EndpointState, MeshEvent } from '#contract/frames.ts';

/** Good and valid requests; the ratio is null while nothing was counted. */
export interface Availability {
  readonly good: number;
  readonly valid: number;
  readonly ratio: number | null;
}

/** Traffic added up over agents. Counts are of the agents that are known, since they were first heard of; the rest is of those that are live. */
export interface Traffic {
  readonly requests: number;
  readonly successes: number;
  readonly failures: number;
  readonly retries: number;
  readonly inFlight: number;
  /** Endpoints that a caller has ejected. */
  readonly ejected: number;
  /** Requests a second, over the last 10 s. */
  readonly rps: number;
  /** Of the last minute, of all requests together; null without one. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  /** Of the oldest report of a live agent, or, while all are silent, of the newest one; null without any. */
  readonly dataAgeMs: number | null;
}

/** Traffic from one service to another. */
export interface EdgeTotal extends Traffic {
  readonly source: string;
  readonly destination: string;
  /** Live agents that report it. */
  readonly agents: number;
  /** Agents that did before and are silent; their counts are in the sums. */
  readonly silentAgents: number;
}

/** A service as all agents together see it. */
export interface ServiceView {
  readonly service: string;
  /**
   * Who counted: callers (`outbound`), or, while no caller reports, the agents beside the service (`inbound`).
   * Only callers notice endpoints that do not answer at all.
   */
  readonly measuredBy: 'outbound' | 'inbound' | 'none';
  readonly requestsPerSecond: number;
  readonly retriesPerSecond: number;
  readonly inFlight: number;
  readonly availability: {
    /** Since this control plane first heard of the service. */
    readonly life: Availability;
    readonly lastMinute: Availability;
  };
  /** Since this control plane first heard of the service. */
  readonly retries: number;
  /** Of the last minute, of all callers' requests together. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  /** Of the oldest report of those who counted; null without any. */
  readonly dataAgeMs: number | null;
  readonly endpointCounts: Readonly<Record<EndpointState, number>>;
  readonly isPanicking: boolean;
  /** Agents that hold on to old data of this service, with the reason. */
  readonly holding: readonly { readonly agentId: string; readonly reason: string }[];
  readonly edges: readonly EdgeView[];
  readonly endpoints: readonly EndpointView[];
}

/** Traffic of one caller to the service (or, inbound, of one client as the service's agent sees it). */
export interface EdgeView {
  readonly agentId: string;
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  readonly requestsPerSecond: number;
  readonly successShare: number | null;
  readonly retriesPerSecond: number;
  readonly inFlight: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
}

/** One endpoint, rolled up over the agents that know it. */
export interface EndpointView {
  readonly id: string;
  readonly address: string;
  /** The worst state any live agent has it in: draining, ejected, probing, serving. */
  readonly state: EndpointState;
  readonly weight: number;
  readonly inFlight: number;
  readonly connections: number;
  /** The slowest caller's peak-EWMA. */
  readonly ewmaMs: number | null;
  readonly attempts: number;
  readonly failures: number;
  readonly attemptsPerSecond: number;
  /** Of the last minute, of all callers' attempts together: to the response head, or until the time was over. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  readonly reason: string | null;
  readonly ejectedUntilEpochMs: number | null;
  /** How each agent sees it. */
  readonly observers: readonly {
    readonly agentId: string;
    readonly state: EndpointState;
    readonly reason: string | null;
  }[];
}

/** Where an agent's admin API is, by its own word, and whose word that is. */
export interface AdminPlace {
  readonly adminUrl: string;
  /** Address of the peer that sent its last report. */
  readonly reportedFrom: string;
  /** Host of the control plane that heard it; null: this one. */
  readonly heardAt: string | null;
}

/** An event and who told it. */
export interface FleetEvent extends MeshEvent {
  /** Counts up from 1 in this life of the control plane. */
  readonly sequence: number;
  /** null: the control plane itself. */
  readonly agentId: string | null;
  /** Host of the control plane that told it, when that is another one; null: this one. */
  readonly controlPlane: string | null;
}
