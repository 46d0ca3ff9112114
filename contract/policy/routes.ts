// Rules of an HTTPRoute as the request path reads them, in the order in which they are tried.

import { parseDuration } from '../text/durations.ts';
import { toHashSource } from './balancer.ts';
import type { RouteRuleSpec } from './layers.ts';
import type { EffectivePolicy } from './policy.ts';
import type {
  FaultInjection,
  HeaderChanges,
  PathChange,
  Redirect,
  RouteMatch,
  RouteRule,
  UrlRewrite,
  ValueMatch,
} from './route-rule.ts';

type MatchSpec = NonNullable<RouteRuleSpec['matches']>[number];
type FilterSpec = NonNullable<RouteRuleSpec['filters']>[number];
type ModifierSpec = NonNullable<FilterSpec['requestHeaderModifier']>;
type ValueSpec = NonNullable<MatchSpec['queryParams']>[number];
type PathChangeSpec = NonNullable<FilterSpec['urlRewrite']>['path'];

const MATCH_ALL: RouteMatch = { path: null, method: null, headers: [], queryParams: [] };

/**
 * One RouteRule for each match of each rule, sorted by Gateway API's precedence: an exact path, then the longest prefix, then a
 * regular expression, then the prefix `/` (a path that is not named at all); then a method, then the larger number of headers,
 * then that of query parameters, then document order. Sorting rules whole would be wrong: two matches of one rule may lie on
 * either side of another rule's.
 *
 * Gateway API leaves the place of regular expressions open. Behind every prefix they would lose to a rule for everything, and
 * before them one could take paths away from a prefix that names its own.
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
    const matches = (spec.matches ?? []).length === 0 ? [MATCH_ALL] : (spec.matches ?? []).map(compileMatch);
    const rule = compileRule(service, spec, index, policyOf);
    return matches.map((match): RouteRule & { matches: readonly [RouteMatch] } => ({
      ...rule,
      matches: [match],
      rewrite: rewriteOf(spec, match),
      redirect: redirectOf(spec, match),
    }));
  });
  // Array sort is stable, which keeps document order among equals.
  return rules.sort((left, right) => comparePrecedence(left.matches[0], right.matches[0]));
}

function compileRule(
  service: string,
  spec: RouteRuleSpec,
  index: number,
  policyOf: (rule: RouteRuleSpec, backend: string) => EffectivePolicy,
): Omit<RouteRule, 'matches' | 'rewrite' | 'redirect'> {
  const backends = (spec.backendRefs ?? [{ name: service }]).map(({ name, subset = null, weight = 1 }) => ({
    service: name,
    subset,
    weight,
  }));
  const mirror = filterOf(spec, 'requestMirror');
  return {
    name: nameRule(spec, index),
    backends,
    sticky: spec.sticky === undefined ? [] : [toHashSource(spec.sticky)],
    requestHeaders: changesOf(spec, 'requestHeaderModifier'),
    responseHeaders: changesOf(spec, 'responseHeaderModifier'),
    mirror:
      mirror === null
        ? null
        : { service: mirror.backendRef.name, subset: mirror.backendRef.subset ?? null, percent: mirror.percent ?? 100 },
    fault: faultOf(spec),
    policies: backends.map((backend) => policyOf(spec, backend.service)),
  };
}

/** The given name, or `rule-N` with N from 1. */
export function nameRule(spec: RouteRuleSpec, index: number): string {
  return spec.name ?? `rule-${index + 1}`;
}

function comparePrecedence(left: RouteMatch, right: RouteMatch): number {
  return (
    pathRank(right) - pathRank(left) ||
    Number(right.method !== null) - Number(left.method !== null) ||
    right.headers.length - left.headers.length ||
    right.queryParams.length - left.queryParams.length
  );
}

/** A match without a path is a match of the prefix `/`, which ranks 1; every other prefix is at least two characters long. */
function pathRank({ path }: RouteMatch): number {
  if (path === null) return 1;
  if (path.type === 'Exact') return Number.MAX_SAFE_INTEGER;
  return path.type === 'PathPrefix' ? path.value.length : 1.5;
}

/** `/a/` and `/a` are the same prefix; the slash goes, so that a reader compares segments without asking. */
function compileMatch({ path, method, headers = [], queryParams = [] }: MatchSpec): RouteMatch {
  const type = path?.type ?? 'PathPrefix';
  const value = type === 'PathPrefix' ? path?.value.replace(/\/+$/, '') || '/' : path?.value;
  return {
    path: value === undefined || path === undefined ? null : { type, value },
    method: method ?? null,
    headers: headers.map((header) => ({ ...compileValue(header), name: header.name.toLowerCase() })),
    queryParams: queryParams.map(compileValue),
  };
}

function compileValue({ type = 'Exact', name, value = '' }: ValueSpec): ValueMatch {
  return { type, name, value };
}

function filterOf<Key extends Exclude<keyof FilterSpec, 'type'>>(
  { filters = [] }: RouteRuleSpec,
  key: Key,
): NonNullable<FilterSpec[Key]> | null {
  for (const filter of filters) {
    const found = filter[key];
    if (found !== undefined) return found as NonNullable<FilterSpec[Key]>;
  }
  return null;
}

function changesOf(spec: RouteRuleSpec, key: 'requestHeaderModifier' | 'responseHeaderModifier'): HeaderChanges | null {
  const modifier = filterOf(spec, key);
  if (modifier === null) return null;
  const lower = (pairs: ModifierSpec['set']) =>
    (pairs ?? []).map(({ name, value }) => ({ name: name.toLowerCase(), value }));
  return {
    set: lower(modifier.set),
    add: lower(modifier.add),
    remove: (modifier.remove ?? []).map((name) => name.toLowerCase()),
  };
}

function rewriteOf(spec: RouteRuleSpec, match: RouteMatch): UrlRewrite | null {
  const rewrite = filterOf(spec, 'urlRewrite');
  if (rewrite === null) return null;
  return { hostname: rewrite.hostname ?? null, path: pathChangeOf(rewrite.path, match) };
}

function redirectOf(spec: RouteRuleSpec, match: RouteMatch): Redirect | null {
  const redirect = filterOf(spec, 'requestRedirect');
  if (redirect === null) return null;
  const { scheme = null, hostname = null, port = null, path, statusCode: status = 302 } = redirect;
  return { scheme, hostname, port, path: pathChangeOf(path, match), status };
}

/** Where the prefix is replaced, the match is for one: the rule filtersAgree sees to it. */
function pathChangeOf(change: PathChangeSpec, { path }: RouteMatch): PathChange | null {
  if (change === undefined) return null;
  const { type, replaceFullPath, replacePrefixMatch } = change;
  return { type, value: replaceFullPath ?? replacePrefixMatch ?? '/', prefix: path?.value ?? '/' };
}

function faultOf(spec: RouteRuleSpec): FaultInjection | null {
  const fault = filterOf(spec, 'faultInjection');
  if (fault === null) return null;
  const { delay, abort } = fault;
  return {
    delay:
      delay === undefined ? null : { durationMs: parseDuration(delay.duration) ?? 0, percent: delay.percent ?? 100 },
    abort: abort === undefined ? null : { status: abort.status ?? 503, percent: abort.percent ?? 100 },
  };
}
