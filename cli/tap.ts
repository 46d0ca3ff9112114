// `outrigger tap`: requests of one agent as they end. Nothing is asked of the data plane while nobody looks.

import { type Command, InvalidArgumentError } from 'commander';
import { type AccessRecord, safeText } from '../agent/telemetry/access-log.ts';
import { parseStatusRange } from '../agent/telemetry/tap.ts';
import { type AdminOptions, streamAdmin, withAdminOptions } from './admin-api.ts';
import { formatMs, paint } from './output.ts';
import type { Terminal } from './terminal.ts';

interface TapOptions extends AdminOptions {
  readonly service?: string;
  readonly path?: string;
  readonly method?: string;
  readonly status?: string;
  readonly rate: number;
  readonly count?: number;
  readonly output: 'table' | 'json';
}

export function addTapCommand(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('tap'))
    .description('show requests of one agent as they end, without queries and secrets, until Ctrl-C')
    .option('--service <name>', 'only from or to this service')
    .option('--path <prefix>', 'only paths that begin with it')
    .option('--method <method>', 'only this method')
    .option('--status <status>', 'only these: 503, 5xx, 400-499', parseStatus)
    .option('--rate <number>', 'at most this many a second; the rest is counted', parseCount, 100)
    .option('-n, --count <number>', 'end after this many', parseCount)
    .option('-o, --output <format>', 'table or json (one object a line)', parseOutput, 'table')
    .action((options: TapOptions) => tap(options, terminal));
}

async function tap(options: TapOptions, terminal: Terminal): Promise<void> {
  const query = new URLSearchParams({ rate: String(options.rate) });
  for (const key of ['service', 'path', 'method', 'status'] as const) {
    const value = options[key];
    if (value !== undefined) query.set(key, value);
  }
  const ending = new AbortController();
  let seen = 0;
  for await (const { event, data } of streamAdmin(options, `/tap?${query}`, ending.signal)) {
    if (event === 'skipped') terminal.err(`more than --rate ${options.rate} a second: ${skippedIn(data)} not shown\n`);
    if (event !== 'request') continue;
    const record = JSON.parse(data) as AccessRecord; // the same version on both sides
    terminal.out(options.output === 'json' ? `${JSON.stringify(record)}\n` : `${tapLine(record, terminal)}\n`);
    seen++;
    if (seen === options.count) break;
  }
  ending.abort();
}

/** `web → orders GET /cart/7 200 12 ms 10.0.0.7:7001`, with the attempts where there was more than one. */
export function tapLine(record: AccessRecord, terminal: Pick<Terminal, 'hasColours'>): string {
  const { direction, source, destination, method, path, status, result, durationMs, endpoint, attempts } = record;
  const way = direction === 'outbound' ? `${source} → ${destination}` : `→ ${destination}`;
  const isBad = status >= 500 || (result !== 'ok' && result !== 'downstream_disconnect');
  const tries = attempts > 1 ? ` ${attempts} attempts` : '';
  const why = result === 'ok' ? '' : ` ${result}`;
  const line = `${way} ${method} ${path} ${status} ${formatMs(durationMs)} ${endpoint ?? '-'}${tries}${why}`;
  return paint(terminal, isBad ? 'red' : attempts > 1 ? 'yellow' : null, safeText(line));
}

function skippedIn(data: string): number {
  const { skipped } = JSON.parse(data) as { skipped?: unknown };
  return typeof skipped === 'number' ? skipped : 0;
}

function parseStatus(text: string): string {
  if (parseStatusRange(text) === null) throw new InvalidArgumentError('It must be such as 503, 5xx or 400-499.');
  return text;
}

function parseCount(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 1000) {
    throw new InvalidArgumentError('It must be a whole number from 1 to 1000.');
  }
  return number;
}

function parseOutput(text: string): 'table' | 'json' {
  if (text === 'table' || text === 'json') return text;
  throw new InvalidArgumentError('It must be table or json.');
}
