// What agent and control plane say to each other. JSON over HTTP; instants are wall-clock epoch milliseconds here, because
// monotonic time means nothing on another machine.

import type { FailureCounts } from './failures.ts';
import type { LatencySketch } from './latency-sketch.ts';
import type { PolicyDocument } from './policy/policy.ts';
import type { Problem } from './problem.ts';

/**
 * Event `policies` on `GET /v1/agents/:id/stream` (server-sent events; the SSE `id:` is `generation-version`).
 * State of the world: the documents are all there are, so a document that is missing was deleted.
 */
export interface PolicyPush {
  /** Revision of the whole policy set; grows by one with each accepted change. 0 = nothing was ever written. */
  readonly version: number;
  /** Names the store that counts the versions: another one's version 7 is another. Absent: from before it was said. */
  readonly generation?: string;
  /** Names this one delivery; the verdict must carry it back. A verdict with an older nonce is ignored. */
  readonly nonce: string;
  readonly documents: readonly PolicyDocument[];
}

/**
 * Event `advice` on the policy stream: endpoints that other callers found bad. State of the world for this agent: an advisory that is
 * missing was withdrawn. Needs no answer; agents that do not know the event pass over it.
 */
export interface AdvicePush {
  readonly advisories: readonly Advisory[];
  /** Whether this agent blames so much that others find well that it must eject nobody, until told otherwise or for the TTL. */
  readonly isSuspended: boolean;
}

export interface Advisory {
  readonly service: string;
  readonly endpoint: string;
  /** Tells it from an earlier one about the same endpoint; the same when it is renewed. */
  readonly id: string;
  /** From its arrival; clocks differ. */
  readonly ttlMs: number;
  /** Why, without naming the endpoint, for the agent's own sentence: `2 callers failed there, 0 vouch for it`. */
  readonly text: string;
}

/** `POST /v1/agents/:id/acks`: what the agent made of one push. */
export interface PolicyVerdict {
  readonly version: number;
  readonly nonce: string;
  readonly verdict: 'ACK' | 'NACK';
  /** Version in force after this verdict; on NACK the former one. */
  readonly appliedVersion: number;
  /** Why not; empty on ACK. Paths start with the document: `ServicePolicy/payments: spec.retries.attempts`. */
  readonly problems: readonly Problem[];
}

/** `POST /v1/agents/:id/reports`, every reportIntervalMs (2 s) and at once after an ejection. Forward only: nothing waits on it. */
export interface AgentReport {
  /** Counts up from 1 within one life of the agent. */
  readonly sequence: number;
  readonly sentAtEpochMs: number;
  readonly startedAtEpochMs: number;
  /** Service this agent stands beside. */
  readonly service: string;
  /** Where it runs. */
  readonly zone?: string | null;
  /** Version of the agent's software, `0.1.0`. */
  readonly softwareVersion: string;
  /** Where the control plane's relay reaches the admin API, `http://127.0.0.1:15000`. */
  readonly adminUrl: string;
  readonly isReady: boolean;
  readonly isDraining: boolean;
  readonly policy: {
    readonly appliedVersion: number;
    /** Of the policies in force; absent or '' when it was not said. */
    readonly generation?: string;
    readonly wantedVersion: number;
    /** Problems of the last NACK while applied ≠ wanted; empty otherwise. */
    readonly problems: readonly Problem[];
  };
  readonly services: readonly ServiceReport[];
  /** Cumulative since startedAtEpochMs; the receiver takes differences. */
  readonly edges: readonly EdgeReport[];
  /** Events since the former report, oldest first, at most 100; `eventsDropped` counts what did not fit. */
  readonly events: readonly MeshEvent[];
  readonly eventsDropped: number;
}

/** One upstream service as this agent sees it. */
export interface ServiceReport {
  readonly service: string;
  /** Where the endpoints in use came from: `disk` means last-known-good, loaded at start. */
  readonly source: 'consul' | 'control-plane' | 'static' | 'disk' | 'none';
  /** Age of the last confirmation by the source, ms; null for static. */
  readonly ageMs: number | null;
  /** Why the source's newest answer is not what is served (fail static), or null. */
  readonly holding: string | null;
  readonly isPanicking: boolean;
  readonly endpoints: readonly EndpointReport[];
}

export interface EndpointReport {
  readonly id: string;
  /** `10.0.0.7:7001`. */
  readonly address: string;
  readonly state: EndpointState;
  readonly weight: number;
  readonly inFlight: number;
  readonly connections: number;
  /** Peak-EWMA latency, ms; null before the first sample. */
  readonly ewmaMs: number | null;
  /** Cumulative attempts and failed attempts. */
  readonly attempts: number;
  readonly failures: number;
  /** Cumulative, of the attempts that were answered or ran out of time; agents from before it do not say. */
  readonly latency?: LatencySketch;
  /**
   * Whether this agent's own evidence is against the endpoint: two failures in a row, or an ejection of its own; advice of others is
   * none. Agents from before it accuse nobody.
   */
  readonly isAccused?: boolean;
  /** Failures of any kind since the last success. */
  readonly failuresInARow?: number;
  /** Sentence of the last ejection while ejected or probing, else null. */
  readonly reason: string | null;
  readonly ejectedUntilEpochMs: number | null;
}

/** Endpoint states; the words of the whole project. */
export type EndpointState = 'serving' | 'ejected' | 'probing' | 'draining';

/** Traffic of one edge in one direction, cumulative. */
export interface EdgeReport {
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  readonly requests: number;
  /** Requests that did not end as failures: any status below 500 that was relayed whole. */
  readonly successes: number;
  /** The requests that were no successes, by kind; agents from before it do not say. */
  readonly failures?: FailureCounts;
  /** The successes that took longer than the promise of the service allows (`slo.latencyThreshold`); agents from before it do not say. */
  readonly slow?: number;
  readonly retries: number;
  readonly inFlight: number;
  /** From the request head to the end of the response, one value a request; agents from before it do not say. */
  readonly latency?: LatencySketch;
}

/** Something that happened; `text` is one full sentence, the same in log, event stream, API and page. */
export interface MeshEvent {
  readonly atEpochMs: number;
  readonly kind:
    | 'ejection'
    | 'reinstatement'
    | 'overflow'
    | 'detection'
    | 'panic'
    | 'policy'
    | 'discovery'
    | 'lifecycle'
    /** Of the control plane: an error budget burns, or stopped to. */
    | 'alert';
  readonly service: string | null;
  readonly endpoint: string | null;
  /** Closed, label-safe word: `consecutive_5xx`, `policy_nack`, … */
  readonly reason: string;
  readonly text: string;
}
