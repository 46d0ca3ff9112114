// One HTTPRoute rule as the request path reads it. Plain data: regular expressions are texts here and are compiled where they
// are used.

import type { HashSource } from './balancer.ts';
import type { EffectivePolicy } from './policy.ts';

/** Rules of a service are in order of precedence: the first that matches applies. */
export interface RouteRule {
  /** Name given in the document, or `rule-N` (N from 1, document order). */
  readonly name: string;
  readonly matches: readonly RouteMatch[];
  /** Where the request goes; at least one. Weights as written, any total above 0. */
  readonly backends: readonly RouteBackend[];
  /** What keeps a request with one of the backends; empty = chance alone. */
  readonly sticky: readonly HashSource[];
  readonly requestHeaders: HeaderChanges | null;
  readonly responseHeaders: HeaderChanges | null;
  readonly rewrite: UrlRewrite | null;
  /** Answered in place of being sent; then `backends` plays no part. */
  readonly redirect: Redirect | null;
  readonly mirror: Mirror | null;
  readonly fault: FaultInjection | null;
  /** Policy of each backend with this rule's timeouts and retries on top; same order as `backends`. */
  readonly policies: readonly EffectivePolicy[];
}

export interface RouteBackend {
  readonly service: string;
  /** Null = all of the service. */
  readonly subset: string | null;
  readonly weight: number;
}

/** All parts must hold. An empty match matches everything. Header names are lower case. */
export interface RouteMatch {
  readonly path: {
    readonly type: 'Exact' | 'PathPrefix' | 'RegularExpression';
    readonly value: string;
  } | null;
  readonly method: string | null;
  readonly headers: readonly ValueMatch[];
  readonly queryParams: readonly ValueMatch[];
}

/** `value` is empty with Present. */
export interface ValueMatch {
  readonly type: 'Exact' | 'RegularExpression' | 'Present';
  readonly name: string;
  readonly value: string;
}

/** Header edits in the order Gateway API applies them: set, add, remove. Names lower case, values valid field values. */
export interface HeaderChanges {
  readonly set: readonly { readonly name: string; readonly value: string }[];
  readonly add: readonly { readonly name: string; readonly value: string }[];
  readonly remove: readonly string[];
}

export interface UrlRewrite {
  /** Null = Host stays. */
  readonly hostname: string | null;
  readonly path: PathChange | null;
}

export interface PathChange {
  readonly type: 'ReplaceFullPath' | 'ReplacePrefixMatch';
  readonly value: string;
  /** Prefix that `value` takes the place of, as the match has it: `/` or without a slash at its end. */
  readonly prefix: string;
}

/** Null = as in the request. */
export interface Redirect {
  readonly scheme: 'http' | 'https' | null;
  readonly hostname: string | null;
  readonly port: number | null;
  readonly path: PathChange | null;
  readonly status: 301 | 302 | 303 | 307 | 308;
}

export interface Mirror {
  readonly service: string;
  readonly subset: string | null;
  readonly percent: number;
}

export interface FaultInjection {
  readonly delay: { readonly durationMs: number; readonly percent: number } | null;
  readonly abort: { readonly status: number; readonly percent: number } | null;
}
