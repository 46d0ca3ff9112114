// Walks a value along a JSON Schema and says everything that is wrong with it, in our words. Used for policies and for both
// configuration files. It never throws on JSON data, never changes the value, and looks at own keys only.

import { FOREIGN_KEYS } from '../policy/foreign-keys.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import type { JsonSchema } from '../schema/json-schema.ts';
import { costOf, describeValue, listWords, pathTo } from '../text/problem-words.ts';
import { nearest } from '../text/suggest.ts';
import { TEXT_CHECKS } from './text-checks.ts';

/** A rule over several values of a mapping that is valid in itself; paths are relative to it. */
export type Rule = (value: unknown) => Problem[];
export type Rules = ReadonlyMap<string, Rule>;

/** Nobody mends more in one go, and an answer must not be larger than the question. */
export const MAX_PROBLEMS = 200;

interface Walk {
  readonly rules: Rules;
  readonly problems: Problem[];
}

/**
 * Every problem of `value`, in the order of the schema; at most MAX_PROBLEMS.
 *
 * @param value JSON data: its depth is bounded by the schema's, whatever its own
 * @param rules the rules that `x-rules` may name
 */
export function validate(schema: JsonSchema, value: unknown, rules: Rules = new Map()): Problem[] {
  const walk: Walk = { rules, problems: [] };
  visit(walk, schema, value, '');
  return walk.problems.slice(0, MAX_PROBLEMS);
}

/** True for a mapping as JSON and YAML make them; class instances such as Date are not. */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function visit(walk: Walk, schema: JsonSchema, value: unknown, path: string): void {
  if (walk.problems.length >= MAX_PROBLEMS) return;
  if (schema.anyOf !== undefined) {
    visitUnion(walk, schema, schema.anyOf, value, path);
    return;
  }
  if (schema.const !== undefined) {
    visitWords(walk, schema, [schema.const], value, path);
    return;
  }
  if (schema.enum !== undefined) {
    visitWords(walk, schema, schema.enum, value, path);
    return;
  }
  switch (schema.type) {
    case 'object':
      visitMapping(walk, schema, value, path);
      break;
    case 'array':
      visitList(walk, schema, value, path);
      break;
    case 'string':
      visitText(walk, schema, value, path);
      break;
    case 'integer':
    case 'number':
      visitNumber(walk, schema, value, path);
      break;
    case 'boolean':
      if (typeof value !== 'boolean') say(walk, schema, 'OTR_TYPE', path, 'true or false', value);
  }
}

function say(
  walk: Walk,
  schema: JsonSchema,
  code: ProblemCode,
  path: string,
  expected: string,
  value: unknown,
  hint?: string | null,
): void {
  const found = schema['x-secret'] === true && value !== undefined ? '' : `, found ${describeValue(value)}`;
  const message = `must be ${expected}${found}`;
  walk.problems.push(hint === undefined || hint === null ? { code, path, message } : { code, path, message, hint });
}

/**
 * A union is one line, not one per branch: a mapping is judged by the branch for mappings, a text by the one for texts, and
 * where no branch or more than one could be meant the line lists the choices.
 */
function visitUnion(
  walk: Walk,
  schema: JsonSchema,
  branches: readonly JsonSchema[],
  value: unknown,
  path: string,
): void {
  if (branches.some((branch) => isValid(walk.rules, branch, value))) return;
  const sameType = branches.filter(
    (branch) => branch.const === undefined && branch.enum === undefined && typeOf(value) === branch.type,
  );
  const [only] = sameType;
  if (sameType.length === 1 && only !== undefined && schema['x-expected'] === undefined) {
    visit(walk, only, value, path);
    return;
  }
  const words = branches.flatMap((branch) => branch.enum ?? (branch.const === undefined ? [] : [branch.const]));
  const expected =
    schema['x-expected'] ??
    listWords([
      ...words,
      ...branches
        .filter((branch) => branch.type !== undefined && branch.const === undefined && branch.enum === undefined)
        .map(nameOf),
    ]);
  const isWord = typeof value === 'string' || branches.every((branch) => branch.type !== 'object');
  say(walk, schema, isWord ? 'OTR_ENUM' : 'OTR_TYPE', path, expected, value, hintFor(value, words));
}

function isValid(rules: Rules, schema: JsonSchema, value: unknown): boolean {
  const walk: Walk = { rules, problems: [] };
  visit(walk, schema, value, '');
  return walk.problems.length === 0;
}

function visitWords(walk: Walk, schema: JsonSchema, words: readonly unknown[], value: unknown, path: string): void {
  if (words.includes(value)) return;
  const expected = words.length === 1 ? describeWord(words[0]) : `one of ${listWords(words)}`;
  say(walk, schema, value === undefined ? 'OTR_MISSING' : 'OTR_ENUM', path, expected, value, hintFor(value, words));
}

function visitMapping(walk: Walk, schema: JsonSchema, value: unknown, path: string): void {
  if (!isMapping(value)) {
    say(walk, schema, 'OTR_TYPE', path, 'a mapping', value);
    return;
  }
  const before = walk.problems.length;
  const properties = schema.properties ?? {};
  const patterns = Object.entries(schema.patternProperties ?? {});
  for (const key of schema.required ?? []) {
    if (!Object.hasOwn(value, key)) missing(walk, properties[key] ?? {}, path, key);
  }
  const keys = Object.keys(value);
  const maximum = schema.maxProperties ?? Number.POSITIVE_INFINITY;
  if (keys.length > maximum) say(walk, schema, 'OTR_RANGE', path, `at most ${maximum} keys`, keys.length);
  for (const key of keys) {
    if (walk.problems.length >= MAX_PROBLEMS) return;
    const own = Object.hasOwn(properties, key) ? properties[key] : undefined;
    const inner = own ?? patterns.find(([pattern]) => new RegExp(pattern).test(key))?.[1];
    if (inner === undefined) unknownKey(walk, schema, path, key);
    else visit(walk, inner, value[key], pathTo(path, key));
  }
  if (walk.problems.length === before) applyRules(walk, schema, value, path);
}

function missing(walk: Walk, schema: JsonSchema, path: string, key: string): void {
  const message = `must be there: ${schema['x-expected'] ?? nameOf(schema)}`;
  walk.problems.push({ code: 'OTR_MISSING', path: pathTo(path, key), message });
}

function unknownKey(walk: Walk, schema: JsonSchema, path: string, key: string): void {
  const known = Object.keys(schema.properties ?? {});
  const guess = nearest(key, known);
  const foreign = FOREIGN_KEYS.get(key);
  const expected = known.length === 0 ? 'no such key may be here' : `unknown key; known are ${known.join(', ')}`;
  const hint = guess !== null ? `did you mean ${guess}?` : foreign;
  const problem: Problem = { code: 'OTR_UNKNOWN_KEY', path: pathTo(path, key), message: expected };
  walk.problems.push(hint === undefined ? problem : { ...problem, hint });
}

function applyRules(walk: Walk, schema: JsonSchema, value: unknown, path: string): void {
  for (const name of schema['x-rules'] ?? []) {
    for (const problem of walk.rules.get(name)?.(value) ?? []) {
      const joint = path === '' || problem.path === '' || problem.path.startsWith('[') ? '' : '.';
      walk.problems.push({ ...problem, path: `${path}${joint}${problem.path}` });
    }
  }
}

function visitList(walk: Walk, schema: JsonSchema, value: unknown, path: string): void {
  if (!Array.isArray(value)) {
    say(walk, schema, 'OTR_TYPE', path, 'a list', value);
    return;
  }
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY } = schema;
  if (value.length < minItems) sayCount(walk, path, `at least ${minItems}`, value.length);
  // Beyond the limit nothing is looked at: the list may be as long as its sender likes.
  if (value.length > maxItems) {
    sayCount(walk, path, `at most ${maxItems}`, value.length);
    return;
  }
  const before = walk.problems.length;
  for (const [index, item] of value.entries()) visit(walk, schema.items ?? {}, item, pathTo(path, index));
  visitDuplicates(walk, schema, value, path);
  if (walk.problems.length === before) applyRules(walk, schema, value, path);
}

function sayCount(walk: Walk, path: string, expected: string, count: number): void {
  walk.problems.push({ code: 'OTR_RANGE', path, message: `must have ${expected} entries, found ${count}` });
}

function visitDuplicates(walk: Walk, schema: JsonSchema, list: readonly unknown[], path: string): void {
  const key = schema['x-unique'];
  if (schema.uniqueItems !== true && key === undefined) return;
  const seen = new Map<unknown, number>();
  for (const [index, item] of list.entries()) {
    const inner = key === undefined ? item : isMapping(item) && Object.hasOwn(item, key) ? item[key] : undefined;
    if (typeof inner !== 'string' && typeof inner !== 'number') continue;
    // Names compare without case: header names do, and service names are lower case anyhow.
    const word = typeof inner === 'string' ? inner.toLowerCase() : inner;
    const first = seen.get(word);
    const place = pathTo(path, index);
    if (first === undefined) seen.set(word, index);
    else
      walk.problems.push({
        code: 'OTR_DUPLICATE',
        path: key === undefined ? place : pathTo(place, key),
        message: `must differ from ${pathTo(path, first)}, found ${describeValue(inner)} twice`,
      });
  }
}

function visitText(walk: Walk, schema: JsonSchema, value: unknown, path: string): void {
  const check = TEXT_CHECKS.get(schema['x-check'] ?? '');
  if (typeof value !== 'string') {
    const wanted = schema['x-expected'] ?? nameOf(schema);
    say(walk, schema, 'OTR_TYPE', path, wanted, value, textHint(schema, value));
    return;
  }
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY } = schema;
  if (value.length < minLength) {
    say(walk, schema, 'OTR_RANGE', path, `at least ${minLength} characters long`, value);
    return;
  }
  if (value.length > maxLength) {
    say(walk, schema, 'OTR_RANGE', path, `at most ${maxLength} characters long`, value);
    return;
  }
  if (check !== undefined) {
    const finding = check(value, schema);
    if (finding !== null) say(walk, schema, finding.code, path, finding.expected, value, finding.hint);
  } else if (schema.pattern !== undefined && !new RegExp(schema.pattern).test(value)) {
    say(walk, schema, 'OTR_FORMAT', path, schema['x-expected'] ?? `a text of the form ${schema.pattern}`, value);
  }
}

/** The two mistakes that everybody makes: a duration without its unit, a number that YAML did not read as text. */
function textHint(schema: JsonSchema, value: unknown): string | null {
  if (typeof value !== 'number' && typeof value !== 'boolean') return null;
  if (schema['x-check'] === 'duration') return `add a unit: ${value}ms or ${value}s`;
  return schema['x-secret'] === true ? 'put it in quotes' : `put it in quotes: "${value}"`;
}

function visitNumber(walk: Walk, schema: JsonSchema, value: unknown, path: string): void {
  const isWhole = schema.type === 'integer';
  if (typeof value !== 'number' || !Number.isFinite(value) || (isWhole && !Number.isSafeInteger(value))) {
    say(walk, schema, 'OTR_TYPE', path, isWhole ? 'a whole number' : 'a number', value);
    return;
  }
  const { minimum, maximum } = schema;
  if (minimum !== undefined && value < minimum) say(walk, schema, 'OTR_RANGE', path, `at least ${minimum}`, value);
  if (maximum !== undefined && value > maximum) {
    say(walk, schema, 'OTR_RANGE', path, `at most ${maximum}`, value, costOf(schema));
  }
}

function hintFor(value: unknown, words: readonly unknown[]): string | null {
  const texts = words.filter((word) => typeof word === 'string');
  if (typeof value === 'number' && texts.length > 0) return `put it in quotes: "${value}"`;
  const guess = typeof value === 'string' ? nearest(value, texts) : null;
  return guess === null ? null : `did you mean ${guess}?`;
}

function typeOf(value: unknown): string | null {
  if (Array.isArray(value)) return 'array';
  if (isMapping(value)) return 'object';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function describeWord(word: unknown): string {
  return typeof word === 'string' ? word : String(word);
}

/** `a duration such as 15s` for the schema of a duration, and so on; completes "must be …". */
function nameOf(schema: JsonSchema): string {
  if (schema.const !== undefined) return describeWord(schema.const);
  if (schema.enum !== undefined) return listWords(schema.enum);
  const byCheck: Readonly<Record<string, string>> = {
    duration: 'a duration such as 15s',
    rate: 'a rate such as 3/s',
    hostPort: 'HOST:PORT',
    endpoint: 'HOST:PORT',
    url: 'a URL',
    serviceName: 'a service name',
  };
  const byType: Readonly<Record<string, string>> = {
    object: 'a mapping',
    array: 'a list',
    string: 'a text',
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
  };
  return byCheck[schema['x-check'] ?? ''] ?? byType[schema.type ?? ''] ?? 'a value';
}
