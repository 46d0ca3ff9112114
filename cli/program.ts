// The command tree. Each command lives in its own file and adds itself; this file knows their order and the exit codes.

import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { addAgentCommand } from './agent.ts';
import { addBreakCommand } from './break.ts';
import { addCheckCommand } from './check.ts';
import { addCompletionCommand } from './completion.ts';
import { addConfigCommand } from './config-dump.ts';
import { addControlPlaneCommand } from './control-plane.ts';
import { preferRunningDemo } from './demo/default-addresses.ts';
import { addDemoCommand } from './demo.ts';
import { addEndpointsCommand } from './endpoints.ts';
import { addExplainCommand } from './explain.ts';
import { addOverruleCommands } from './overrule.ts';
import { addPolicyCommand } from './policy.ts';
import { addRegistryCommand } from './registry.ts';
import { addRunCommand } from './run.ts';
import { addSchemaCommand } from './schema.ts';
import { addSloCommand } from './slo.ts';
import { addStatCommands } from './stat.ts';
import { addStatusCommand } from './status.ts';
import { addStoreCommand } from './store.ts';
import { addTapCommand } from './tap.ts';
import { EXIT, explainFailure, type Terminal } from './terminal.ts';
import { addWhyCommand } from './why.ts';

const EXIT_CODES = 'Exit codes: 0 ok, 1 a problem was found, 2 usage or configuration.';

export function buildProgram(terminal: Terminal): Command {
  const program = new Command('outrigger')
    .description('A service-mesh sidecar for Consul users, and the small control plane beside it.')
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .showSuggestionAfterError(true)
    .showHelpAfterError('(outrigger --help lists the commands)')
    .enablePositionalOptions()
    .addHelpText('after', `\n${EXIT_CODES}`)
    .exitOverride()
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text) });
  preferRunningDemo(program, terminal);
  addDemoCommand(program, terminal);
  addBreakCommand(program, terminal);
  addAgentCommand(program, terminal);
  addRunCommand(program, terminal);
  addControlPlaneCommand(program, terminal);
  addRegistryCommand(program, terminal);
  addCheckCommand(program, terminal);
  addStatusCommand(program, terminal);
  addStatCommands(program, terminal);
  addSloCommand(program, terminal);
  addTapCommand(program, terminal);
  addEndpointsCommand(program, terminal);
  addOverruleCommands(program, terminal);
  addExplainCommand(program, terminal);
  addWhyCommand(program, terminal);
  addPolicyCommand(program, terminal);
  addStoreCommand(program, terminal);
  addConfigCommand(program, terminal);
  addSchemaCommand(program, terminal);
  addCompletionCommand(program, terminal);
  return program;
}

/**
 * Runs one command line to its end (for `agent` and `control-plane`: to the end of their start).
 *
 * @param args  without node and script
 * @returns     the exit code; never throws
 */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await buildProgram(terminal).parseAsync(args, { from: 'user' });
    return terminal.exitCode;
  } catch (error) {
    // commander has printed its message already; asking for help or the version is no error, everything else is usage.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return explainFailure(terminal, error);
  }
}

function readVersion(): string {
  // One folder up when run as TypeScript, two when compiled into dist/cli.
  for (const up of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'));
      if (name === 'outrigger' && typeof version === 'string') return version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return 'unknown';
}
