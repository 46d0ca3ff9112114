// Whether a caller may make a request, by the intentions of the destination. Not a security boundary by itself: the caller's
// own agent asks.

import type { CallerPermission } from '#contract/policy/policy.ts';

/**
 * Permissions are tried in order, the first that matches decides, and when none matches the answer is no. Prefixes are plain
 * text prefixes as in Consul: `/admin` also covers `/administrator`.
 *
 * @param path  request target in origin form; a query is ignored, and dot segments, doubled slashes and needless
 *              percent-encoding are undone first so that `/public/../admin` is judged as `/admin`
 */
export function isPermitted(permission: CallerPermission, method: string, path: string): boolean {
  if (permission.kind !== 'permissions') return permission.kind === 'allow';
  const plain = normalisePath(path);
  for (const { action, methods, pathPrefix, pathExact } of permission.permissions) {
    if (methods !== null && !methods.includes(method)) continue;
    if (pathExact !== null && plain !== pathExact) continue;
    if (pathPrefix !== null && !plain.startsWith(pathPrefix)) continue;
    return action === 'allow';
  }
  return false;
}

/** RFC 3986 6.2.2: unreserved characters decoded, dot segments removed; doubled slashes merged as origin servers tend to. */
function normalisePath(target: string): string {
  const query = target.indexOf('?');
  const path = (query < 0 ? target : target.slice(0, query)).replace(/%([0-9a-f]{2})/gi, (encoded, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return /[\w.~-]/.test(character) ? character : encoded.toUpperCase();
  });
  if (!/\/(\.|\/|$)/.test(path)) return path;
  const kept: string[] = [];
  const segments = path.split('/');
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  const last = segments.at(-1);
  const isFolder = kept.length > 0 && (last === '' || last === '.' || last === '..');
  return `/${kept.join('/')}${isFolder ? '/' : ''}`;
}
