// The set that a replica knows, and what it would be after a change. Pure.

import type { PolicyId } from '#contract/policy/policy.ts';
import { type PolicySet, policyIdOf, type StoredPolicy } from './store.ts';

export interface Known extends PolicySet {
  /** Name of the commit that made it: two sets of one version by different commits mean that a store was restored. */
  readonly commit: string;
}

export const NOTHING: Known = { version: 0, generation: '', policies: [], rollout: null, commit: '' };

export function setOf({ version, generation, policies, rollout }: Known): PolicySet {
  return { version, generation, policies, rollout };
}

export function find(set: PolicySet, id: PolicyId): StoredPolicy | null {
  return set.policies.find(({ document }) => policyIdOf(document) === id) ?? null;
}

export function withPolicy(set: Known, id: PolicyId, policy: StoredPolicy | null): Known {
  const others = set.policies.filter(({ document }) => policyIdOf(document) !== id);
  const policies = policy === null ? others : [...others, policy];
  return { ...set, policies: policies.sort((a, b) => (policyIdOf(a.document) < policyIdOf(b.document) ? -1 : 1)) };
}
