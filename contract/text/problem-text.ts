// Problems as a person reads them: where, what was found and expected, why it matters, what to write instead.

import { PROBLEM_CODES, type Problem } from '../problem.ts';

/** Values of such keys are not repeated on a terminal or in a log. */
const SECRET_LINE = /^(\s*(?:-\s+)?["']?(?:token|password|secret)["']?\s*:\s*)(.*)$/i;
const LONGEST_LINE = 160;
const COLUMN_LIMIT = 120;

/**
 * One block a problem, an empty line between blocks:
 *
 *     error OTR_RANGE  policies/api.yaml:9:15  spec.retries.attempts
 *        9 |     attempts: 99
 *          |               ^^ must be at most 10, found 99
 *       why   a number, duration, length or count is out of bounds
 *       fix   each attempt more multiplies load during an outage
 *
 * @param options.sources texts by the file name that the problems carry; without one the block has no source line
 */
export function formatProblems(
  problems: readonly Problem[],
  options: { readonly sources?: ReadonlyMap<string, string> } = {},
): string {
  return problems.map((problem) => blockOf(problem, options.sources)).join('\n\n');
}

/**
 * The texts that formatProblems quotes: each file that a problem names, read once.
 *
 * @param readFile  the file's text; may throw, and then its problems are printed without the line
 */
export function readSources(
  problems: readonly Problem[],
  readFile: (path: string) => string,
): ReadonlyMap<string, string> {
  const sources = new Map<string, string>();
  for (const { file } of problems) {
    if (file === undefined || sources.has(file)) continue;
    try {
      sources.set(file, readFile(file));
    } catch {
      // The file itself is the problem then, and it is already said.
    }
  }
  return sources;
}

function blockOf(problem: Problem, sources: ReadonlyMap<string, string> | undefined): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(':');
  const rows = [
    [`error ${problem.code}`, place, problem.path].filter((part) => part !== '').join('  '),
    ...sourceRows(problem, sources),
  ];
  rows.push(`  why   ${PROBLEM_CODES[problem.code]}`);
  if (problem.hint !== undefined) rows.push(`  fix   ${problem.hint}`);
  return rows.join('\n');
}

function sourceRows(problem: Problem, sources: ReadonlyMap<string, string> | undefined): string[] {
  const { file, line, column = 1 } = problem;
  const text = file === undefined ? undefined : sources?.get(file);
  const raw = line === undefined ? undefined : text?.split(/\r\n|\n|\r/)[line - 1];
  if (raw === undefined || line === undefined || column > COLUMN_LIMIT) return [`  ${problem.message}`];
  const shown = printable(raw.replace(SECRET_LINE, '$1…').slice(0, LONGEST_LINE));
  const number = String(line).padStart(4);
  const indent = ' '.repeat(column - 1);
  const width = Math.max(1, Math.min(wordLength(raw.slice(column - 1)), LONGEST_LINE - column));
  return [`${number} | ${shown}`, `${' '.repeat(4)} | ${indent}${'^'.repeat(width)} ${problem.message}`];
}

/** Length of the word, the quoted text or the first bracket that a line goes on with. */
function wordLength(rest: string): number {
  return /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|[[{]|[^\s,:\]}]+)/.exec(rest)?.[0].length ?? 1;
}

/** One column a character, so that the caret stays where it belongs; nothing that moves a terminal's cursor. */
function printable(text: string): string {
  return text.replace(/\t/g, ' ').replace(/[^\x20-\x7e\u00a1-\u1fff\u2010-\u2027\u2030-\u205e\u2100-\ufefe]/g, '·');
}
