// Rules of a route made by hand: a rule for everything, sent to one service, with some parts replaced.

import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import type { RouteBackend, RouteMatch, RouteRule } from '#contract/policy/route-rule.ts';

export function backend(service: string, weight = 1, subset: string | null = null): RouteBackend {
  return { service, subset, weight };
}

export function match(changes: Partial<RouteMatch> = {}): RouteMatch {
  return { path: null, method: null, headers: [], queryParams: [], ...changes };
}

export function ruleTo(service: string, changes: Partial<RouteRule> = {}): RouteRule {
  const backends = changes.backends ?? [backend(service)];
  return {
    name: 'rule-1',
    matches: [],
    backends,
    sticky: [],
    requestHeaders: null,
    responseHeaders: null,
    rewrite: null,
    redirect: null,
    mirror: null,
    fault: null,
    policies: backends.map(() => DEFAULT_POLICY),
    ...changes,
  };
}
