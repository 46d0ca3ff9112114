// Finds the key of a request for ringHash and maglev. Pure; the hash goes to pick.ts as a number.

import type { BalancerSettings, HashSource } from '#contract/policy/balancer.ts';
import { isHashPolicy } from './balance/hash-table.ts';
import { hash32 } from './hash.ts';
import { NO_HASH } from './pick.ts';

/**
 * Hash of the first source that the request has; NO_HASH when it has none.
 *
 * @param header  value of a header by lower-case name, or null
 * @param source  address of whoever connected
 */
export function hashOfRequest(
  hashOn: BalancerSettings['hashOn'],
  header: (name: string) => string | null,
  source: string,
): number {
  for (const one of hashOn) {
    const key = keyFrom(one, header, source);
    if (key !== null && key !== '') return hash32(key);
  }
  return NO_HASH;
}

/** For a connection without a request: only its source can be a key. */
export function hashOfConnection({ policy, hashOn }: BalancerSettings, source: string): number {
  return isHashPolicy(policy) ? hashOfRequest(hashOn, noHeader, source) : NO_HASH;
}

function noHeader(): null {
  return null;
}

function keyFrom(from: HashSource, header: (name: string) => string | null, source: string): string | null {
  switch (from.kind) {
    case 'header':
      return header(from.name);
    case 'cookie':
      return cookieIn(header('cookie') ?? '', from.name);
    case 'source':
      return source;
  }
}

/** Value of the first cookie of that name; names are case-sensitive (RFC 6265). Quotes are part of the value. */
function cookieIn(text: string, name: string): string | null {
  let at = 0;
  while (at < text.length) {
    const semicolon = text.indexOf(';', at);
    const end = semicolon < 0 ? text.length : semicolon;
    while (at < end && text[at] === ' ') at += 1;
    if (text.startsWith(name, at) && text[at + name.length] === '=')
      return text.slice(at + name.length + 1, end).trim();
    at = end + 1;
  }
  return null;
}
