// The command line in the test's own process: what it prints, and its exit code.

import { runCommandLine } from '../../cli/program.ts';

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** @param epochMs  the command's wall clock */
export async function runCommand(args: readonly string[], epochMs: () => number = Date.now): Promise<CommandResult> {
  const said = { out: '', err: '' };
  const code = await runCommandLine([...args], {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    isInteractive: false,
    hasColours: false,
    columns: 0,
    env: {},
    epochMs,
    exitCode: 0,
  });
  return { code, ...said };
}
