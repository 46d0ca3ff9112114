// `outrigger policy import`: config entries of Consul as policy documents on standard output, ready to be looked at and applied.

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { importConsulEntries } from '#contract/consul/import-entries.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

export function addImportCommand(policy: Command, terminal: Terminal): void {
  policy
    .command('import')
    .description('turn config entries of Consul into policy documents; what has no counterpart is said')
    .argument('<file...>', 'JSON of `consul config read` or of GET /v1/config/KIND; - reads standard input')
    .action((files: readonly string[]) => importEntries(files, terminal));
}

function importEntries(files: readonly string[], terminal: Terminal): void {
  const entries = files.flatMap((file) => {
    const parsed = readJson(file);
    return Array.isArray(parsed) ? parsed : [parsed];
  });
  const { documents, notes, refused } = importConsulEntries(entries);
  for (const { entry, path, message } of notes) {
    terminal.err(`${entry}${path === '' ? '' : ` ${path}`}: ${message}\n`);
  }
  for (const { id, problems } of refused) {
    for (const { path, message } of problems) terminal.err(`${id} is left out: ${path} ${message}\n`);
  }
  if (refused.length > 0) terminal.exitCode = EXIT.problemFound;
  terminal.out(documents.map((document) => stringify(document, { lineWidth: 0 })).join('---\n'));
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const exitCode = EXIT.usage;
    throw new CommandFailure(`cannot read ${file}: ${(error as Error).message}`, { exitCode, cause: error });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const exitCode = EXIT.usage;
    const message = `${file} is not JSON: ${(error as Error).message}; write it with \`consul config read -kind KIND -name NAME\``;
    throw new CommandFailure(message, { exitCode, cause: error });
  }
}
