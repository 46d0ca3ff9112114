// Bodies as Consul reads them: keys in any case, with or without underscores, unknown ones refused, durations in Go's spelling.
// Total: every body gives a value or the sentence Consul would answer with.

import type { Result } from './state/model.ts';
import { refused } from './state/model.ts';
import { parseGoDuration } from './time.ts';

interface Kinds {
  string: string;
  int: number;
  bool: boolean;
  /** Milliseconds; on the wire a Go duration or a number of nanoseconds. */
  duration: number;
  strings: readonly string[];
  map: Readonly<Record<string, string>>;
  lists: Readonly<Record<string, readonly string[]>>;
  objects: readonly unknown[];
  object: Readonly<Record<string, unknown>>;
}

/** Field name in Consul's spelling → kind. */
export type Shape = Readonly<Record<string, keyof Kinds>>;
export type Decoded<S extends Shape> = { readonly [K in keyof S]?: Kinds[S[K]] };

const NAME_OF_KIND: Readonly<Record<keyof Kinds, string>> = {
  string: 'string',
  int: 'int',
  bool: 'bool',
  duration: 'time.Duration',
  strings: '[]string',
  map: 'map[string]string',
  lists: 'map[string][]string',
  objects: '[]object',
  object: 'object',
};

/** JSON of a body, or the reason with Consul's prefix. */
export function parseBody(body: Buffer): Result<unknown> {
  if (body.length === 0) return refused('Request decode failed: EOF');
  try {
    return { ok: true, value: JSON.parse(body.toString('utf8')) };
  } catch (error) {
    return refused(`Request decode failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export function decodeBody<S extends Shape>(body: Buffer, shape: S): Result<Decoded<S>> {
  const parsed = parseBody(body);
  if (!parsed.ok) return parsed;
  const decoded = decode(parsed.value, shape);
  return decoded.ok ? decoded : refused(`Request decode failed: ${decoded.error}`);
}

export function decode<S extends Shape>(value: unknown, shape: S): Result<Decoded<S>> {
  if (value === null) return { ok: true, value: {} };
  if (!isObject(value)) return refused(`json: cannot unmarshal ${typeName(value)} into Go value of type object`);
  const names = new Map(Object.keys(shape).map((name) => [name.toLowerCase(), name]));
  const found: Record<string, unknown> = {};
  for (const [given, raw] of Object.entries(value)) {
    const name = names.get(given.toLowerCase().replaceAll('_', ''));
    const kind = name === undefined ? undefined : shape[name];
    if (name === undefined || kind === undefined) return refused(`json: unknown field ${JSON.stringify(given)}`);
    if (raw === null) continue;
    const read = readKind(raw, kind);
    if (!read.ok) {
      const sort = `json: cannot unmarshal ${typeName(raw)} into Go struct field .${name} of type ${NAME_OF_KIND[kind]}`;
      return refused(read.error === '' ? sort : read.error);
    }
    found[name] = read.value;
  }
  // Each value was read as the kind its field has in the shape, which is what Decoded says.
  return { ok: true, value: found as Decoded<S> };
}

/** An empty error stands for "another JSON type than expected". */
function readKind(raw: unknown, kind: keyof Kinds): Result<unknown> {
  switch (kind) {
    case 'string':
      return typeof raw === 'string' ? { ok: true, value: raw } : refused('');
    case 'int':
      return Number.isSafeInteger(raw) ? { ok: true, value: raw } : refused('');
    case 'bool':
      return typeof raw === 'boolean' ? { ok: true, value: raw } : refused('');
    case 'duration':
      return readDuration(raw);
    case 'strings':
      return isStrings(raw) ? { ok: true, value: raw } : refused('');
    case 'map':
      return isObject(raw) && isStrings(Object.values(raw)) ? { ok: true, value: raw } : refused('');
    case 'lists':
      return isObject(raw) && Object.values(raw).every(isStrings) ? { ok: true, value: raw } : refused('');
    case 'objects':
      return Array.isArray(raw) ? { ok: true, value: raw } : refused('');
    case 'object':
      return isObject(raw) ? { ok: true, value: raw } : refused('');
  }
}

function readDuration(raw: unknown): Result<number> {
  if (typeof raw === 'number') return { ok: true, value: raw / 1e6 };
  if (typeof raw !== 'string') return refused('');
  if (raw === '') return { ok: true, value: 0 };
  const ms = parseGoDuration(raw);
  return ms === null ? refused(`time: invalid duration ${JSON.stringify(raw)}`) : { ok: true, value: ms };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}
