// The request target: which of the four forms it is, and one normal spelling of the path, used both to match rules and to
// forward, so that nobody can be shown one path and sent to another.

import { hexValue } from './char-tables.ts';
import { type Fault, fault } from './fields.ts';

export interface RequestTarget {
  readonly kind: 'target';
  /** Path and query as forwarded; `*` for OPTIONS of the server itself. */
  readonly target: string;
  /** `target` without the query. */
  readonly path: string;
  /** Authority of an absolute-form target as written, else null. */
  readonly authority: string | null;
}

const BAD_ESCAPE = fault('the path holds a percent escape that is broken or stands for a control byte');

/** Reads a target whose bytes were already checked against the TARGET table. */
export function parseTarget(method: string, text: string): RequestTarget | Fault {
  if (text.charCodeAt(0) === 0x2f) return originForm(text, null);
  if (text === '*') {
    if (method === 'OPTIONS') return { kind: 'target', target: '*', path: '*', authority: null };
    return fault('the target * is for OPTIONS only');
  }
  if (method === 'CONNECT') return { kind: 'target', target: text, path: text, authority: text };
  if (text.slice(0, 7).toLowerCase() !== 'http://') return fault('the target is neither a path nor an http URL');
  const slash = text.indexOf('/', 7);
  const query = text.indexOf('?', 7);
  const end = slash < 0 ? query : query < 0 ? slash : Math.min(slash, query);
  const authority = end < 0 ? text.slice(7) : text.slice(7, end);
  const rest = end < 0 ? '/' : text[end] === '?' ? `/${text.slice(end)}` : text.slice(end);
  return authority === '' ? fault('the target URL has no host') : originForm(rest, authority);
}

function originForm(text: string, authority: string | null): RequestTarget | Fault {
  const mark = text.indexOf('?');
  const raw = mark < 0 ? text : text.slice(0, mark);
  const path = needsWork(raw) ? normalizePath(raw) : raw;
  if (path === null) return BAD_ESCAPE;
  return { kind: 'target', target: path === raw ? text : path + (mark < 0 ? '' : text.slice(mark)), path, authority };
}

/** Most paths hold no escape, no dot segment and no double slash; they are left alone. */
function needsWork(path: string): boolean {
  return path.includes('%') || path.includes('/.') || path.includes('//');
}

/**
 * RFC 3986 6.2.2: unreserved escapes decoded, other escapes in upper case, dot segments removed; and repeated slashes merged,
 * because file-like routers merge them behind the rule that was matched (Consul CVE-2024-10005).
 *
 * @returns null for a broken escape, an escaped control byte, or a byte that UTF-8 never uses (`%c0%ae` spells a dot)
 */
function normalizePath(path: string): string | null {
  let decoded = '';
  for (let at = 0; at < path.length; at += 1) {
    if (path[at] !== '%') {
      decoded += path[at];
      continue;
    }
    const high = hexValue(path.charCodeAt(at + 1));
    const low = hexValue(path.charCodeAt(at + 2));
    if (high < 0 || low < 0) return null;
    const byte = high * 16 + low;
    if (byte < 0x20 || byte === 0x7f || byte === 0xc0 || byte === 0xc1 || byte > 0xf4) return null;
    const character = String.fromCharCode(byte);
    decoded += /[A-Za-z0-9._~-]/.test(character) ? character : path.slice(at, at + 3).toUpperCase();
    at += 2;
  }
  return removeDotSegments(decoded);
}

function removeDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split('/');
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  const last = segments[segments.length - 1];
  const isFolder = kept.length > 0 && (last === '' || last === '.' || last === '..');
  return `/${kept.join('/')}${isFolder ? '/' : ''}`;
}

/** True when the path hides a separator in an escape: whoever decodes it later sees another path than a rule matched. */
export function hidesSeparator(path: string): boolean {
  return path.includes('%2F') || path.includes('%5C');
}
