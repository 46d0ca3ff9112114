// What the API says about policies, and a document to begin with. Pure.

import type { PolicyDocument } from '#contract/policy/policy.ts';

export interface PolicyView {
  readonly id: string;
  readonly document: PolicyDocument;
  readonly revision: number;
  readonly updatedAtEpochMs?: number;
  readonly author?: string;
}

export interface Difference {
  readonly path: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

export interface DryRun {
  readonly version: number;
  readonly changes: readonly {
    readonly id: string;
    readonly change: 'create' | 'update' | 'none';
    readonly differences: readonly Difference[];
  }[];
}

export interface Written {
  readonly revision: number;
  readonly version: number;
  readonly isChanged: boolean;
  readonly agents: { readonly wanted: number; readonly applied: number; readonly rejected: number };
}

export interface RolloutView {
  readonly id: string;
  readonly policy: string;
  readonly version: number;
  readonly author: string;
  readonly state: 'running' | 'paused' | 'completed' | 'halted' | 'aborted';
  readonly stage: number;
  readonly percent: number;
  readonly soakMs: number;
  readonly stageSinceEpochMs: number;
  readonly startedAtEpochMs: number;
  readonly reason: string;
  readonly firstAgents: readonly string[];
  readonly health: { readonly connected: number; readonly cohort: GroupHealth; readonly rest: GroupHealth } | null;
}

export interface GroupHealth {
  readonly agents: number;
  readonly settled: number;
  readonly requests: number;
  readonly failures: number;
}

export function isUnderWay(rollout: RolloutView | null): rollout is RolloutView {
  return rollout !== null && (rollout.state === 'running' || rollout.state === 'paused');
}

export function templateOf(kind: string, name: string): object {
  const specs: Readonly<Record<string, object>> = {
    MeshDefaults: { retries: { attempts: 2 } },
    ServicePolicy: { timeouts: { request: '10s' }, retries: { attempts: 2 } },
    HTTPRoute: {
      parentRefs: [{ kind: 'Service', name }],
      rules: [{ name: 'all', backendRefs: [{ name, weight: 1 }] }],
    },
    ServiceIntentions: { defaultAction: 'allow', sources: [{ name: '*', action: 'allow' }] },
  };
  return { apiVersion: 'outrigger.dev/v1', kind, metadata: { name }, spec: specs[kind] ?? {} };
}
