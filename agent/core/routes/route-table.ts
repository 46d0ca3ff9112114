// Rules with their regular expressions compiled, once for each plan: a view is rebuilt at every sweep.

import { compilePattern, type Pattern } from '#contract/input/pattern.ts';
import type { RouteRule } from '#contract/policy/route-rule.ts';
import type { RouteTable } from '../route.ts';

const NO_PATTERNS: ReadonlyMap<string, Pattern> = new Map();

/** @param former  the table before; of the same rules it is taken over */
export function routeTableOf(service: string, rules: readonly RouteRule[], former: RouteTable | null): RouteTable {
  if (former !== null && former.rules === rules) return former;
  const readsHeaders = rules.some(({ matches }) => matches.some(({ headers }) => headers.length > 0));
  const patterns = rules.length === 0 ? NO_PATTERNS : patternsOf(rules);
  return Object.freeze({ service, rules, patterns, readsHeaders });
}

function patternsOf(rules: readonly RouteRule[]): ReadonlyMap<string, Pattern> {
  const patterns = new Map<string, Pattern>();
  const add = (text: string) => {
    if (patterns.has(text)) return;
    const compiled = compilePattern(text);
    // parsePolicy let it through, so it compiles; one that does not would match nothing.
    if (compiled.ok) patterns.set(text, compiled.pattern);
  };
  for (const { matches } of rules) {
    for (const { path, headers, queryParams } of matches) {
      if (path?.type === 'RegularExpression') add(path.value);
      for (const { type, value } of headers) if (type === 'RegularExpression') add(value);
      for (const { type, value } of queryParams) if (type === 'RegularExpression') add(value);
    }
  }
  return patterns;
}
