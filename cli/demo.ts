// `outrigger demo`: a whole mesh on loopback that breaks on command and shows how it copes.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '#contract/text/durations.ts';
import { runDemo } from './demo/demo.ts';
import { type Break, DEFAULT_DURATION_MS, FAULTS } from './demo/script.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

const MIN_DURATION_MS = 20_000;
const MAX_RPS = 5_000;

export function addDemoCommand(program: Command, terminal: Terminal): void {
  program
    .command('demo')
    .description('start a mesh of three services and seven agents on this machine, break it, and watch it heal')
    .option('--once', 'play one round, print what was seen, and exit 0 if every promise was kept')
    .option('--duration <time>', 'length of a round', duration, DEFAULT_DURATION_MS)
    .option('--rps <number>', 'end-user requests a second', rate, 100)
    .option('--calm', 'break and change nothing by itself: that is left to you and `outrigger break`')
    .option('--consul <url>', 'a Consul that runs already, in place of the embedded registry', consulUrl)
    .option('--break <instance=fault>', `instead of the usual faults: ${FAULTS.join(', ')}`, parseBreak)
    .addOption(
      new Option('-o, --output <format>', 'how --once prints its result').choices(['table', 'json']).default('table'),
    )
    .action((options: DemoOptions) =>
      runDemo(
        {
          isOnce: options.once === true,
          durationMs: options.duration,
          perSecond: options.rps,
          breaks: options.break ?? null,
          isCalm: isCalm(options),
          consulUrl: options.consul ?? null,
          isJson: options.output === 'json',
        },
        terminal,
      ),
    );
}

interface DemoOptions {
  readonly once?: boolean;
  readonly duration: number;
  readonly rps: number;
  readonly break?: Break;
  readonly calm?: boolean;
  readonly consul?: string;
  readonly output: 'table' | 'json';
}

function isCalm({ calm = false, once = false, break: breaks }: DemoOptions): boolean {
  if (!calm || (!once && breaks === undefined)) return calm;
  throw new CommandFailure('--calm goes neither with --once nor with --break: they need something to happen', {
    exitCode: EXIT.usage,
  });
}

function consulUrl(text: string): string {
  if (URL.canParse(text) && new URL(text).protocol === 'http:') return text.replace(/\/+$/, '');
  throw new InvalidArgumentError('It must be a URL such as http://127.0.0.1:8500.');
}

function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === null || ms < MIN_DURATION_MS)
    throw new InvalidArgumentError('It must be a duration of at least 20s, such as 50s.');
  return ms;
}

function rate(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > MAX_RPS) {
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${MAX_RPS}.`);
  }
  return number;
}

function parseBreak(text: string): Break {
  const [instance = '', word = ''] = text.split('=');
  const mode = FAULTS.find((fault) => fault === word);
  if (mode === undefined || instance === '') {
    throw new InvalidArgumentError(`Write INSTANCE=FAULT, for example payments-2=slow; faults: ${FAULTS.join(', ')}.`);
  }
  return { instance, mode };
}
