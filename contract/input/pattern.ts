// Regular expressions that people write into policies. One place compiles them, by an engine whose time grows with the text and
// with nothing else: no pattern can make a request path wait (a backtracking engine stands still for minutes at `(a+)+$`).

import { RE2JS } from 're2js';

/** In characters. */
export const MAX_PATTERN_LENGTH = 256;
/** Instructions of the compiled program, which is what a match costs for each character at worst. Envoy's bound too. */
export const MAX_PROGRAM_SIZE = 100;
/**
 * Longest text that is looked at: what one value or the target of a request may have, so only a header joined from several lines
 * can be longer. A pattern with very many states and a text made for it cost 6 µs a character, 50 ms here.
 */
export const MAX_SUBJECT_LENGTH = 8192;
/** A greater count in `{…}` makes a program that is too large, and building that takes milliseconds. */
const MAX_REPEAT = 100;

/** Compiled; mutable inside (the engine remembers states), so it must not be frozen. */
export interface Pattern {
  /** Whether the whole text is of this form; a text over MAX_SUBJECT_LENGTH is not. O(text × program). */
  test(text: string): boolean;
}

export type PatternResult =
  | { readonly ok: true; readonly pattern: Pattern }
  /** `expected` completes "must be …". */
  | { readonly ok: false; readonly code: 'OTR_RANGE' | 'OTR_FORMAT'; readonly expected: string };

/** RE2 syntax, anchored at both ends. Total; a millisecond at most for what is accepted. */
export function compilePattern(text: string): PatternResult {
  if (text === '') return { ok: false, code: 'OTR_FORMAT', expected: 'a regular expression' };
  if (text.length > MAX_PATTERN_LENGTH) {
    const expected = `a regular expression of at most ${MAX_PATTERN_LENGTH} characters`;
    return { ok: false, code: 'OTR_RANGE', expected };
  }
  if (/\p{Cc}/u.test(text)) return { ok: false, code: 'OTR_FORMAT', expected: 'without control characters' };
  for (const [, from = '', to = ''] of text.matchAll(/\{(\d+)(?:,(\d*))?\}/g)) {
    if (Math.max(Number(from), Number(to)) > MAX_REPEAT) {
      return {
        ok: false,
        code: 'OTR_RANGE',
        expected: `a regular expression that repeats at most ${MAX_REPEAT} times`,
      };
    }
  }
  return compile(text);
}

function compile(text: string): PatternResult {
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(text);
  } catch (error) {
    // The message ends with the piece of the pattern, which the problem shows already and which may hold anything.
    const [what = ''] = String(error instanceof Error ? error.message : error)
      .replace('error parsing regexp: ', '')
      .split(': `');
    return { ok: false, code: 'OTR_FORMAT', expected: `a regular expression of RE2 syntax (${what})` };
  }
  const size = compiled.programSize();
  if (size > MAX_PROGRAM_SIZE) {
    const expected = `a regular expression of at most ${MAX_PROGRAM_SIZE} instructions, not of ${size}`;
    return { ok: false, code: 'OTR_RANGE', expected };
  }
  return {
    ok: true,
    pattern: { test: (subject) => subject.length <= MAX_SUBJECT_LENGTH && compiled.testExact(subject) },
  };
}
