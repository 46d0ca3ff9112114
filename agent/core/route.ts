// Which HTTPRoute rule a request falls under. Pure; allocates nothing unless a query parameter is escaped.

import type { Pattern } from '#contract/input/pattern.ts';
import type { RouteMatch, RouteRule, ValueMatch } from '#contract/policy/route-rule.ts';
import { queryValue } from './routes/query.ts';

/** Value of a header by lower-case name, or null. */
export type HeaderReader = (name: string) => string | null;

/** Rules in the order of precedence, and the compiled form of their regular expressions. Lives as long as the plan it is of. */
export interface RouteTable {
  /** The service that was asked for: its HTTPRoute has the rules. */
  readonly service: string;
  readonly rules: readonly RouteRule[];
  readonly patterns: ReadonlyMap<string, Pattern>;
  /** Whether any rule looks at a header, `host` included. */
  readonly readsHeaders: boolean;
}

/**
 * The first rule, in the order of precedence that the plan gives, of which a match holds; null when none does (including a
 * service without rules).
 *
 * @param target  request target in origin form; the query takes part in queryParams only
 */
export function matchRoute(table: RouteTable, method: string, target: string, header: HeaderReader): RouteRule | null {
  const query = target.indexOf('?');
  const pathEnd = query < 0 ? target.length : query;
  for (const rule of table.rules) {
    if (rule.matches.length === 0) return rule;
    for (const match of rule.matches) if (holds(match, table.patterns, method, target, pathEnd, header)) return rule;
  }
  return null;
}

function holds(
  match: RouteMatch,
  patterns: RouteTable['patterns'],
  method: string,
  target: string,
  pathEnd: number,
  header: HeaderReader,
): boolean {
  if (match.method !== null && match.method !== method) return false;
  if (match.path !== null && !isPathMatch(match.path, patterns, target, pathEnd)) return false;
  for (const wanted of match.headers) if (!isValueMatch(wanted, patterns, header(wanted.name))) return false;
  for (const wanted of match.queryParams) {
    if (!isValueMatch(wanted, patterns, queryValue(target, pathEnd, wanted.name))) return false;
  }
  return true;
}

/**
 * Gateway API: a prefix counts whole segments, and a trailing slash of the prefix means nothing: `/v1/` covers `/v1`.
 *
 * @param pathEnd  length of the target without its query
 */
export function isPathMatch(
  { type, value }: NonNullable<RouteMatch['path']>,
  patterns: RouteTable['patterns'],
  target: string,
  pathEnd: number,
): boolean {
  if (type === 'Exact') return pathEnd === value.length && target.startsWith(value);
  if (type === 'RegularExpression') return patterns.get(value)?.test(target.slice(0, pathEnd)) === true;
  const length = value.endsWith('/') ? value.length - 1 : value.length;
  if (length > pathEnd || !target.startsWith(length === value.length ? value : value.slice(0, -1))) return false;
  return length === pathEnd || target.charCodeAt(length) === 0x2f;
}

/** @param found  null when the request has no such header or parameter */
export function isValueMatch(
  { type, value }: ValueMatch,
  patterns: RouteTable['patterns'],
  found: string | null,
): boolean {
  if (found === null) return false;
  if (type === 'Exact') return found === value;
  return type === 'Present' || patterns.get(value)?.test(found) === true;
}
