// Whether error budgets let a policy be changed now: what a document is about, and who has too little left for experiments. Pure.

import type { PolicyKind } from '#contract/policy/policy.ts';
import type { SloView } from './book.ts';

/** A service whose budget says no to a change. */
export type Frozen = Pick<SloView, 'service' | 'freezeBelow' | 'budget' | 'from'>;

/**
 * The service that a change of this document has to spare, or null. MeshDefaults concern every service, the other kinds the one
 * that they are named after.
 *
 * @param views  of all services
 */
export function frozenBy(
  { kind, name }: { readonly kind: PolicyKind; readonly name: string },
  views: readonly SloView[],
): Frozen | null {
  const concerned = views.filter(({ service }) => kind === 'MeshDefaults' || service === name);
  return concerned.find(({ isFrozen }) => isFrozen) ?? null;
}
