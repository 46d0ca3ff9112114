// New paths and locations for rewritten and redirected requests. Pure. Paths of requests are in their normal form here and
// paths of policies were checked to be, so what comes out is too: no empty segment, no dot segment, no control character.

import type { PathChange, Redirect } from '#contract/policy/route-rule.ts';

/**
 * Target with another path and the query it had.
 *
 * With ReplacePrefixMatch `/foo/bar` of prefix `/foo` and value `/xyz` becomes `/xyz/bar`; a slash at the end of either means
 * nothing; value `/` takes the prefix away.
 *
 * @see https://gateway-api.sigs.k8s.io/reference/spec/ HTTPPathModifier
 */
export function changePath({ type, value, prefix }: PathChange, target: string): string {
  const query = target.indexOf('?');
  const pathEnd = query < 0 ? target.length : query;
  if (type === 'ReplaceFullPath') return value + target.slice(pathEnd);
  const rest = target.slice(prefix === '/' ? 0 : prefix.length, pathEnd);
  const path = (value.endsWith('/') ? value.slice(0, -1) : value) + rest;
  return (path === '' ? '/' : path) + target.slice(pathEnd);
}

export interface RedirectPlace {
  /** Absolute URL for Location. */
  readonly location: string;
  /** Host and port of it, as in a Host field. */
  readonly authority: string;
  readonly target: string;
  /** Scheme and authority are those of the request. */
  readonly isSameOrigin: boolean;
}

/**
 * Where a redirect sends to. Always an absolute URL, whose host is the policy's or the one that the client asked for itself:
 * nothing of a path or query can name another.
 *
 * @param host  Host of the request, in its normal form; the service when it had none
 */
export function redirectPlace(redirect: Redirect, host: string, target: string): RedirectPlace {
  const scheme = redirect.scheme ?? 'http';
  const authority = authorityOf(redirect, scheme, host);
  const path = redirect.path === null ? target : changePath(redirect.path, target);
  const isSameOrigin = scheme === 'http' && authority === host;
  return { location: `${scheme}://${authority}${path}`, authority, target: path, isSameOrigin };
}

/** The port of the request goes with its host; a port that the scheme has anyway is not said. */
function authorityOf({ scheme: given, hostname, port }: Redirect, scheme: 'http' | 'https', host: string): string {
  if (port === null) return hostname ?? (given === null ? host : withoutPort(host));
  const isPlain = port === (scheme === 'http' ? 80 : 443);
  return `${hostname ?? withoutPort(host)}${isPlain ? '' : `:${port}`}`;
}

/** `[::1]:80` → `[::1]`. */
export function withoutPort(host: string): string {
  const colon = host.lastIndexOf(':');
  return colon <= host.lastIndexOf(']') ? host : host.slice(0, colon);
}
