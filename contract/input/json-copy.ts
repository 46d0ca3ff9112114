// A bounded, frozen copy of data from outside. Everything behind it may trust that the data is a finite tree of own keys.

import type { Parsed, Problem } from '../problem.ts';
import { describeValue, pathTo } from '../text/problem-words.ts';
import { isMapping } from './validate.ts';

const UTF8 = new TextEncoder();

interface Budget {
  bytesLeft: number;
  readonly maxDepth: number;
}

class Refused extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/**
 * Copies mappings, lists and scalars; drops keys whose value is undefined, as JSON does. Keys such as `__proto__` become own
 * keys of the copy and reach no prototype.
 *
 * @param limits.maxBytes about the length as JSON in UTF-8; shared parts count each time, so aliases cannot multiply
 * @param limits.maxDepth mappings and lists inside each other, the outermost included
 */
export function copyJson(
  input: unknown,
  limits: { readonly maxBytes: number; readonly maxDepth: number },
): Parsed<unknown> {
  const budget: Budget = { bytesLeft: limits.maxBytes, maxDepth: limits.maxDepth };
  try {
    return { ok: true, value: copy(budget, input, '', 1) };
  } catch (error) {
    if (!(error instanceof Refused)) {
      // A getter or a proxy of the input threw: no such thing comes out of JSON or YAML.
      return { ok: false, problems: [{ code: 'OTR_TYPE', path: '', message: 'must be plain data that can be read' }] };
    }
    const { problem } = error;
    const message =
      problem.code === 'OTR_TOO_LARGE' && problem.path === ''
        ? `must be at most ${limits.maxBytes} bytes long`
        : problem.message;
    return { ok: false, problems: [{ ...problem, message }] };
  }
}

function spend(budget: Budget, bytes: number): void {
  budget.bytesLeft -= bytes;
  if (budget.bytesLeft < 0) throw new Refused({ code: 'OTR_TOO_LARGE', path: '', message: '' });
}

function spendText(budget: Budget, text: string): void {
  // The length is a lower bound, so that a huge text is refused before it is encoded.
  spend(budget, text.length + 3);
  spend(budget, UTF8.encode(text).length - text.length);
}

function copy(budget: Budget, value: unknown, path: string, depth: number): unknown {
  if (typeof value === 'string') {
    spendText(budget, value);
    return value;
  }
  if (typeof value === 'number' && Number.isFinite(value)) {
    spend(budget, String(value).length + 1);
    return value === 0 ? 0 : value; // -0 is 0 in JSON
  }
  if (typeof value === 'boolean' || value === null) {
    spend(budget, 5);
    return value;
  }
  const isList = Array.isArray(value);
  if (!isList && !isMapping(value)) {
    const message = `must be plain data, found ${describeValue(value)}`;
    throw new Refused({ code: 'OTR_TYPE', path, message });
  }
  if (depth > budget.maxDepth) {
    throw new Refused({ code: 'OTR_TOO_LARGE', path, message: `must nest at most ${budget.maxDepth} deep` });
  }
  spend(budget, 2);
  return isList ? copyList(budget, value, path, depth) : copyMapping(budget, value, path, depth);
}

function copyList(budget: Budget, list: readonly unknown[], path: string, depth: number): unknown {
  const items: unknown[] = [];
  for (let index = 0; index < list.length; index++)
    items.push(copy(budget, list[index], pathTo(path, index), depth + 1));
  return Object.freeze(items);
}

function copyMapping(budget: Budget, mapping: Readonly<Record<string, unknown>>, path: string, depth: number): unknown {
  const entries: [string, unknown][] = [];
  for (const key of Object.keys(mapping)) {
    const value = mapping[key];
    if (value === undefined) continue;
    spendText(budget, key);
    entries.push([key, copy(budget, value, pathTo(path, key), depth + 1)]);
  }
  // fromEntries defines own properties: unlike assignment it does not call the setter of __proto__.
  return Object.freeze(Object.fromEntries(entries));
}
