// A change that reaches the fleet in steps: its state, as it is stored. Pure.

import type { PolicyDocument, PolicyId } from '#contract/policy/policy.ts';

export type RolloutState = 'running' | 'paused' | 'completed' | 'halted' | 'aborted';

export interface Rollout {
  readonly id: string;
  readonly policy: PolicyId;
  /** What agents outside the cohort keep; null: no such document. */
  readonly stableDocument: PolicyDocument | null;
  /** Revision that is tried out. */
  readonly revision: number;
  readonly author: string;
  readonly state: RolloutState;
  /** Position in STAGES. */
  readonly stage: number;
  /** Agents that are in the cohort whatever their share is: the one of the first stage. */
  readonly firstAgents: readonly string[];
  readonly soakMs: number;
  readonly startedAtEpochMs: number;
  readonly stageSinceEpochMs: number;
  /** Why it stands where it stands, a full sentence. */
  readonly reason: string;
}
