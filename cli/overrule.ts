// `outrigger eject|drain|restore SERVICE ENDPOINT`: a person's word about one endpoint, always with an end and room for a reason.

import { type Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '#contract/text/durations.ts';
import type { OverruleAnswer } from '../agent/admin/overrule.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-api.ts';
import { callApi } from './api.ts';
import { readService } from './fleet.ts';
import { type OutputFormat, outputOption, paint, printResult } from './output.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

const LONGEST_MS = 86_400_000;
const DEFAULT_TIME = '5m';

interface OverruleOptions extends AdminOptions {
  readonly for: string;
  readonly reason?: string;
  readonly force?: boolean;
  readonly everywhere?: boolean;
  readonly output: OutputFormat;
}

const ABOUT = {
  eject: 'take an endpoint out of the picks for a time; panic still uses it',
  drain: 'take an endpoint out for maintenance; it is used only when there is nothing else',
  restore: 'bring an endpoint back at once, whoever took it out',
} as const;

export function addOverruleCommands(program: Command, terminal: Terminal): void {
  for (const verb of ['eject', 'drain', 'restore'] as const) {
    const command = withAdminOptions(program.command(verb))
      .description(ABOUT[verb])
      .argument('<service>')
      .argument('<endpoint>', 'instance (payments-2), address (10.0.0.7:7001) or id')
      .option('--everywhere', 'at every agent that knows the endpoint, through the control plane')
      .option('--reason <text>', 'why; it is part of the sentence that everybody sees')
      .addOption(outputOption());
    if (verb !== 'restore') {
      command
        .option('--for <time>', 'how long, up to 24h', duration, DEFAULT_TIME)
        .option('--force', 'even if no other endpoint of the service serves');
    }
    command.action((service: string, endpoint: string, options: OverruleOptions) =>
      overrule(verb, service, endpoint, options, terminal),
    );
  }
}

async function overrule(
  verb: keyof typeof ABOUT,
  service: string,
  endpoint: string,
  options: OverruleOptions,
  terminal: Terminal,
): Promise<void> {
  const query = new URLSearchParams({ endpoint });
  if (verb !== 'restore') query.set('for', options.for);
  if (options.reason !== undefined) query.set('reason', options.reason);
  if (options.force === true) query.set('force', 'true');
  const path = `/endpoints/${encodeURIComponent(service)}/${verb}?${query}`;
  const answers =
    options.everywhere === true
      ? await atEveryAgent(service, path, options, terminal)
      : [(await callAdmin(options, 'POST', path)).body as OverruleAnswer]; // the same version on both sides
  printResult(terminal, options.output, answers, () =>
    answers.map(({ text }) => `${paint(terminal, verb === 'restore' ? 'green' : 'yellow', text)}\n`).join(''),
  );
}

/** One agent that refuses (it may be its last endpoint) does not keep the others from doing it; the exit code says so. */
async function atEveryAgent(
  service: string,
  path: string,
  options: OverruleOptions,
  terminal: Terminal,
): Promise<OverruleAnswer[]> {
  const known = await readService(options, service);
  const agents = [
    ...new Set(known?.endpoints.flatMap(({ observers }) => observers.map(({ agentId }) => agentId)) ?? []),
  ];
  if (agents.length === 0) {
    throw new CommandFailure(`no agent knows endpoints of '${service}'`, {
      exitCode: EXIT.problemFound,
      next: 'outrigger stat',
    });
  }
  const results = await Promise.allSettled(
    agents.sort().map(async (agent) => {
      const { body } = await callApi(options, 'POST', `/v1/agents/${encodeURIComponent(agent)}/admin${path}`);
      const answer = body as OverruleAnswer; // the same version on both sides
      return { ...answer, text: `${agent}: ${answer.text}` };
    }),
  );
  results.forEach((result, index) => {
    if (result.status === 'fulfilled') return;
    if (!(result.reason instanceof CommandFailure)) throw result.reason;
    terminal.err(`${paint({ hasColours: false }, null, `${agents[index]}: ${result.reason.message}`)}\n`);
    terminal.exitCode = EXIT.problemFound;
  });
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}

function duration(text: string): string {
  const ms = parseDuration(text);
  if (ms === null || ms <= 0 || ms > LONGEST_MS) throw new InvalidArgumentError('It must be such as 10m, up to 24h.');
  return text;
}
