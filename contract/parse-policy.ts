// Unknown input in, a policy document or every problem with it out. The API and the agent call this same function.

import { POLICY_KINDS, type PolicyDocument, type PolicyKind } from './policy.ts';
import type { Parsed } from './problem.ts';

/** Never throws. */
export function parsePolicy(input: unknown): Parsed<PolicyDocument> {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    return { ok: false, problems: [{ code: 'OTR_TYPE', path: '', message: 'must be a mapping' }] };
  }
  const { kind } = input as { kind?: unknown };
  if (!POLICY_KINDS.includes(kind as PolicyKind)) {
    return { ok: false, problems: [{ code: 'OTR_ENUM', path: 'kind', message: 'must be a policy kind' }] };
  }
  return { ok: true, value: input as PolicyDocument };
}
