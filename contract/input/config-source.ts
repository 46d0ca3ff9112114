// Where a configuration comes from: one file and the environment, merged key by key, then validated as a whole so that every
// problem is said at once. Used by the agent and by the control plane; reads nothing itself.

import type { Parsed, Problem } from '../problem.ts';
import type { JsonSchema } from '../schema/json-schema.ts';
import { pathTo } from '../text/problem-words.ts';
import { nearest } from '../text/suggest.ts';
import { copyJson } from './json-copy.ts';
import { isMapping, type Rules, validate } from './validate.ts';
import { type LocatedDocument, locateProblems, parseYamlDocuments } from './yaml-documents.ts';

const PREFIX = 'OUTRIGGER_';
/** Variables of the command line and of tests, which may stand in the same environment. */
const NOT_OURS = new Set([
  'OUTRIGGER_CONFIG',
  'OUTRIGGER_TOKEN',
  'OUTRIGGER_CONTROL_PLANE_URL',
  'OUTRIGGER_ADMIN_URL',
  'OUTRIGGER_CONTROL_PLANE_TOKEN',
]);
const TEST_PREFIX = 'OUTRIGGER_TEST_';
const LIMITS = { maxBytes: 1024 * 1024, maxDepth: 16 };

export interface ConfigSource {
  /** Absent: defaults and environment only. */
  readonly file?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whole text of a file; may throw, which becomes an OTR_FILE problem. */
  readonly readFile: (file: string) => string;
}

/** One key that a variable can set. */
export interface EnvKey {
  /** `OUTRIGGER_CONTROL_PLANE_URL`. */
  readonly name: string;
  /** `controlPlane.url`. */
  readonly keys: readonly string[];
  readonly schema: JsonSchema;
}

/**
 * The configuration as written, valid by `schema`, without defaults. The environment goes before the file; a variable that is
 * empty counts as not set.
 *
 * Problems of the file carry its name, line and column; problems of the environment have the variable's name as path.
 */
export function readConfig(schema: JsonSchema, source: ConfigSource, rules?: Rules): Parsed<unknown> {
  const read = readConfigFile(source);
  const problems: Problem[] = read.ok ? [] : [...read.problems];
  const document = read.ok ? read.value : null;
  const variables = readVariables(schema, source.env);
  problems.push(...variables.problems);
  // What could not be read says nothing about what is missing in it.
  if (!read.ok) return { ok: false, problems };
  const copied = copyJson(document?.value ?? {}, LIMITS);
  if (!copied.ok) return { ok: false, problems: [...problems, ...place(copied.problems, source.file, document, [])] };
  const merged = variables.set.reduce(
    (value, variable) => assign(value, variable.key.keys, variable.value),
    copied.value,
  );
  problems.push(
    ...place(
      validate(schema, merged, rules),
      source.file,
      document,
      variables.set.map(({ key }) => key),
    ),
  );
  return problems.length === 0 ? { ok: true, value: merged } : { ok: false, problems };
}

/** The same problems with the file and place, or the variable, that they come from. */
export function place(
  problems: readonly Problem[],
  file: string | undefined,
  document: LocatedDocument | null,
  fromEnv: readonly EnvKey[],
): Problem[] {
  return problems.flatMap((problem) => {
    const key = fromEnv.find(({ keys }) => isWithin(problem.path, keys.reduce(pathTo, '')));
    if (key !== undefined)
      return [{ ...problem, path: `${key.name}${problem.path.slice(key.keys.reduce(pathTo, '').length)}` }];
    return document === null || file === undefined ? [problem] : locateProblems([problem], document, file);
  });
}

function isWithin(path: string, parent: string): boolean {
  return path === parent || (path.startsWith(parent) && /^[.[]/.test(path.slice(parent.length)));
}

/** The one document of the file; null when there is no file or nothing in it. */
function readConfigFile({ file, readFile }: ConfigSource): Parsed<LocatedDocument | null> {
  if (file === undefined) return { ok: true, value: null };
  let text: string;
  try {
    text = readFile(file);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { ok: false, problems: [{ code: 'OTR_FILE', path: '', message: `must be readable: ${why}`, file }] };
  }
  const parsed = parseYamlDocuments(text, file);
  if (!parsed.ok) return parsed;
  const [document = null, second] = parsed.value;
  if (second === undefined) return { ok: true, value: document };
  const message = `must be one document, found ${parsed.value.length}`;
  return { ok: false, problems: [{ code: 'OTR_DUPLICATE', path: '', message, file, ...second.locate('') }] };
}

/** Every key of a configuration that a variable can set, in the order of the schema. */
export function listEnvKeys(schema: JsonSchema, keys: readonly string[] = []): EnvKey[] {
  const branches = schema.anyOf ?? [schema];
  const mapping = branches.find(({ properties }) => properties !== undefined);
  const own =
    keys.length === 0 || (mapping !== undefined && branches.length === 1) ? [] : [{ name: nameOf(keys), keys, schema }];
  const inner = Object.entries(mapping?.properties ?? {}).flatMap(([key, below]) => listEnvKeys(below, [...keys, key]));
  return [...own, ...inner];
}

/** `controlPlane`, `tokenFile` → `OUTRIGGER_CONTROL_PLANE_TOKEN_FILE`. */
function nameOf(keys: readonly string[]): string {
  return `${PREFIX}${keys.map((key) => key.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()).join('_')}`;
}

interface SetVariable {
  readonly key: EnvKey;
  readonly value: unknown;
}

function readVariables(schema: JsonSchema, env: ConfigSource['env']): { set: SetVariable[]; problems: Problem[] } {
  const known = new Map(listEnvKeys(schema).map((key) => [key.name, key]));
  const set: SetVariable[] = [];
  const problems: Problem[] = [];
  for (const name of Object.keys(env).sort()) {
    if (!name.startsWith(PREFIX)) continue;
    const key = known.get(name);
    const text = env[name] ?? '';
    if (key !== undefined && text !== '') set.push({ key, value: readValue(key.schema, text) });
    if (key !== undefined || NOT_OURS.has(name) || name.startsWith(TEST_PREFIX)) continue;
    const guess = nearest(name, known.keys());
    const problem: Problem = {
      code: 'OTR_UNKNOWN_KEY',
      path: name,
      message: 'no key of the configuration has this variable',
    };
    problems.push(guess === null ? problem : { ...problem, hint: `did you mean ${guess}?` });
  }
  for (const { key, value } of set) {
    const inner = set.find(
      (other) =>
        other.key.keys.length > key.keys.length && key.keys.every((part, index) => part === other.key.keys[index]),
    );
    if (inner === undefined) continue;
    const message = `must not be set beside ${inner.key.name}`;
    if (!isMapping(value)) problems.push({ code: 'OTR_INCONSISTENT', path: key.name, message });
  }
  // An outer key before its inner ones, whatever the alphabet says.
  return { set: set.sort((left, right) => left.key.keys.length - right.key.keys.length), problems };
}

/**
 * A variable's text as the schema wants it: numbers and booleans by their spelling, lists as JSON or between commas, mappings as
 * JSON or `key=value` between commas. What does not fit stays text, and validation says so.
 */
function readValue(schema: JsonSchema, text: string): unknown {
  if (text.startsWith('[') || text.startsWith('{')) return readJson(text);
  const branches = schema.anyOf ?? [schema];
  if (
    (text === 'true' || text === 'false') &&
    branches.some(({ type, const: word }) => type === 'boolean' || typeof word === 'boolean')
  ) {
    return text === 'true';
  }
  if (branches.some(({ type }) => type === 'integer' || type === 'number') && /^-?[0-9]{1,15}(\.[0-9]+)?$/.test(text))
    return Number(text);
  if (schema.type === 'array') {
    const items = text.split(',').map((item) => item.trim());
    const required = schema.items?.required ?? [];
    const [only] = required;
    return only !== undefined && required.length === 1 ? items.map((item) => ({ [only]: item })) : items;
  }
  if (schema.patternProperties === undefined) return text;
  return Object.fromEntries(text.split(',').map((pair) => splitPair(pair.trim())));
}

function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf('=');
  return equals === -1 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
}

/** Text that begins like JSON and is none stays text, of which validation says that it is no list or mapping. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A copy with `value` at `keys`; `false` and absent parents become mappings, other wrong parents stay for validation to name. */
function assign(parent: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value;
  if (parent !== undefined && typeof parent !== 'boolean' && !isMapping(parent)) return parent;
  const mapping = isMapping(parent) ? parent : {};
  const inner = Object.hasOwn(mapping, key) ? mapping[key] : undefined;
  return { ...mapping, [key]: assign(inner, rest, value) };
}
