// A push, judged: every document parsed and all of them checked together, before anything is changed.

import type { PolicyPush } from '#contract/frames.ts';
import { checkConsistency } from '#contract/policy/consistency.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import type { PolicyDocument, ServicePlan } from '#contract/policy/policy.ts';
import type { Parsed, Problem } from '#contract/problem.ts';

/**
 * The same parser as the control plane's, because a push may come from disk, from a folder, or from another version.
 * All problems of all documents; paths begin with the document, `ServicePolicy/payments: spec.retries.attempts`.
 */
export function parsePush(push: PolicyPush): Parsed<readonly PolicyDocument[]> {
  const documents: PolicyDocument[] = [];
  const problems: Problem[] = [];
  for (const [index, input] of push.documents.entries()) {
    const parsed = parsePolicy(input);
    if (parsed.ok) documents.push(parsed.value);
    else for (const problem of parsed.problems) problems.push(prefix(problem, nameOf(input, index)));
  }
  if (problems.length === 0) problems.push(...checkConsistency(documents));
  return problems.length === 0 ? { ok: true, value: documents } : { ok: false, problems };
}

function prefix(problem: Problem, name: string): Problem {
  return { ...problem, path: `${name}: ${problem.path}`.trimEnd() };
}

/** What a refused document calls itself, or `documents[3]` when it does not say. Nothing about it can be relied on. */
function nameOf(input: unknown, index: number): string {
  const { kind, metadata } = (input ?? {}) as { kind?: unknown; metadata?: unknown };
  const { name } = (metadata ?? {}) as { name?: unknown };
  const isNamed = typeof kind === 'string' && typeof name === 'string' && kind.length + name.length < 256;
  return isNamed ? `${kind}/${name}` : `documents[${index}]`;
}

/** The former plan when the new one says the same, so that what depends on it stays; else the new one. */
export function keepIfSame(former: ServicePlan | null, next: ServicePlan): ServicePlan {
  return former !== null && JSON.stringify(former) === JSON.stringify(next) ? former : next;
}
