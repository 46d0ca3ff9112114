// What is said about a bad input, on both sides of the wire and on the command line.

/**
 * One thing that is wrong with an input: a configuration file, a policy document, a frame.
 *
 * `message` is lower case, has no full stop, and says what was expected and what was found. `path` leads to the value in
 * the document, `spec.retries.attempts` or `spec.rules[2].matches[0].path`; the document itself is `''`.
 */
export interface Problem {
  /** Stable code, `OTR_…`, never reused; `docs/errors.md` lists them. */
  readonly code: ProblemCode;
  readonly path: string;
  readonly message: string;
  /** What to do, when something more helpful than the message can be said: the nearest valid name, a limit. */
  readonly hint?: string;
  /** File the document came from, where there is one. */
  readonly file?: string;
  /** 1-based line and column of the value in that file. */
  readonly line?: number;
  readonly column?: number;
}

/** The closed list of problem codes and what each says. A code is never given a second meaning. */
export const PROBLEM_CODES = {
  OTR_SYNTAX: 'the text is not valid YAML or JSON',
  OTR_TYPE: 'a value has another type than expected',
  OTR_UNKNOWN_KEY: 'a key that this kind of document does not have',
  OTR_MISSING: 'a required key is not there',
  OTR_ENUM: 'a value is not one of the allowed words',
  OTR_RANGE: 'a number, duration, length or count is out of bounds',
  OTR_FORMAT: 'a text does not have the expected form (duration, address, URL, name)',
  OTR_INCONSISTENT: 'two values contradict each other',
  OTR_DUPLICATE: 'the same name or key twice where it must be unique',
  OTR_TOO_LARGE: 'the document is larger or deeper than the limit',
  OTR_FILE: 'a file could not be read',
} as const;

export type ProblemCode = keyof typeof PROBLEM_CODES;

/** Either the value or every problem that was found, never both and never a throw. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] };
