// Why a request came to the rule it came to, and what it would have taken for another: the nearest miss. Pure; made when somebody
// asks, never on the request path, by the same comparisons.

import type { RouteMatch, RouteRule, ValueMatch } from '#contract/policy/route-rule.ts';
import { type HeaderReader, isPathMatch, isValueMatch, matchRoute, type RouteTable } from '../route.ts';
import { queryValue } from './query.ts';

export interface RequestFacts {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly header: HeaderReader;
}

/** A rule that was tried and did not match. */
export interface RuleMiss {
  readonly rule: string;
  /** Parts of the match that held, of all it has. */
  readonly held: number;
  readonly parts: number;
  /** One sentence fragment for each part that did not hold. Says what was wanted; of headers and parameters not what came. */
  readonly failed: readonly string[];
}

export interface RouteExplanation {
  /** Name of the rule, or null. */
  readonly rule: string | null;
  /** Rules that were tried before it, in order; at most MAX_MISSES. */
  readonly misses: readonly RuleMiss[];
  /** Of them the one of which most parts held, the earlier of two; null when the first rule matched. */
  readonly nearestMiss: RuleMiss | null;
  /** One sentence. */
  readonly text: string;
}

export const MAX_MISSES = 100;

/** O(rules × parts). */
export function explainRoute(table: RouteTable, request: RequestFacts): RouteExplanation {
  const matched = matchRoute(table, request.method, request.target, request.header);
  const misses: RuleMiss[] = [];
  let nearest: RuleMiss | null = null;
  for (const rule of table.rules) {
    if (rule === matched) break;
    for (const match of rule.matches) {
      const miss = missOf(table, rule, match, request);
      if (misses.length < MAX_MISSES) misses.push(miss);
      if (nearest === null || miss.held > nearest.held) nearest = miss;
    }
  }
  return { rule: matched?.name ?? null, misses, nearestMiss: nearest, text: sentence(matched, nearest) };
}

function missOf({ patterns }: RouteTable, rule: RouteRule, match: RouteMatch, request: RequestFacts): RuleMiss {
  const { method, target, header } = request;
  const query = target.indexOf('?');
  const pathEnd = query < 0 ? target.length : query;
  const failed: string[] = [];
  let parts = 0;
  const judge = (holds: boolean, text: () => string) => {
    parts += 1;
    if (!holds) failed.push(text());
  };
  const { path } = match;
  if (path !== null) {
    judge(isPathMatch(path, patterns, target, pathEnd), () => `the path is not ${PATH_TEXT[path.type]} ${path.value}`);
  }
  if (match.method !== null) judge(match.method === method, () => `the method is ${method}, not ${match.method}`);
  for (const wanted of match.headers) {
    const found = header(wanted.name);
    judge(isValueMatch(wanted, patterns, found), () => valueText('header', wanted, found));
  }
  for (const wanted of match.queryParams) {
    const found = queryValue(target, pathEnd, wanted.name);
    judge(isValueMatch(wanted, patterns, found), () => valueText('query parameter', wanted, found));
  }
  return { rule: rule.name, held: parts - failed.length, parts, failed };
}

const PATH_TEXT = { Exact: 'exactly', PathPrefix: 'under', RegularExpression: 'of the form' } as const;

/** What came may be a secret; what the policy wants is known to whoever may read it. */
function valueText(what: string, { type, name, value }: ValueMatch, found: string | null): string {
  if (found === null) return `${what} ${name} is not there`;
  return `${what} ${name} is not ${type === 'Exact' ? JSON.stringify(value) : `of the form ${value}`}`;
}

function sentence(matched: RouteRule | null, nearest: RuleMiss | null): string {
  const found = matched === null ? 'no rule matches' : `rule ${matched.name} matches`;
  if (nearest === null) return found;
  return `${found}; ${nearest.rule} would have, but ${nearest.failed.join(', and ')}`;
}
