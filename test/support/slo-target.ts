// What policies promise where no document says anything, for tests that need a promise and no documents.

import { type SloTarget, sloOf } from '#contract/policy/slo.ts';

export function sloTarget(changes: Partial<SloTarget> = {}): SloTarget {
  return { ...sloOf([], 'any'), ...changes };
}
