// A change that reaches the fleet in steps: one agent, 10 %, 50 %, all; with a rest after each, and back by itself when the agents
// that have it do worse than those that do not. What is decided here is decided from what is stored and what agents report, so
// every replica comes to the same. Pure.

import { EMPTY_SKETCH, type LatencySketch, sketchCount, sketchQuantile } from '#contract/latency-sketch.ts';
import type { PolicyDocument, PolicyId } from '#contract/policy/policy.ts';
import { hashOf } from './hash.ts';
import { withDocument, withoutDocument } from './revisions.ts';
import type { RolloutHealth } from './rollout-health.ts';

export type RolloutState = 'running' | 'paused' | 'completed' | 'halted' | 'aborted';

/** As it is stored, in the same commit as the change. */
export interface Rollout {
  readonly id: string;
  readonly policy: PolicyId;
  /** What agents outside the cohort keep; null: no such document. */
  readonly stableDocument: PolicyDocument | null;
  /** Version of the set that the change made; agents that were pushed this or a later one have answered for it. */
  readonly version: number;
  readonly author: string;
  readonly state: RolloutState;
  /** Position in STAGES. */
  readonly stage: number;
  /** Agents that are in the cohort whatever its share: the one of the first stage. */
  readonly firstAgents: readonly string[];
  readonly soakMs: number;
  readonly startedAtEpochMs: number;
  readonly stageSinceEpochMs: number;
  /** What all agents together had in the minute before, to compare with when nobody is left outside the cohort. */
  readonly baseline: Baseline | null;
  /** Why it stands where it stands, a full sentence. */
  readonly reason: string;
}

/** The minute before. */
export interface Baseline {
  readonly requests: number;
  readonly failures: number;
  /** Of requests of each service, at most BASELINE_SOURCES of them; absent in records from before it. */
  readonly latencies?: Readonly<Record<string, Quantiles>>;
}

export interface Quantiles {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

export const BASELINE_SOURCES = 100;

/** Share of the fleet that has the change in each stage, percent; in the first only `firstAgents`. */
export const STAGES = [0, 10, 50, 100] as const;
export const SOAK_MS = 60_000;
/** Below this a ratio says nothing. */
export const MIN_REQUESTS = 20;
/** A rise of the failure ratio below this is let pass however sure it is. */
const LEAST_RISE = 0.01;
/** Standard deviations between the two ratios; by chance once in 700 comparisons. */
const SURE = 3;
/** The cohort may be this many times as slow, and this much besides. */
const SLOWER_FACTOR = 2;
const SLOWER_BY_MS = 10;
/** The slowest twentieth of fewer requests is chance. */
const MIN_TAIL_REQUESTS = 100;
const SLOWER_TAIL_BY_MS = 25;
/** Three reports of every agent. */
export const SLOW_FOR_MS = 6_000;

export function isActive(rollout: Rollout | null): rollout is Rollout {
  return rollout !== null && (rollout.state === 'running' || rollout.state === 'paused');
}

/** Whether an agent has the change. The same agents for the same rollout, others for the next: nobody is always first. */
export function isInCohort(rollout: Rollout, agentId: string): boolean {
  if (rollout.firstAgents.includes(agentId)) return true;
  return placeOf(rollout.id, agentId) < (STAGES[rollout.stage] ?? 100) / 100;
}

/** A number in [0, 1) for an agent. */
export function placeOf(rolloutId: string, agentId: string): number {
  return hashOf(`${rolloutId} ${agentId}`) / 2 ** 32;
}

/** The documents for agents outside the cohort; those in it get `documents` as they are. */
export function stableDocuments(documents: readonly PolicyDocument[], rollout: Rollout): readonly PolicyDocument[] {
  return rollout.stableDocument === null
    ? withoutDocument(documents, rollout.policy)
    : withDocument(documents, rollout.stableDocument);
}

/** The agent to begin with: one that has traffic for the change to show itself in, if there is any. Null: nobody is there. */
export function chooseFirst(rollout: Rollout, { connected, busy }: RolloutHealth): string | null {
  const candidates = busy.length > 0 ? busy : connected;
  let first: string | null = null;
  for (const agentId of candidates) {
    if (first === null || placeOf(rollout.id, agentId) < placeOf(rollout.id, first)) first = agentId;
  }
  return first;
}

export type Step =
  | { readonly kind: 'wait' }
  | { readonly kind: 'begin'; readonly agentId: string }
  | { readonly kind: 'advance' }
  | { readonly kind: 'complete' }
  | { readonly kind: 'halt'; readonly reason: string };

const WAIT: Step = { kind: 'wait' };

/**
 * What to do now. A pause holds the advance and nothing else: what is bad is taken back all the same.
 *
 * @param slowForMs  how long `slownessOf` has had something to say
 */
export function decideStep(rollout: Rollout, health: RolloutHealth, epochMs: number, slowForMs: number): Step {
  if (!isActive(rollout)) return WAIT;
  const slowness = slowForMs >= SLOW_FOR_MS ? slownessOf(rollout, health) : null;
  const fault = faultOf(rollout, health) ?? slowness;
  if (fault !== null) return { kind: 'halt', reason: fault };
  if (rollout.state === 'paused') return WAIT;
  if (rollout.stage === 0 && rollout.firstAgents.length === 0) {
    const agentId = chooseFirst(rollout, health);
    if (agentId !== null) return { kind: 'begin', agentId };
  }
  if (epochMs - rollout.stageSinceEpochMs < rollout.soakMs) return WAIT;
  if (health.cohort.settled < health.cohort.agents) return WAIT;
  return { kind: rollout.stage + 1 < STAGES.length ? 'advance' : 'complete' };
}

/** Why the change must go back, a full sentence; null: nothing speaks against it. */
function faultOf(rollout: Rollout, { cohort, rest }: RolloutHealth): string | null {
  const [rejected] = cohort.rejected;
  if (rejected !== undefined) return `${rejected.agentId} refused it: ${rejected.text}.`;
  const [silent] = cohort.silent;
  if (silent !== undefined) return `${silent} has been silent since it got it.`;
  const { requests, failures } = cohort;
  if (requests < MIN_REQUESTS) return null;
  const others = rest.requests >= MIN_REQUESTS ? rest : rollout.baseline;
  const isComparable = others !== null && others.requests >= MIN_REQUESTS;
  // Without anything to compare with, failures are measured against none.
  const theirs = isComparable ? others : { requests, failures: 0 };
  if (isWorse({ requests, failures }, theirs)) {
    const whose = isComparable ? (others === rest ? 'elsewhere' : 'in the minute before') : 'allowed';
    return `${percent(failures, requests)} of ${requests} requests failed where it is in force, ${percent(theirs.failures, theirs.requests)} ${whose}.`;
  }
  return null;
}

/**
 * A sentence while requests take much longer in the cohort than at other agents of the same service or, without those, than in the
 * minute before. A peak passes by itself, so it counts only when it lasts.
 */
export function slownessOf({ baseline }: Rollout, { cohort, rest }: RolloutHealth): string | null {
  for (const [source, sketch] of Object.entries(cohort.latencies)) {
    const ours = quantilesOf(sketch);
    const elsewhere = quantilesOf(rest.latencies[source] ?? EMPTY_SKETCH);
    const before = baseline?.latencies?.[source] ?? null;
    const isComparable = elsewhere !== null && elsewhere.requests >= MIN_REQUESTS;
    const theirs = isComparable ? elsewhere : before;
    if (ours === null || theirs === null || Math.min(ours.requests, theirs.requests) < MIN_REQUESTS) continue;
    const where = isComparable ? 'elsewhere' : 'in the minute before';
    const compared = (share: string, our: number, their: number): string =>
      `${share} of the requests of ${source} takes more than ${our.toFixed(1)} ms where it is in force, ${their.toFixed(1)} ms ${where}.`;
    if (ours.p50Ms > theirs.p50Ms * SLOWER_FACTOR + SLOWER_BY_MS) return compared('Half', ours.p50Ms, theirs.p50Ms);
    if (Math.min(ours.requests, theirs.requests) < MIN_TAIL_REQUESTS) continue;
    if (ours.p95Ms > theirs.p95Ms * SLOWER_FACTOR + SLOWER_TAIL_BY_MS) {
      return compared('A twentieth', ours.p95Ms, theirs.p95Ms);
    }
  }
  return null;
}

/** Of everything that all agents report now, to compare with later. */
export function baselineOf({ requests, failures, latencies }: RolloutHealth['rest']): Baseline {
  const known = Object.entries(latencies).flatMap(([source, sketch]): [string, Quantiles][] => {
    const quantiles = quantilesOf(sketch);
    return quantiles === null ? [] : [[source, quantiles]];
  });
  return { requests, failures, latencies: Object.fromEntries(known.slice(0, BASELINE_SOURCES)) };
}

function quantilesOf(sketch: LatencySketch): Quantiles | null {
  const [p50Ms, p95Ms] = [sketchQuantile(sketch, 0.5), sketchQuantile(sketch, 0.95)];
  return p50Ms === null || p95Ms === null ? null : { requests: sketchCount(sketch), p50Ms, p95Ms };
}

interface Ratio {
  readonly requests: number;
  readonly failures: number;
}

/** Whether a fails more often than b, surely and noticeably (two-proportion z-test). */
export function isWorse(a: Ratio, b: Ratio): boolean {
  const rise = a.failures / a.requests - b.failures / b.requests;
  if (rise < LEAST_RISE) return false;
  const pooled = (a.failures + b.failures) / (a.requests + b.requests);
  const deviation = Math.sqrt(pooled * (1 - pooled) * (1 / a.requests + 1 / b.requests));
  // No deviation with a rise: all of a failed and none of b is left to differ.
  return deviation === 0 || rise / deviation >= SURE;
}

function percent(part: number, whole: number): string {
  return `${whole === 0 ? 0 : ((100 * part) / whole).toFixed(1)} %`;
}

/** The record after a step that goes on; `halt` and `abort` also put the stable document back and are not here. */
export function afterStep(rollout: Rollout, step: Exclude<Step, { kind: 'wait' | 'halt' }>, epochMs: number): Rollout {
  switch (step.kind) {
    case 'begin':
      return {
        ...rollout,
        firstAgents: [step.agentId],
        stageSinceEpochMs: epochMs,
        reason: `${step.agentId} has it first.`,
      };
    case 'advance': {
      const stage = rollout.stage + 1;
      return { ...rollout, stage, stageSinceEpochMs: epochMs, reason: `${STAGES[stage]} % of the agents have it.` };
    }
    case 'complete':
      return { ...rollout, state: 'completed', stageSinceEpochMs: epochMs, reason: 'Every agent has it.' };
  }
}
