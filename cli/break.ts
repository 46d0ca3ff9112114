// `outrigger break INSTANCE FAULT`: breaks a sample app of the demo that runs on this machine; `ok` mends it.

import { type Command, InvalidArgumentError } from 'commander';
import { nearest } from '#contract/text/suggest.ts';
import { readRunningDemo } from './demo/running.ts';
import { FAULTS } from './demo/script.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

const MODES = [...FAULTS, 'ok'] as const;
const TIMEOUT_MS = 5_000;

const WHAT_TO_SEE: Readonly<Record<(typeof MODES)[number], string>> = {
  slow: 'callers leave it after a few windows: outrigger endpoints SERVICE --watch',
  '500': 'five failures in a row eject it: outrigger endpoints SERVICE --watch',
  blackhole: 'attempts run into their time limit and go elsewhere: outrigger stat --watch',
  reset: 'attempts that were cut off are made elsewhere: outrigger stat --watch',
  crash: 'connections are refused and the registry hears of it: outrigger endpoints SERVICE --watch',
  ok: 'after its time it gets one request, and then all of its share: outrigger endpoints SERVICE --watch',
};

export function addBreakCommand(program: Command, terminal: Terminal): void {
  program
    .command('break')
    .description('break an instance of the demo that is running: slow, 500, blackhole, reset, crash; ok mends it')
    .argument('<instance>', 'for example payments-2')
    .argument('<fault>', MODES.join(', '), parseMode)
    .action((instance: string, mode: (typeof MODES)[number]) => breakInstance(instance, mode, terminal));
}

async function breakInstance(instance: string, mode: (typeof MODES)[number], terminal: Terminal): Promise<void> {
  const demo = readRunningDemo();
  if (demo === null) {
    throw new CommandFailure('no demo is running here', { exitCode: EXIT.problemFound, next: 'outrigger demo' });
  }
  if (!demo.instances.includes(instance)) {
    const guess = nearest(instance, demo.instances);
    throw new CommandFailure(`the demo has no instance '${instance}'`, {
      exitCode: EXIT.usage,
      next: guess === null ? `instances: ${demo.instances.join(', ')}` : `outrigger break ${guess} ${mode}`,
    });
  }
  const url = `http://127.0.0.1:${demo.faultPort}/${instance}/${mode}`;
  const answer = await fetch(url, { method: 'POST', signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) throw new CommandFailure((await answer.text()).trim(), { exitCode: EXIT.problemFound });
  const service = instance.replace(/-\d+$/, '');
  const what = mode === 'ok' ? `${instance} is well again` : `${instance} breaks: ${mode}`;
  terminal.out(`${what}\nsee   ${WHAT_TO_SEE[mode].replace('SERVICE', service)}\n`);
  if (mode !== 'ok') terminal.out(`mend  outrigger break ${instance} ok\n`);
}

function parseMode(text: string): (typeof MODES)[number] {
  const mode = MODES.find((known) => known === text);
  if (mode !== undefined) return mode;
  const guess = nearest(text, MODES);
  throw new InvalidArgumentError(
    `It must be one of ${MODES.join(', ')}${guess === null ? '' : `; did you mean ${guess}?`}`,
  );
}
