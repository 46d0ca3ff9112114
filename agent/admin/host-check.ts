// Who may talk to the admin API through a browser: nobody by a foreign name, no other site. Pure; both checks read headers
// that a page cannot forge.

import { isIP } from 'node:net';

/**
 * Against DNS rebinding: a page on evil.example that is made to resolve to our address still sends its own name in Host.
 *
 * Allowed are loopback names and addresses and the bound address. An API bound to every address is reached by addresses we
 * cannot know, and one that is not on loopback by the names of its network (`orders-1:15000`): then any IP address, and any
 * name without a dot, passes as well. Neither can be a page's origin on the public web.
 *
 * @param host   the Host header
 * @param bound  host of the listening address, `127.0.0.1`, `::`
 */
export function isOwnHost(host: string | undefined, bound: string): boolean {
  const name = hostName(host);
  if (name === null) return false;
  const own = bound.toLowerCase();
  if (isLoopback(name) || name === own) return true;
  if (isLoopback(own)) return false;
  const isEverywhere = own === '0.0.0.0' || own === '::';
  return isIP(name) === 0 ? !name.includes('.') : isEverywhere;
}

/** Against forms on other sites: a browser says where a request comes from; other clients say nothing. */
export function isSameOrigin(
  origin: string | undefined,
  fetchSite: string | undefined,
  host: string | undefined,
): boolean {
  if (fetchSite === 'cross-site' || fetchSite === 'same-site') return false;
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
}

/** Name or address without port and brackets, lower case; null when it is neither. */
function hostName(host: string | undefined): string | null {
  const match = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253}))(?::\d{1,5})?$/.exec(host?.toLowerCase() ?? '');
  return match?.[1] ?? match?.[2] ?? null;
}

function isLoopback(name: string): boolean {
  if (name === 'localhost' || name === '::1') return true;
  return isIP(name) === 4 && name.startsWith('127.');
}
