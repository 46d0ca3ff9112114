// Text in, plain values and the places of their parts out. YAML 1.2 (JSON included), any number of documents in a text.

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
} from 'yaml';
import type { Parsed, Problem } from '../problem.ts';
import { describeValue, pathParts } from '../text/problem-words.ts';

/** 1-based. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface LocatedDocument {
  /** JSON data: mappings, lists, texts, numbers, booleans, null. */
  readonly value: unknown;
  /**
   * Where the value at `path` stands, or its key; the deepest part that exists when the path leads further.
   *
   * @param path as in Problem.path, `spec.rules[2].name`
   */
  locate(path: string, part?: 'key' | 'value'): Place;
}

/** A text of more characters is refused unread: 1000 documents of an ordinary size fit. */
export const MAX_TEXT_LENGTH = 4 * 1024 * 1024;
/** Deeper nesting is refused before the parser recurses into it; documents themselves may be 16 deep. */
const MAX_FLOW_DEPTH = 64;
/** Values that aliases may repeat, over all aliases of a document: more is a "billion laughs". */
const MAX_ALIAS_COUNT = 100;

/**
 * The documents of a text, empty ones left out.
 *
 * Duplicate keys, unknown tags and keys that are not text are syntax problems. A `__proto__` key becomes an ordinary own
 * key. Problems carry `file`, line and column.
 *
 * @param file how problems call the text
 */
export function parseYamlDocuments(text: string, file: string): Parsed<LocatedDocument[]> {
  if (text.length > MAX_TEXT_LENGTH) {
    return refuse(file, 'OTR_TOO_LARGE', `must be at most ${MAX_TEXT_LENGTH} characters long, found ${text.length}`);
  }
  if (isTooDeep(text)) return refuse(file, 'OTR_TOO_LARGE', `must nest at most ${MAX_FLOW_DEPTH} deep`);
  const lines = new LineCounter();
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      // The parser's own search for duplicate keys is quadratic: minutes for 100 000 keys. duplicateKeys() is linear.
      uniqueKeys: false,
      stringKeys: true,
      resolveKnownTags: false,
      logLevel: 'silent',
    });
    return readDocuments('empty' in parsed ? [] : parsed, lines, file);
  } catch (error) {
    // The parser recurses into block collections and throws when the stack or the alias limit is reached.
    return refuse(
      file,
      'OTR_TOO_LARGE',
      `could not be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** The same problems with the file and the place of each: of the key where the key is wrong, else of the value. */
export function locateProblems(problems: readonly Problem[], document: LocatedDocument, file: string): Problem[] {
  return problems.map((problem) => {
    const isKey = problem.code === 'OTR_UNKNOWN_KEY' || problem.code === 'OTR_MISSING';
    return { ...problem, file, ...document.locate(problem.path, isKey ? 'key' : 'value') };
  });
}

function readDocuments(
  parsed: readonly Document.Parsed[],
  lines: LineCounter,
  file: string,
): Parsed<LocatedDocument[]> {
  const problems: Problem[] = [];
  for (const document of parsed) {
    for (const { message, pos } of [...document.errors, ...document.warnings]) {
      const isTooDeep = message.includes('call stack');
      const code = isTooDeep ? 'OTR_TOO_LARGE' : 'OTR_SYNTAX';
      const text = isTooDeep ? 'nests too deep' : plain(message);
      problems.push({ code, path: '', message: text, file, ...placeAt(lines, pos[0]) });
    }
    for (const { key, offset } of duplicateKeys(document)) {
      const message = `the key ${describeValue(key)} twice in one mapping`;
      problems.push({ code: 'OTR_DUPLICATE', path: '', message, file, ...placeAt(lines, offset) });
    }
  }
  if (problems.length > 0) return { ok: false, problems };
  const value = parsed
    .filter(({ contents }) => contents !== null && !(isScalar(contents) && contents.value === null))
    .map((document) => ({
      value: document.toJS({ maxAliasCount: MAX_ALIAS_COUNT }) as unknown,
      locate: (path: string, part: 'key' | 'value' = 'value') => placeAt(lines, offsetOf(document, path, part)),
    }));
  return { ok: true, value };
}

function duplicateKeys(document: Document.Parsed): { key: string; offset: number }[] {
  const found: { key: string; offset: number }[] = [];
  const pending: unknown[] = [document.contents];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (isSeq(node)) for (const item of node.items) pending.push(item);
    if (!isMap(node)) continue;
    const seen = new Set<string>();
    for (const { key, value } of node.items) {
      if (isScalar(key)) {
        const name = String(key.value);
        if (seen.has(name)) found.push({ key: name, offset: key.range?.[0] ?? 0 });
        seen.add(name);
      }
      if (value !== null && value !== undefined) pending.push(value);
    }
  }
  return found.sort((left, right) => left.offset - right.offset);
}

function refuse(file: string, code: Problem['code'], message: string): Parsed<never> {
  return { ok: false, problems: [{ code, path: '', message, file, line: 1, column: 1 }] };
}

/** Lower case, no full stop, one line. */
function plain(message: string): string {
  const line = message.split('\n')[0] ?? '';
  return `${line.charAt(0).toLowerCase()}${line.slice(1)}`.replace(/\.$/, '');
}

function placeAt(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

function offsetOf(document: Document.Parsed, path: string, part: 'key' | 'value'): number {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0] ?? 0;
  for (const step of pathParts(path)) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair: Pair | undefined = node.items.find(({ key }) => isScalar(key) && key.value === String(step));
      if (pair === undefined) break;
      const key = rangeStart(pair.key) ?? offset;
      node = pair.value as Node | null;
      offset = part === 'key' ? key : (rangeStart(node) ?? key);
    } else if (isSeq(node) && typeof step === 'number' && step < node.items.length) {
      node = node.items[step] as Node | null;
      offset = rangeStart(node) ?? offset;
    } else {
      break;
    }
  }
  return offset;
}

function rangeStart(node: unknown): number | undefined {
  return (node as Node | null)?.range?.[0];
}

/**
 * Counts brackets without reading quotes, so that it may refuse a text with 64 unmatched brackets inside its strings; what it
 * saves is the parser's recursion, which is quadratic for `[[[[…`.
 */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index);
    if (char === 0x5b || char === 0x7b) {
      depth++;
      if (depth > MAX_FLOW_DEPTH) return true;
    } else if ((char === 0x5d || char === 0x7d) && depth > 0) {
      depth--;
    }
  }
  return false;
}
