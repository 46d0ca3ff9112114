// `outrigger control-plane`: policies, the fleet, the dashboard and, unless told otherwise, the embedded registry.

import { flushCompileCache } from 'node:module';
import type { Command } from 'commander';
import { followParent } from './parent.ts';
import type { Terminal } from './terminal.ts';

export function addControlPlaneCommand(program: Command, terminal: Terminal): void {
  program
    .command('control-plane')
    .description('run the control plane and its embedded registry until told to stop')
    .option('-c, --config <file>', 'configuration (YAML or JSON); every key can also come from OUTRIGGER_… variables')
    .action(async ({ config }: { config?: string }) => {
      followParent();
      // Loaded here, so that the other commands start without it.
      const { runControlPlane } = await import('../control-plane/main.ts');
      await runControlPlane({ configFile: config ?? null, env: terminal.env });
      // A process that is killed keeps nothing by itself, and the next start is the one that has to be fast.
      flushCompileCache();
      if (typeof process.exitCode === 'number') terminal.exitCode = process.exitCode;
    });
}
