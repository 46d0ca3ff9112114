// Holds changes of policies back while a service that they concern has little of its error budget left.

import type { PolicyId, PolicyKind } from '#contract/policy/policy.ts';
import type { Frozen } from '../core/slo/freeze.ts';
import { ApiError } from './problem.ts';

/** The service whose error budget holds back a change of a document; null: none does. */
export type FrozenBy = (id: { readonly kind: PolicyKind; readonly name: string }) => Frozen | null;

/** Asked before the store is: who is in a hurry with a good reason says so, and the audit log has it. */
export function refuseWhileFrozen(id: PolicyId, frozenBy: FrozenBy): void {
  const slash = id.indexOf('/');
  // idOf made sure of the kind.
  const frozen = frozenBy({ kind: id.slice(0, slash) as PolicyKind, name: id.slice(slash + 1) });
  if (frozen === null) return;
  const { service, budget, freezeBelow, from } = frozen;
  const left = `${service} has ${(100 * budget.left).toFixed(1)} % of its error budget left`;
  const rule = `below ${Number((100 * freezeBelow).toFixed(4))} % (${from.freezeBelow}) changes are held back`;
  const way = 'put a former revision back, or send force=true with a change that mends it';
  throw new ApiError('OTR_ERR_BUDGET_SPENT', `${left}, and ${rule}: ${way}`, null, { service, left: budget.left });
}

export function forceOf(text: string | undefined): boolean {
  if (text === undefined || text === 'false') return false;
  if (text === 'true') return true;
  throw new ApiError('OTR_ERR_BAD_REQUEST', 'force must be true or false');
}
