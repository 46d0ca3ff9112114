// The words of a Consul filter expression, with where they stand.

export type TokenKind = 'word' | 'text' | 'sign' | 'end';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** First character, counted from 1. */
  readonly at: number;
}

/** Why a filter cannot be read, and at which character (from 1). */
export interface FilterFault {
  readonly at: number;
  /** Completes "must be …" or stands alone: lower case, no full stop. */
  readonly message: string;
}

const SPACE = /[ \t\r\n]+/y;
const WORD = /[A-Za-z0-9_][A-Za-z0-9_./:-]*/y;
const SIGN = /==|!=|[()[\]]/y;
const QUOTED = /"((?:[^"\\]|\\["\\])*)"|`([^`]*)`/y;

/** All tokens, an `end` last; or the first character that begins none. O(text). */
export function tokenize(text: string): Token[] | FilterFault {
  const tokens: Token[] = [];
  let index = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = index;
    const found = pattern.exec(text);
    if (found !== null) index += found[0].length;
    return found;
  };
  for (;;) {
    take(SPACE);
    const at = index + 1;
    if (index === text.length) {
      tokens.push({ kind: 'end', text: '', at });
      return tokens;
    }
    const quoted = take(QUOTED);
    if (quoted !== null) {
      const [, double, raw = ''] = quoted;
      tokens.push({ kind: 'text', text: double === undefined ? raw : double.replaceAll(/\\(["\\])/g, '$1'), at });
      continue;
    }
    const sign = take(SIGN);
    const found = sign ?? take(WORD);
    if (found === null) return { at, message: faultAt(text[index] ?? '') };
    tokens.push({ kind: sign === null ? 'word' : 'sign', text: found[0], at });
  }
}

function faultAt(character: string): string {
  if (character === '"' || character === '`') return `the text that begins here does not end (no second ${character})`;
  if (character === '=') return 'a comparison is written ==';
  return 'this character begins no selector, value or operator';
}
