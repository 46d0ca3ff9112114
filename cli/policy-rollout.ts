// `outrigger policy rollout`: how far a staged change is, why it stands where it stands, and a hand on it. It begins with
// `outrigger policy apply --staged`.

import { Argument, type Command } from 'commander';
import { type ApiOptions, callApi, withApiOptions } from './api.ts';
import { type Colour, formatShare, type OutputFormat, outputOption, paint, renderResult } from './output.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';
import { drawResult } from './watching.ts';

const VERBS = ['show', 'pause', 'resume', 'abort'] as const;
type Verb = (typeof VERBS)[number];

interface GroupView {
  readonly agents: number;
  readonly requests: number;
  readonly failures: number;
}

/** What GET /v1/rollouts says of one. */
interface RolloutView {
  readonly id: string;
  readonly policy: string;
  readonly state: 'running' | 'paused' | 'completed' | 'halted' | 'aborted';
  readonly stage: number;
  readonly percent: number;
  readonly reason: string;
  readonly health: { readonly connected: number; readonly cohort: GroupView; readonly rest: GroupView } | null;
}

interface RolloutOptions extends ApiOptions {
  readonly watch?: boolean;
  readonly output: OutputFormat;
}

export function addRolloutCommand(policy: Command, terminal: Terminal): void {
  withApiOptions(policy.command('rollout'))
    .description('show the staged change that is under way, or the last one; pause, resume or abort it')
    .addArgument(new Argument('[verb]').choices(VERBS).default('show'))
    .option('-w, --watch', 'draw again every two seconds')
    .addOption(outputOption())
    .action(async (verb: Verb, options: RolloutOptions) => {
      if (verb !== 'show') await steer(verb, options);
      await drawResult(terminal, options.watch === true, () => drawRollout(options, terminal));
    });
}

async function steer(verb: Exclude<Verb, 'show'>, options: RolloutOptions): Promise<void> {
  const rollout = await readRollout(options);
  if (rollout === null || (rollout.state !== 'running' && rollout.state !== 'paused')) {
    throw new CommandFailure('no rollout is under way', {
      exitCode: EXIT.problemFound,
      next: 'outrigger policy apply -f FILE --staged',
    });
  }
  await callApi(options, 'POST', `/v1/rollouts/${encodeURIComponent(rollout.id)}/${verb}`);
}

async function drawRollout(options: RolloutOptions, terminal: Terminal): Promise<string> {
  const rollout = await readRollout(options);
  // Who asks whether a change went well is told by the exit code too.
  if (rollout?.state === 'halted' && options.watch !== true) terminal.exitCode = EXIT.problemFound;
  return renderResult(options.output, rollout, () => renderRollout(rollout, terminal));
}

async function readRollout(options: ApiOptions): Promise<RolloutView | null> {
  const { body } = await callApi(options, 'GET', '/v1/rollouts');
  return (body as { rollout: RolloutView | null }).rollout; // the same version on both sides
}

const COLOURS: Readonly<Record<RolloutView['state'], Colour>> = {
  running: 'cyan',
  paused: 'yellow',
  completed: 'green',
  halted: 'red',
  aborted: 'yellow',
};

export function renderRollout(rollout: RolloutView | null, terminal: Pick<Terminal, 'hasColours'>): string {
  if (rollout === null) return 'no change was ever rolled out in stages (outrigger policy apply -f FILE --staged)\n';
  const { id, policy, state, stage, percent, reason, health } = rollout;
  const share = stage === 0 ? 'one agent' : `${percent} %`;
  const lines = [
    `${paint(terminal, 'bold', policy)}  ${paint(terminal, COLOURS[state], state)}, stage ${stage + 1} of 4: ${share}`,
    paint(terminal, null, reason),
  ];
  if (health !== null) {
    lines.push(groupLine('with it', health.cohort), groupLine('without', health.rest));
  }
  return `${lines.join('\n')}\n${paint(terminal, 'dim', `rollout ${id}`)}\n`;
}

function groupLine(title: string, { agents, requests, failures }: GroupView): string {
  return `${title}  ${agents} ${agents === 1 ? 'agent' : 'agents'}, ${requests} requests, ${formatShare(requests - failures, requests)}`;
}
