// Rules of an HTTPRoute as the request path reads them, in the order in which they are tried.

import type { RouteRuleSpec } from './layers.ts';
import type { EffectivePolicy, HeaderChanges, RouteMatch, RouteRule } from './policy.ts';

type MatchSpec = NonNullable<RouteRuleSpec['matches']>[number];
type ModifierSpec = NonNullable<NonNullable<RouteRuleSpec['filters']>[number]['requestHeaderModifier']>;

const MATCH_ALL: RouteMatch = { path: null, method: null, headers: [] };

/**
 * One RouteRule for each match of each rule, sorted by Gateway API's precedence: an exact path, then the longest prefix, then a
 * method, then the larger number of headers, then document order. Sorting rules whole would be wrong: two matches of one rule
 * may lie on either side of another rule's.
 *
 * @param policyOf the policy of a rule's backend; called once per pair
 * @see https://gateway-api.sigs.k8s.io/reference/spec/ HTTPRouteRule.matches
 */
export function compileRules(
  service: string,
  specs: readonly RouteRuleSpec[],
  policyOf: (rule: RouteRuleSpec, backend: string) => EffectivePolicy,
): RouteRule[] {
  const rules = specs.flatMap((spec, index) => {
    const backends = (spec.backendRefs ?? [{ name: service }]).map(({ name, weight = 1 }) => ({
      service: name,
      weight,
    }));
    const rule: Omit<RouteRule, 'matches'> = {
      name: nameRule(spec, index),
      backends,
      requestHeaders: changesOf(spec, 'requestHeaderModifier'),
      responseHeaders: changesOf(spec, 'responseHeaderModifier'),
      policies: backends.map((backend) => policyOf(spec, backend.service)),
    };
    const matches = (spec.matches ?? []).length === 0 ? [MATCH_ALL] : (spec.matches ?? []).map(compileMatch);
    return matches.map((match): RouteRule & { matches: readonly [RouteMatch] } => ({ ...rule, matches: [match] }));
  });
  // Array sort is stable, which keeps document order among equals.
  return rules.sort((left, right) => comparePrecedence(left.matches[0], right.matches[0]));
}

/** The given name, or `rule-N` with N from 1. */
export function nameRule(spec: RouteRuleSpec, index: number): string {
  return spec.name ?? `rule-${index + 1}`;
}

function comparePrecedence(left: RouteMatch, right: RouteMatch): number {
  return (
    Number(right.path?.type === 'Exact') - Number(left.path?.type === 'Exact') ||
    prefixLength(right) - prefixLength(left) ||
    Number(right.method !== null) - Number(left.method !== null) ||
    right.headers.length - left.headers.length
  );
}

/** A match without a path is a match of the prefix `/`. */
function prefixLength({ path }: RouteMatch): number {
  if (path === null) return 1;
  return path.type === 'PathPrefix' ? path.value.length : 0;
}

/** `/a/` and `/a` are the same prefix; the slash goes, so that a reader compares segments without asking. */
function compileMatch({ path, method, headers = [] }: MatchSpec): RouteMatch {
  const type = path?.type ?? 'PathPrefix';
  const value = type === 'PathPrefix' ? path?.value.replace(/\/+$/, '') || '/' : path?.value;
  return {
    path: value === undefined || path === undefined ? null : { type, value },
    method: method ?? null,
    headers: headers.map(({ name, value: wanted }) => ({ name: name.toLowerCase(), value: wanted })),
  };
}

function changesOf(spec: RouteRuleSpec, key: 'requestHeaderModifier' | 'responseHeaderModifier'): HeaderChanges | null {
  const modifier = (spec.filters ?? []).map((filter) => filter[key]).find((found) => found !== undefined);
  if (modifier === undefined) return null;
  const lower = (pairs: ModifierSpec['set']) =>
    (pairs ?? []).map(({ name, value }) => ({ name: name.toLowerCase(), value }));
  return {
    set: lower(modifier.set),
    add: lower(modifier.add),
    remove: (modifier.remove ?? []).map((name) => name.toLowerCase()),
  };
}
