// How problems name values and places. The same words on both sides of the wire and in both configuration loaders.

import type { JsonSchema } from '../schema/json-schema.ts';

const PLAIN_KEY = /^[A-Za-z_$][A-Za-z0-9_$-]*$/;
const INVISIBLE = /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const LONGEST_TEXT = 60;
const LONGEST_KEY = 80;

/** `spec` + `retries` → `spec.retries`; a key that would be ambiguous is quoted: `metadata.labels["a.b"]`. */
export function pathTo(parent: string, key: string | number): string {
  if (typeof key === 'number') return `${parent}[${key}]`;
  if (!PLAIN_KEY.test(key) || key.length > LONGEST_KEY) return `${parent}[${quote(key, LONGEST_KEY)}]`;
  return parent === '' ? key : `${parent}.${key}`;
}

/** Keys and indices of a path that pathTo wrote; a key that was cut short leads nowhere. */
export function pathParts(path: string): (string | number)[] {
  const parts: (string | number)[] = [];
  for (const match of path.matchAll(/\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|([^.[\]]+)/g)) {
    if (match[1] !== undefined) parts.push(Number(match[1]));
    else if (match[2] !== undefined) parts.push(String(JSON.parse(match[2])));
    else parts.push(match[3] ?? '');
  }
  return parts;
}

/** A value as a message repeats it: short, on one line, without characters that could hide or reorder text. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return quote(value, LONGEST_TEXT);
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (value === undefined) return 'nothing';
  if (typeof value === 'object' && value !== null) return 'a mapping';
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`;
  return String(value);
}

/** `a, b or c`. */
export function listWords(words: readonly unknown[]): string {
  const texts = words.map(String);
  const last = texts.at(-1) ?? '';
  return texts.length < 2 ? last : `${texts.slice(0, -1).join(', ')} or ${last}`;
}

/** Why a bound is there: what a larger value costs. */
export function costOf(schema: JsonSchema): string | null {
  const larger = schema['x-larger'];
  return larger === undefined ? null : `what a larger value costs: ${larger}`;
}

function quote(text: string, longest: number): string {
  const short = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return JSON.stringify(short).replace(INVISIBLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
