// The sentences of mesh events that are not about a single endpoint.

import type { MeshEvent, PolicyPush } from '#contract/frames.ts';
import type { Problem } from '#contract/problem.ts';
import { describeCalm, describePanic } from '../core/outlier/sentence.ts';
import type { ServiceView } from '../core/snapshot.ts';
import type { Membership } from './membership.ts';

/** Null when nobody joined or left (a weight or a tag changed). */
export function membershipEvent(service: string, membership: Membership, atEpochMs: number): MeshEvent | null {
  const { joined, left, views } = membership;
  if (joined === 0 && left === 0) return null;
  const now = `${views.length} ${views.length === 1 ? 'endpoint' : 'endpoints'} now`;
  const text = `${service} changed: ${joined} joined, ${left} left, ${now}`;
  return { atEpochMs, kind: 'discovery', service, endpoint: null, reason: 'endpoints_changed', text };
}

/** Null unless panic began or ended between the two views. */
export function panicEvent(former: ServiceView | null, view: ServiceView, atEpochMs: number): MeshEvent | null {
  if ((former?.isPanicking ?? false) === view.isPanicking) return null;
  const { service, endpoints, isPanicking } = view;
  const serving = endpoints.filter(({ stats }) => stats.state === 'serving').length;
  const { minHealthPercent } = view.policy.outlierDetection;
  return {
    atEpochMs,
    kind: 'panic',
    service,
    endpoint: null,
    reason: isPanicking ? 'panic_began' : 'panic_ended',
    text: (isPanicking ? describePanic : describeCalm)(service, serving, endpoints.length, minHealthPercent),
  };
}

/** @param problems  empty when the push was taken over */
export function policyEvent(
  push: PolicyPush,
  appliedVersion: number,
  problems: readonly Problem[],
  atEpochMs: number,
): MeshEvent {
  const base = { atEpochMs, kind: 'policy', service: null, endpoint: null } as const;
  const [first] = problems;
  if (first === undefined) {
    const documents = `${push.documents.length} ${push.documents.length === 1 ? 'document' : 'documents'}`;
    return { ...base, reason: 'policy_ack', text: `policy version ${push.version} applied: ${documents}` };
  }
  const more = problems.length > 1 ? ` and ${problems.length - 1} more` : '';
  const kept = `version ${appliedVersion} stays in force`;
  const text = `policy version ${push.version} refused, ${kept}: ${first.path} ${first.message}${more}`;
  return { ...base, reason: 'policy_nack', text };
}
