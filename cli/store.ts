// `outrigger store`: everything that the control plane keeps about policies into a file, and back into an empty store.

import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { formatProblems, readSources } from '#contract/text/problem-text.ts';
import { systemClock, systemRandom } from '../agent/clock.ts';
import type { Backup } from '../control-plane/store/store.ts';
import { type ApiOptions, callApi, withApiOptions } from './api.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

export function addStoreCommand(program: Command, terminal: Terminal): void {
  const store = program.command('store').description('back up the policies of a control plane and restore them');
  withApiOptions(store.command('backup'))
    .description('write all policies and their histories, from a control plane that runs')
    .option('--to <file>', 'where to write; standard output when absent')
    .action((options: ApiOptions & { to?: string }) => backUp(options, terminal));
  store
    .command('restore')
    .description('put a backup into the empty store of a control plane that does not run')
    .argument('<file>', 'what `store backup` wrote; - reads standard input')
    .option('-c, --config <file>', 'configuration of the control plane; it says where the store is')
    .action((file: string, { config }: { config?: string }) => restore(file, config ?? null, terminal));
}

async function backUp({ to, ...options }: ApiOptions & { to?: string }, terminal: Terminal): Promise<void> {
  const { body } = await callApi(options, 'GET', '/v1/backup');
  // Parsed and written again it is the same text: keys keep their order.
  const text = `${JSON.stringify(body)}\n`;
  const { readBackup } = await import('../control-plane/store/backup.ts');
  const { version, policies, revisions } = checked(() => readBackup(text));
  if (to === undefined) {
    terminal.out(text);
    return;
  }
  try {
    writeFileSync(to, text, { mode: 0o600 });
  } catch (error) {
    const exitCode = EXIT.usage;
    throw new CommandFailure(`cannot write ${to}: ${messageOf(error)}`, { exitCode, cause: error });
  }
  terminal.out(`${to}: version ${version}, ${policies.length} policies, ${revisions.length} revisions\n`);
}

async function restore(file: string, configFile: string | null, terminal: Terminal): Promise<void> {
  const { readBackup } = await import('../control-plane/store/backup.ts');
  const backup = checked(() => readBackup(read(file)));
  const { loadControlPlaneConfig } = await import('../control-plane/config.ts');
  const readFile = (path: string): string => readFileSync(path, 'utf8');
  const config = loadControlPlaneConfig({
    ...(configFile === null ? {} : { file: configFile }),
    env: terminal.env,
    readFile,
  });
  if (!config.ok) {
    terminal.err(`${formatProblems(config.problems, { sources: readSources(config.problems, readFile) })}\n`);
    terminal.exitCode = EXIT.usage;
    return;
  }
  const { openPolicies } = await import('../control-plane/store/open-store.ts');
  const onNotice = (text: string): void => terminal.err(`${text}\n`);
  try {
    const store = await openPolicies(config.value.store, { clock: systemClock, random: systemRandom, onNotice });
    await store.restore(backup).finally(() => store.close());
  } catch (error) {
    throw new CommandFailure(messageOf(error), { exitCode: EXIT.problemFound, cause: error });
  }
  terminal.out(restored(backup));
}

function restored({ version, policies, revisions }: Backup): string {
  return `restored version ${version}: ${policies.length} policies, ${revisions.length} revisions\n`;
}

function read(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new CommandFailure(`cannot read ${file}: ${messageOf(error)}`, { exitCode: EXIT.usage, cause: error });
  }
}

function checked<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    throw new CommandFailure(messageOf(error), { exitCode: EXIT.problemFound, cause: error });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
