// `outrigger check`: looks at everything that a mesh stands on, and ends each complaint with what mends it.

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { type AgentConfig, loadAgentConfig } from '../agent/config.ts';
import { type AdminOptions, withAdminOptions } from './admin-api.ts';
import { checkAgent } from './check/agent.ts';
import { checkConsul } from './check/consul.ts';
import { checkControlPlane } from './check/control-plane.ts';
import { type Finding, renderFindings, sectionOf } from './check/finding.ts';
import { checkHost, type HostFacts, readHost } from './check/host.ts';
import { type OutputFormat, outputOption, printResult } from './output.ts';
import { EXIT, type Terminal } from './terminal.ts';

const DEFAULT_CONSUL_URL = 'http://127.0.0.1:8500';

export interface CheckOptions extends AdminOptions {
  readonly config?: string;
  readonly consul?: string;
}

export function addCheckCommand(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('check'))
    .description('look for what is wrong with host, Consul, control plane and agent; each failure says what mends it')
    .option('--config <file>', 'configuration of the agent: its ports, state folder, Consul and upstreams are checked')
    .option('--consul <url>', `address of Consul (default: the configuration's, or ${DEFAULT_CONSUL_URL})`)
    .addOption(outputOption())
    .action(async (options: CheckOptions & { output: OutputFormat }) => {
      const findings = await check(options, readHost(), terminal.epochMs());
      if (findings.some(({ level }) => level === 'failure')) terminal.exitCode = EXIT.problemFound;
      printResult(terminal, options.output, findings, () => renderFindings(findings, terminal));
    });
}

export async function check(options: CheckOptions, host: HostFacts, epochMs: number): Promise<Finding[]> {
  const { config, findings } = readConfig(options.config);
  const token = options.token ?? null;
  const relay = `${options.controlPlane}/v1/agents/${encodeURIComponent(options.agent ?? '')}/admin`;
  const agent = await (options.agent === undefined ? checkAgent(options.admin, null) : checkAgent(relay, token));
  const consulUrl = options.consul ?? config?.consul?.url.toString() ?? DEFAULT_CONSUL_URL;
  const upstreams = config?.upstreams.flatMap((one) => (one.endpoints === null ? [one.service] : [])) ?? [];
  const consulToken = readConsulToken(config);
  const own = config?.service.register === 'none' ? null : (config?.service.name ?? null);
  const consul = await checkConsul({
    url: consulUrl,
    token: consulToken.token,
    upstreams,
    own: agent.isRunning ? own : null,
  });
  const { services } = consul;
  const calls = config === null ? null : { caller: config.service.name, services: upstreams };
  return [
    ...(await checkHost(host, config, agent.isRunning)),
    ...findings,
    ...consulToken.findings,
    ...consul.findings,
    ...(await checkControlPlane({ url: options.controlPlane, token, epochMs, services, calls })),
    ...agent.findings,
  ];
}

function readConfig(file: string | undefined): { config: AgentConfig | null; findings: readonly Finding[] } {
  if (file === undefined) return { config: null, findings: [] };
  const { findings, say } = sectionOf('configuration');
  const unreadable = whyUnreadable(file);
  if (unreadable !== null) {
    say(
      'failure',
      'configuration_unreadable',
      `${file} cannot be read: ${unreadable}`,
      `ls -l '${file}'   (or --config FILE)`,
    );
    return { config: null, findings };
  }
  const parsed = loadAgentConfig({ file, env: process.env, readFile: (path) => readFileSync(path, 'utf8') });
  if (parsed.ok) {
    say('ok', 'configuration', `${file} is valid`);
    return { config: parsed.value, findings };
  }
  for (const { path, message, hint, line, column } of parsed.problems) {
    const place = line === undefined ? file : `${file}:${line}:${column}`;
    say(
      'failure',
      'configuration',
      `${place} ${path} ${message}${hint === undefined ? '' : `; ${hint}`}`,
      `edit ${place}   (outrigger schema agent lists every key)`,
    );
  }
  return { config: null, findings };
}

/** As the agent reads it: said in the configuration, or in the file that it names. */
function readConsulToken(config: AgentConfig | null): { token: string | null; findings: readonly Finding[] } {
  const { findings, say } = sectionOf('consul');
  const { token = null, tokenFile = null } = config?.consul ?? {};
  if (tokenFile === null) return { token, findings };
  const unreadable = whyUnreadable(tokenFile);
  if (unreadable === null) return { token: readFileSync(tokenFile, 'utf8').trim(), findings };
  const text = `consul.tokenFile ${tokenFile} cannot be read: ${unreadable}`;
  say('failure', 'consul_token_file', text, `ls -l '${tokenFile}'   (then chown it to the agent's user)`);
  return { token: null, findings };
}

/** Null: it can be read. */
function whyUnreadable(file: string): string | null {
  try {
    readFileSync(file);
    return null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // fs throws nothing else
    return code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : String(code);
  }
}
