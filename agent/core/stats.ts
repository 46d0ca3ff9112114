// What was measured about one endpoint. Mutable, single-threaded, written only through ewma.ts, outlier/ and this file;
// keyed by endpoint id and kept across discovery updates (membership changes; measurement stays).

import type { EndpointState } from '#contract/frames.ts';
import type { SketchRecorder } from '#contract/latency-sketch.ts';
import type { OutcomeKind } from './outcome.ts';
import type { Advice } from './outlier/advice.ts';
import type { CheckStats } from './outlier/checks.ts';
import { LatencyWindow } from './outlier/latency-window.ts';
import { createRateWindow, type RateWindow, type Suspicion } from './outlier/windows.ts';

export interface EndpointStats extends CheckStats {
  readonly id: string;
  state: EndpointState;

  /** Attempts in flight. */
  inFlight: number;
  /** Utilisation that the agent beside the endpoint reported last, 0 to 1 and above, and when (monotonic ms); -1 = never. */
  utilisation: number;
  utilisationAt: number;
  /** Attempts ended and attempts failed since the agent knows the endpoint. */
  attempts: number;
  failures: number;

  /** Peak-EWMA latency in ms at `ewmaAt`; 0 with `ewmaAt` = -1 before the first sample. */
  ewmaMs: number;
  ewmaAt: number;
  /** Extra cost in ms after a failure, at `penaltyAt`; 0 = none. `penaltyAt` lies ahead while a Retry-After runs. */
  penaltyMs: number;
  penaltyAt: number;

  /** Consecutive failures by detector, reset by the first success. */
  consecutive5xx: number;
  consecutiveGateway: number;
  consecutiveLocalOrigin: number;
  /** Failures of any kind in a row. */
  failuresInARow: number;
  /** What the control plane says of it, or null; the id of the advice that was acted on last. */
  advice: Advice | null;
  advisedId: string;
  /** Whether the agent itself had found something when the endpoint was ejected. */
  hasOwnEvidence: boolean;
  /** How the last failed attempt ended: its kind and, for a response, its status (else 0). For sentences. */
  lastFailureKind: OutcomeKind | '';
  lastFailureStatus: number;
  /** The last attempt found nobody who takes connections. */
  isRefusing: boolean;
  /** The window under way and the one that ended before it; they take turns. */
  rates: RateWindow;
  formerRates: RateWindow;
  readonly latencies: LatencyWindow;
  /** Of the timed attempts since the agent knows the endpoint; null before the first, because most endpoints of a large mesh have none. */
  latency: SketchRecorder | null;
  /** Windows in a row in which the endpoint was slow, and windows since in which it could not be judged. */
  slowWindows: number;
  unjudgedWindows: number;
  /** Part of its weight that the endpoint has left: 1, or less while it is slow. */
  weightFactor: number;
  /** What the comparing detectors found at the end of their last window. */
  suspicions: readonly Suspicion[];
  /** True once an ejection was refused by the ceiling in this run of failures, so that it is said once. */
  isOverflowing: boolean;

  /** Grows with every change of state. An outcome of an attempt begun in an older epoch is counted, never judged. */
  epoch: number;
  /** Monotonic ms; 0 unless ejected or probing. */
  ejectedAt: number;
  ejectedUntil: number;
  /** Times ejected since it was last quiet; the ejection time is base × this. */
  ejectionMultiplier: number;
  /** Monotonic ms up to which quiet intervals have been taken off the multiplier. */
  quietSince: number;
  /** Monotonic ms at which it joined a service that was being served already; -1 = there from the start. */
  joinedAt: number;
  /** Monotonic ms of the last reinstatement, 0 if never ejected. */
  reinstatedAt: number;
  /** One probe at a time while `probing`. */
  isProbeInFlight: boolean;
  /** What the probe said, until the next sweep acts on it. */
  probeVerdict: 'none' | 'passed' | 'failed';
  /** Reason code and sentence of the last ejection; empty strings if never ejected. */
  ejectionReason: string;
  ejectionText: string;
}

export function createEndpointStats(id: string): EndpointStats {
  return {
    id,
    state: 'serving',
    inFlight: 0,
    utilisation: 0,
    utilisationAt: -1,
    attempts: 0,
    failures: 0,
    ewmaMs: 0,
    ewmaAt: -1,
    penaltyMs: 0,
    penaltyAt: 0,
    consecutive5xx: 0,
    consecutiveGateway: 0,
    consecutiveLocalOrigin: 0,
    failuresInARow: 0,
    advice: null,
    advisedId: '',
    hasOwnEvidence: false,
    lastFailureKind: '',
    lastFailureStatus: 0,
    isRefusing: false,
    rates: createRateWindow(),
    formerRates: createRateWindow(),
    latencies: new LatencyWindow(),
    latency: null,
    slowWindows: 0,
    unjudgedWindows: 0,
    weightFactor: 1,
    suspicions: [],
    health: 'unknown',
    passedChecks: 0,
    failedChecks: 0,
    checkPassedAt: -1,
    checkText: '',
    isOverflowing: false,
    epoch: 0,
    ejectedAt: 0,
    ejectedUntil: 0,
    ejectionMultiplier: 0,
    quietSince: 0,
    joinedAt: -1,
    reinstatedAt: 0,
    isProbeInFlight: false,
    probeVerdict: 'none',
    ejectionReason: '',
    ejectionText: '',
  };
}
