// `outrigger policy lint`: every problem of policy files at its line, found by the parser that agents use. Asks nobody.

import type { Command } from 'commander';
import { checkConsistency } from '#contract/policy/consistency.ts';
import type { Problem } from '#contract/problem.ts';
import { type OutputFormat, outputOption, paint, printResult } from './output.ts';
import { type LocatedPolicy, readLocatedPolicies } from './policy-files.ts';
import { InputProblems, readNamedFile, type Terminal } from './terminal.ts';

export function addLintCommand(policy: Command, terminal: Terminal): void {
  policy
    .command('lint')
    .description('check documents, alone and together, without any control plane; exit 2 when something is wrong')
    .requiredOption('-f, --file <file...>', 'files or folders, several documents a file; - reads standard input')
    .addOption(outputOption())
    .action(({ file, output }: { file: readonly string[]; output: OutputFormat }) => lint(file, output, terminal));
}

function lint(names: readonly string[], output: OutputFormat, terminal: Terminal): void {
  const policies = readLocatedPolicies(names);
  const problems = checkConsistency(policies.map(({ document }) => document)).map((one) => locate(one, policies));
  if (problems.length > 0) {
    const files = new Set(problems.flatMap(({ file }) => (file === undefined || file === '(stdin)' ? [] : [file])));
    throw new InputProblems(problems, new Map([...files].map((file) => [file, readNamedFile(file)])));
  }
  const rows = policies.map(({ file, document }) => ({ id: `${document.kind}/${document.metadata.name}`, file }));
  printResult(terminal, output, rows, () =>
    rows.map(({ id, file }) => `${paint(terminal, 'green', id)} is well  ${paint(terminal, 'dim', file)}\n`).join(''),
  );
}

/** Problems of documents seen together begin with the document: `ServicePolicy/payments: spec.timeouts`. */
function locate(problem: Problem, policies: readonly LocatedPolicy[]): Problem {
  const found = policies.find(({ document: { kind, metadata } }) =>
    problem.path.startsWith(`${kind}/${metadata.name}: `),
  );
  if (found === undefined) return problem;
  const path = problem.path.slice(problem.path.indexOf(': ') + 2);
  return { ...problem, file: found.file, ...found.source.locate(path, 'key') };
}
