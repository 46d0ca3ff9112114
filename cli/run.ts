// `outrigger run --config F -- CMD…`: the application with its agent beside it, as one command for containers and units.

import { spawn } from 'node:child_process';
import { type Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '#contract/text/durations.ts';
import { formatHostPort } from '#contract/text/host-port.ts';
import { systemClock, systemRandom } from '../agent/clock.ts';
import type { AgentConfig } from '../agent/config.ts';
import { type Child, siblingScript, startNode, wrapChild } from './children.ts';
import { Supervisor } from './run/supervisor.ts';
import { InputProblems, readNamedFile, type Terminal } from './terminal.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const PROBE_TIMEOUT_MS = 1_000;
const DRAIN_TIMEOUT_MS = 2_000;

interface RunOptions {
  readonly config: string;
  readonly setProxy?: boolean;
  readonly restart: boolean;
  readonly readyTimeout: number;
  readonly grace: number;
}

export function addRunCommand(program: Command, terminal: Terminal): void {
  program
    .command('run')
    .description('start an application after its agent is ready, restart it when it crashes, drain when it ends')
    .usage('--config <file> [options] -- <command> [args...]')
    .argument('<command...>', 'the application and its arguments, after --')
    .requiredOption('-c, --config <file>', "the agent's configuration")
    .option('--set-proxy', "give the application HTTP_PROXY, pointing at the agent's outbound listener")
    .option('--no-restart', 'end with the exit code of the application instead of starting it again after a crash')
    .option('--ready-timeout <time>', 'how long the agent may take to become ready', duration, 30_000)
    .option('--grace <time>', 'how long the application may take to end after a signal', duration, 30_000)
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nThe exit code is that of the application: when it ends by itself with 0 (a batch job), the agent ends too.',
    )
    .action((command: string[], options: RunOptions) => runWithAgent(command, options, terminal));
}

async function runWithAgent(command: readonly string[], options: RunOptions, terminal: Terminal): Promise<void> {
  const config = await readConfig(options.config, terminal);
  const admin = `http://${formatHostPort(config.listeners.admin)}`;
  const say = (text: string): void => terminal.err(`outrigger run: ${text}\n`);
  const supervisor = new Supervisor({
    startAgent: () =>
      startNode('agent', siblingScript(import.meta.url, './main'), ['agent', '--config', options.config], (line) =>
        terminal.err(`${line}\n`),
      ),
    startApp: () => startApp(command, options.setProxy === true ? proxyVariables(config) : {}, say),
    isAgentReady: () => isOk(`${admin}/ready`, 'GET', PROBE_TIMEOUT_MS),
    drainAgent: async () => {
      if (!(await isOk(`${admin}/drain`, 'POST', DRAIN_TIMEOUT_MS))) say('the agent could not be told to drain');
    },
    say,
    clock: systemClock,
    random: systemRandom,
    readyDeadlineMs: options.readyTimeout,
    graceMs: options.grace,
    restartsApp: options.restart,
  });
  const onSignal = (name: NodeJS.Signals): void => {
    // A terminal sends its signals to the whole foreground group: the application has this one already.
    void supervisor.signal(name, process.stdin.isTTY === true && name !== 'SIGTERM');
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    terminal.exitCode = await supervisor.run();
  } finally {
    for (const name of SIGNALS) process.removeListener(name, onSignal);
  }
}

async function readConfig(file: string, terminal: Terminal): Promise<AgentConfig> {
  const text = readNamedFile(file);
  const { loadAgentConfig } = await import('../agent/config.ts');
  const config = loadAgentConfig({ file, env: terminal.env, readFile: readNamedFile });
  if (!config.ok) throw new InputProblems(config.problems, new Map([[file, text]]));
  return config.value;
}

function startApp(
  command: readonly string[],
  extra: Readonly<Record<string, string>>,
  say: (text: string) => void,
): Child {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...extra } });
  child.on('error', (error) => say(`cannot start ${program}: ${error.message}`));
  return wrapChild(program, child);
}

/** Both spellings: curl reads only the lower-case one, many libraries only the other. */
function proxyVariables({ listeners }: AgentConfig): Record<string, string> {
  const url = `http://${formatHostPort(listeners.outbound)}`;
  return { HTTP_PROXY: url, http_proxy: url };
}

async function isOk(url: string, method: 'GET' | 'POST', timeoutMs: number): Promise<boolean> {
  try {
    const answer = await fetch(url, { method, signal: AbortSignal.timeout(timeoutMs) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false; // not listening (yet): the caller asks again or says so
  }
}

function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === null || ms === 0) throw new InvalidArgumentError('It must be a duration such as 30s or 2m.');
  return ms;
}
