// Which HTTPRoute rule a request falls under and which of the rule's backends it goes to. Pure; allocates nothing.

import type { RouteMatch, RouteRule } from '#contract/policy/policy.ts';
import type { Random } from '../clock.ts';
import type { ServiceView } from './snapshot.ts';

/**
 * The first rule, in the order of precedence that the plan gives, of which a match holds; null when none does (including a
 * service without rules).
 *
 * @param path    request target in origin form; the query does not take part
 * @param header  value of a header by lower-case name, or null
 */
export function matchRoute(
  view: ServiceView,
  method: string,
  path: string,
  header: (name: string) => string | null,
): RouteRule | null {
  for (const rule of view.rules) {
    if (rule.matches.length === 0) return rule;
    for (const match of rule.matches) if (holds(match, method, path, header)) return rule;
  }
  return null;
}

function holds(match: RouteMatch, method: string, path: string, header: (name: string) => string | null): boolean {
  if (match.method !== null && match.method !== method) return false;
  if (match.path !== null && !isPathMatch(match.path.type, match.path.value, path)) return false;
  for (const { name, value } of match.headers) if (header(name) !== value) return false;
  return true;
}

/** Gateway API: a prefix counts whole segments, and a trailing slash of the prefix means nothing: `/v1/` covers `/v1`. */
function isPathMatch(type: 'Exact' | 'PathPrefix', value: string, path: string): boolean {
  const query = path.indexOf('?');
  const end = query < 0 ? path.length : query;
  if (type === 'Exact') return end === value.length && path.startsWith(value);
  const length = value.endsWith('/') ? value.length - 1 : value.length;
  if (length > end || !path.startsWith(length === value.length ? value : value.slice(0, -1))) return false;
  return length === end || path.charCodeAt(length) === 0x2f;
}

/**
 * Index of the backend that gets a request, in proportion to the weights.
 *
 * @param random  drawn once when the rule has two backends or more, else not at all
 */
export function chooseBackend(rule: RouteRule, random: Random): number {
  const { backends } = rule;
  if (backends.length < 2) return 0;
  let total = 0;
  for (const { weight } of backends) total += weight;
  let left = random() * total;
  let chosen = 0;
  for (let index = 0; index < backends.length; index++) {
    const weight = backends[index]?.weight ?? 0;
    if (weight === 0) continue;
    chosen = index;
    left -= weight;
    if (left < 0) break;
  }
  return chosen;
}
