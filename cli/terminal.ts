// What a command may know about the place it runs in: two streams, the environment, time. Tests hand in their own.

import { readFileSync } from 'node:fs';
import { styleText } from 'node:util';
import type { Problem } from '#contract/problem.ts';
import { formatProblems } from '#contract/text/problem-text.ts';
import { plain } from './output.ts';

/** Exit codes of every command. */
export const EXIT = { ok: 0, problemFound: 1, usage: 2 } as const;

export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** True when a person looks at standard output: screens are redrawn instead of repeated. */
  readonly isInteractive: boolean;
  readonly hasColours: boolean;
  /** Width in columns; 0 when unknown, then nothing is cut. */
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  epochMs(): number;
  /** Set by a command that found a problem but still has its full output to show. */
  exitCode: number;
}

/** The real one. Colours obey NO_COLOR and FORCE_COLOR through util.styleText's own judgement of the stream. */
export function processTerminal(): Terminal {
  const { stdout, stderr } = process;
  // `outrigger status | head` closes the pipe early; that is not a fault of ours. A command that has something to end, such as
  // the demo, is asked to; the others are over. Only the first error counts: a second signal would cut the ending short.
  stdout.once('error', (error: NodeJS.ErrnoException) => {
    stdout.on('error', () => {});
    if (process.listenerCount('SIGTERM') > 0) process.kill(process.pid, 'SIGTERM');
    else process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.problemFound);
  });
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    isInteractive: stdout.isTTY === true,
    hasColours: styleText('red', 'x', { stream: stdout }) !== 'x',
    get columns() {
      return stdout.columns ?? 0;
    },
    env: process.env,
    epochMs: () => Date.now(),
    exitCode: EXIT.ok,
  };
}

/** Ends a command with a message instead of a stack: what went wrong, and the one command or edit to try next. */
export class CommandFailure extends Error {
  readonly exitCode: number;
  readonly next: string | null;

  constructor(message: string, options: { exitCode: number; next?: string; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = 'CommandFailure';
    this.exitCode = options.exitCode;
    this.next = options.next ?? null;
  }
}

/** Ends a command because of its input. `sources` shows the offending lines where the text is at hand. */
export class InputProblems extends CommandFailure {
  readonly problems: readonly Problem[];
  readonly sources: Map<string, string>;

  constructor(problems: readonly Problem[], sources: Map<string, string> = new Map()) {
    super(`${problems.length} problem${problems.length === 1 ? '' : 's'} found`, { exitCode: EXIT.usage });
    this.problems = problems;
    this.sources = sources;
  }
}

/** Writes a failure the way people read it and gives back the exit code. Anything unexpected keeps its stack: it is a bug. */
export function explainFailure(terminal: Terminal, error: unknown): number {
  if (error instanceof InputProblems) {
    terminal.err(`${formatProblems(error.problems, { sources: error.sources }).trimEnd()}\n`);
    return error.exitCode;
  }
  if (error instanceof CommandFailure) {
    // The message may quote what another machine said.
    terminal.err(`error  ${plain(error.message)}\n`);
    if (error.next !== null) terminal.err(`next   ${plain(error.next)}\n`);
    return error.exitCode;
  }
  terminal.err(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return EXIT.problemFound;
}

/** Reads a file that the person named, or fails with the reason in words. */
export function readNamedFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // fs throws nothing else
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : String(code);
    throw new InputProblems([{ code: 'OTR_FILE', path: '', message: `cannot read ${file}: ${why}`, file }]);
  }
}
