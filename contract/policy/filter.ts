// Consul's filter expressions over an instance of a service: text in, a tree or the first fault out. The same grammar as
// `filter` of Consul's API, over the fields that discovery keeps. Evaluated by agent/core/routes/endpoint-filter.ts.

import { compilePattern } from '../input/pattern.ts';
import { describeValue } from '../text/problem-words.ts';
import { type FilterFault, type Token, tokenize } from './filter-tokens.ts';

/** What a filter can look at. */
export type Selector =
  | { readonly field: 'ID' | 'Service' | 'Address' | 'Port' | 'Tags' | 'Meta' }
  /** One entry of Service.Meta. */
  | { readonly field: 'MetaEntry'; readonly key: string };

export type Comparison = 'equals' | 'contains' | 'isEmpty' | 'matches';

export type Filter =
  | { readonly kind: 'and' | 'or'; readonly left: Filter; readonly right: Filter }
  | { readonly kind: 'not'; readonly inner: Filter }
  | { readonly kind: 'is'; readonly selector: Selector; readonly comparison: Comparison; readonly value: string };

export type FilterResult =
  | { readonly ok: true; readonly filter: Filter }
  | { readonly ok: false; readonly fault: FilterFault };

export const MAX_FILTER_LENGTH = 512;
/** Parentheses and `not` within each other. */
const MAX_DEPTH = 32;

const FIELDS = ['ID', 'Service', 'Address', 'Port', 'Tags', 'Meta'] as const;
const KNOWN = 'known are Service.ID, Service.Service, Service.Address, Service.Port, Service.Tags and Service.Meta.KEY';
const OPERATORS = '==, !=, contains, not contains, matches, not matches, is empty or is not empty';

/**
 * `or` binds least, then `and`, then `not`. `"a" in Service.Tags` is `Service.Tags contains "a"` the other way round; with
 * Service.Meta both ask for a key, with a text for a part of it. `matches` wants the whole text, in RE2 syntax.
 *
 * Total; O(text). The fault is the first one.
 *
 * @see https://developer.hashicorp.com/consul/api-docs/features/filtering
 */
export function parseFilter(text: string): FilterResult {
  if (text.length > MAX_FILTER_LENGTH) {
    return {
      ok: false,
      fault: { at: MAX_FILTER_LENGTH + 1, message: `only ${MAX_FILTER_LENGTH} characters are read` },
    };
  }
  const tokens = tokenize(text);
  if (!Array.isArray(tokens)) return { ok: false, fault: tokens };
  const reader = new Reader(tokens);
  const filter = reader.either(0);
  if (reader.fault === null && filter !== null) {
    if (reader.isAtEnd) return { ok: true, filter };
    reader.refuse('and, or, or the end must stand here');
  }
  return { ok: false, fault: reader.fault ?? { at: 1, message: 'it cannot be read' } };
}

/** Walks the tokens. After a fault every method returns null, up to the top. */
class Reader {
  fault: FilterFault | null = null;
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get isAtEnd(): boolean {
    return this.#next.kind === 'end';
  }

  get #next(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '', at: 1 };
  }

  refuse(message: string, at = this.#next.at): null {
    this.fault ??= { at, message };
    return null;
  }

  /** Takes the next token when it is this unquoted word or sign. */
  #takes(text: string): boolean {
    const { kind, text: found } = this.#next;
    if (kind === 'text' || kind === 'end' || found !== text) return false;
    this.#at += 1;
    return true;
  }

  either(depth: number): Filter | null {
    return this.#joined('or', () => this.#joined('and', () => this.#negated(depth)));
  }

  #joined(kind: 'and' | 'or', part: () => Filter | null): Filter | null {
    let left = part();
    while (left !== null && this.#takes(kind)) {
      const right = part();
      left = right === null ? null : { kind, left, right };
    }
    return left;
  }

  #negated(depth: number): Filter | null {
    if (depth > MAX_DEPTH) return this.refuse(`parentheses and not go at most ${MAX_DEPTH} deep`);
    if (this.#takes('not')) {
      const inner = this.#negated(depth + 1);
      return inner === null ? null : { kind: 'not', inner };
    }
    if (!this.#takes('(')) return this.#comparison();
    const inner = this.either(depth + 1);
    if (inner === null) return null;
    return this.#takes(')') ? inner : this.refuse('a ) must stand here');
  }

  #comparison(): Filter | null {
    const first = this.#next;
    if (first.kind === 'end') return this.refuse('a comparison must stand here');
    if (first.kind === 'sign') return this.refuse(`${describeValue(first.text)} cannot begin a comparison`);
    this.#at += 1;
    const isBefore = this.#takes('in');
    if (isBefore || this.#takesBoth('not', 'in')) {
      const selector = this.#selector();
      return selector === null ? null : this.#is(selector, 'contains', first, !isBefore);
    }
    if (first.kind === 'text') return this.refuse('in or not in must stand here, after a value');
    this.#at -= 1;
    const selector = this.#selector();
    return selector === null ? null : this.#operator(selector);
  }

  #takesBoth(first: string, second: string): boolean {
    const from = this.#at;
    if (this.#takes(first) && this.#takes(second)) return true;
    this.#at = from;
    return false;
  }

  #operator(selector: Selector): Filter | null {
    const operator = this.#next;
    if (this.#takes('is')) {
      const isNegated = this.#takes('not');
      if (!this.#takes('empty')) return this.refuse('empty must stand here');
      return this.#is(selector, 'isEmpty', { ...operator, text: '' }, isNegated);
    }
    if (this.#takes('==')) return this.#withValue(selector, 'equals', false);
    if (this.#takes('!=')) return this.#withValue(selector, 'equals', true);
    const isNegated = this.#takes('not');
    if (this.#takes('contains')) return this.#withValue(selector, 'contains', isNegated);
    if (this.#takes('matches')) return this.#withValue(selector, 'matches', isNegated);
    return this.refuse(`one of ${OPERATORS} must stand here`);
  }

  #withValue(selector: Selector, comparison: Comparison, isNegated: boolean): Filter | null {
    const value = this.#next;
    if (value.kind === 'end' || value.kind === 'sign') return this.refuse('a value must stand here');
    this.#at += 1;
    return this.#is(selector, comparison, value, isNegated);
  }

  #is(selector: Selector, comparison: Comparison, value: Token, isNegated: boolean): Filter | null {
    const message = misuse(selector, comparison, value.text);
    if (message !== null) return this.refuse(message, value.at);
    const found: Filter = { kind: 'is', selector, comparison, value: value.text };
    return isNegated ? { kind: 'not', inner: found } : found;
  }

  #selector(): Selector | null {
    const { kind, text, at } = this.#next;
    if (kind !== 'word') return this.refuse('a selector such as Service.Meta.version must stand here');
    this.#at += 1;
    const [root, name = '', ...rest] = text.split('.');
    const field = FIELDS.find((known) => known === name);
    if (root !== 'Service' || field === undefined) {
      return this.refuse(`there is no selector ${describeValue(text)}; ${KNOWN}`, at);
    }
    const key = rest.length > 0 ? rest.join('.') : this.#bracketed();
    if (key === null) return this.fault === null ? { field } : null;
    if (field !== 'Meta') return this.refuse(`Service.${field} has no parts`, at);
    return key === '' ? this.refuse('the key is missing', at) : { field: 'MetaEntry', key };
  }

  /** `["key"]`, or null without a bracket. */
  #bracketed(): string | null {
    if (!this.#takes('[')) return null;
    const { kind, text } = this.#next;
    if (kind !== 'text') return this.refuse('a key in quotes must stand here');
    this.#at += 1;
    return this.#takes(']') ? text : this.refuse('a ] must stand here');
  }
}

/** Why this comparison can never be made, or null. */
function misuse({ field }: Selector, comparison: Comparison, value: string): string | null {
  const isList = field === 'Tags' || field === 'Meta';
  if (comparison === 'equals' && isList) return `Service.${field} is compared by contains, in or is empty`;
  if (comparison === 'matches' && isList) return `Service.${field} is no text; matches wants one`;
  if (field === 'Port' && comparison !== 'equals') return 'Service.Port is a number and is compared by == and !=';
  if (field === 'Port' && !/^[0-9]{1,5}$/.test(value)) return 'Service.Port is compared with a number';
  if (comparison !== 'matches') return null;
  const compiled = compilePattern(value);
  return compiled.ok ? null : `it must be ${compiled.expected}`;
}
