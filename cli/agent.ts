// `outrigger agent`: the sidecar in the foreground.

import { flushCompileCache } from 'node:module';
import type { Command } from 'commander';
import { followParent } from './parent.ts';
import type { Terminal } from './terminal.ts';

export function addAgentCommand(program: Command, terminal: Terminal): void {
  program
    .command('agent')
    .description('run the sidecar of one service until it is told to stop')
    .option('-c, --config <file>', 'configuration (YAML or JSON); every key can also come from OUTRIGGER_… variables')
    .action(async ({ config }: { config?: string }) => {
      followParent();
      // Loaded here, so that the other commands start without it.
      const { runAgent } = await import('../agent/main.ts');
      await runAgent({ configFile: config ?? null, env: terminal.env });
      // A process that is killed keeps nothing by itself, and the next start is the one that has to be fast.
      flushCompileCache();
      if (typeof process.exitCode === 'number') terminal.exitCode = process.exitCode;
    });
}
