// `outrigger config dump`: everything that decides how one agent behaves, secrets replaced by the agent itself.

import type { Command } from 'commander';
import { nearest } from '#contract/text/suggest.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-api.ts';
import { type OutputFormat, outputOption, renderResult } from './output.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

export function addConfigCommand(program: Command, terminal: Terminal): void {
  const config = program.command('config').description('show what an agent runs with');
  withAdminOptions(config.command('dump'))
    .description('print configuration, limits, policies and endpoints of one agent, without secrets')
    .argument('[section]', 'only this part: config, limits, policy, services')
    .addOption(outputOption('yaml'))
    .action(async (section: string | undefined, options: AdminOptions & { output: OutputFormat }) => {
      const { body } = await callAdmin(options, 'GET', '/config_dump');
      const dump = (body ?? {}) as Readonly<Record<string, unknown>>; // read by name below
      if (section !== undefined && !Object.hasOwn(dump, section)) {
        const guess = nearest(section, Object.keys(dump));
        throw new CommandFailure(`there is no section '${section}'`, {
          exitCode: EXIT.usage,
          next: guess === null ? `sections: ${Object.keys(dump).join(', ')}` : `outrigger config dump ${guess}`,
        });
      }
      const shown = section === undefined ? dump : dump[section];
      terminal.out(renderResult(options.output, shown, () => renderResult('yaml', shown, () => '')));
    });
}
