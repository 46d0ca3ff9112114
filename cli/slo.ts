// `outrigger slo [SERVICE]`: what was promised, what is left of the error budget, how fast it goes, and what it was spent on.

import type { Command } from 'commander';
import { nearest } from '#contract/text/suggest.ts';
import type { SloView } from '../control-plane/core/slo/book.ts';
import type { Composed } from '../control-plane/core/slo/composed.ts';
import { type ApiOptions, callApi, callPages, withApiOptions } from './api.ts';
import {
  type Column,
  formatAge,
  formatMs,
  formatTable,
  type OutputFormat,
  outputOption,
  paint,
  renderResult,
} from './output.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';
import { drawResult } from './watching.ts';

/** The list leaves the periods out. */
export type SloRow = Omit<SloView, 'periods'>;
export type SloDetail = SloView & { readonly composed: Composed };

interface SloOptions extends ApiOptions {
  readonly output: OutputFormat;
  readonly watch?: boolean;
}

export function addSloCommand(program: Command, terminal: Terminal): void {
  withApiOptions(program.command('slo'))
    .description('show error budgets, what burns them and what spent them; exit 1 when one burns or is spent')
    .argument('[service]')
    .option('-w, --watch', 'draw again every two seconds')
    .addOption(outputOption())
    .action(async (service: string | undefined, options: SloOptions) => {
      await drawResult(terminal, options.watch === true, async () => {
        const rows = service === undefined ? await readAll(options) : [await readOne(service, options)];
        if (options.watch !== true && rows.some(isInTrouble)) terminal.exitCode = EXIT.problemFound;
        const [detail] = rows;
        return service === undefined || detail === undefined
          ? renderResult(options.output, rows, () => renderSlos(rows, terminal, options.output === 'wide'))
          : renderResult(options.output, detail, () => renderSlo(detail as SloDetail, terminal)); // readOne's
      });
    });
}

async function readAll(options: ApiOptions): Promise<readonly SloRow[]> {
  const body = (await callPages(options, '/v1/slo', 'slos')) as { readonly slos?: readonly SloRow[] } | null;
  if (Array.isArray(body?.slos)) return body.slos;
  throw new CommandFailure("the answer has no list 'slos': is this address a control plane of this version?", {
    exitCode: EXIT.problemFound,
  });
}

async function readOne(service: string, options: ApiOptions): Promise<SloDetail> {
  const { status, body } = await callApi(options, 'GET', `/v1/slo/${encodeURIComponent(service)}`, { accept: [404] });
  if (status !== 404) return body as SloDetail; // the same version of the project on both sides of this API
  const known = (await readAll(options)).map((row) => row.service);
  const guess = nearest(service, known);
  throw new CommandFailure(`no request to a service '${service}' was counted`, {
    exitCode: EXIT.problemFound,
    next: guess === null ? `services: ${known.join(', ') || 'none yet'}` : `outrigger slo ${guess}`,
  });
}

function isInTrouble({ budget, burns }: SloRow): boolean {
  return budget.left <= 0 || burns.some(({ firingSinceEpochMs }) => firingSinceEpochMs !== null);
}

export function renderSlos(rows: readonly SloRow[], terminal: Pick<Terminal, 'hasColours'>, isWide: boolean): string {
  return rows.length === 0
    ? 'no request was counted yet: budgets begin with the first report of an agent\n'
    : formatTable(COLUMNS, rows, terminal, isWide);
}

const COLUMNS: readonly Column<SloRow>[] = [
  { title: 'SERVICE', cell: ({ service }) => service },
  { title: 'OBJECTIVE', cell: ({ objective }) => percent(objective), align: 'right' },
  { title: 'WINDOW', cell: ({ windowMs }) => formatAge(windowMs), align: 'right' },
  {
    title: 'AVAILABLE',
    cell: ({ good, bad }) => (good + bad === 0 ? '-' : percent(good / (good + bad))),
    align: 'right',
  },
  { title: 'BAD', cell: ({ bad }) => String(bad), align: 'right' },
  {
    title: 'LEFT',
    cell: ({ budget }) => percent(budget.left, 1),
    align: 'right',
    colour: ({ budget }) => (budget.left <= 0 ? 'red' : budget.left < 0.25 ? 'yellow' : null),
  },
  { title: 'BURN/1H', cell: (row) => burnOver(row, 3_600_000), align: 'right' },
  { title: 'ALERT', cell: (row) => firing(row) ?? '-', colour: (row) => (firing(row) === null ? null : 'red') },
  { title: 'MOSTLY', cell: ({ accounts }) => largest(accounts) ?? '-', isWide: true },
];

export function renderSlo(slo: SloDetail, terminal: Pick<Terminal, 'hasColours'>): string {
  const { service, objective, windowMs, latencyThresholdMs, good, bad, budget, accounts, burns, periods, composed } =
    slo;
  const quick = latencyThresholdMs > 0 ? ` within ${formatMs(latencyThresholdMs)}` : '';
  const counted = slo.measuredBy === 'outbound' ? 'its callers' : 'the agents beside it';
  const spent = Object.entries(accounts).filter(([, count]) => count > 0);
  const alert = firing(slo);
  const lines: [string, string][] = [
    ['promised', `${percent(objective)} of requests${quick} over ${formatAge(windowMs)} (${slo.from.target})`],
    ['counted', `${good + bad} requests by ${counted} since ${new Date(slo.sinceEpochMs).toISOString()}`],
    ['available', good + bad === 0 ? '-' : `${percent(good / (good + bad))}: ${bad} bad`],
    ['budget', `${percent(budget.left, 1)} left of ${budget.allowed.toFixed(1)} bad requests`],
    [
      'spent on',
      spent.length === 0
        ? 'nothing'
        : spent
            .sort(([, a], [, b]) => b - a)
            .map(([account, count]) => `${account} ${count}`)
            .join(', '),
    ],
    ['alert', alert === null ? 'none' : `${alert} fires`],
    ...(slo.isFrozen ? [['changes', frozenText(slo)] as [string, string]] : []),
  ];
  if (composed.path !== null) {
    const through = composed.through.length === 0 ? 'it calls nobody' : `with ${composed.through.join(', ')}`;
    lines.push(['parts', `${percent(composed.path)} is what they promise, ${through}`]);
  }
  const head = lines.map(([name, text]) => `${name.padEnd(10)}${text}`).join('\n');
  return [
    paint(terminal, 'bold', service),
    head,
    '',
    formatTable(BURN_COLUMNS, burns, terminal),
    formatTable(PERIOD_COLUMNS, periods, terminal),
  ].join('\n');
}

const BURN_COLUMNS: readonly Column<SloView['burns'][number]>[] = [
  { title: 'ALERT', cell: ({ name }) => name },
  { title: 'SEVERITY', cell: ({ severity }) => severity },
  { title: 'ABOVE', cell: ({ threshold }) => threshold.toFixed(1), align: 'right' },
  { title: 'OVER', cell: ({ longMs }) => formatAge(longMs), align: 'right' },
  { title: 'BURN', cell: ({ longBurn }) => longBurn.toFixed(2), align: 'right' },
  { title: 'AND', cell: ({ shortMs }) => formatAge(shortMs), align: 'right' },
  { title: 'BURN', cell: ({ shortBurn }) => shortBurn.toFixed(2), align: 'right' },
];

const PERIOD_COLUMNS: readonly Column<SloView['periods'][number]>[] = [
  { title: 'PERIOD', cell: ({ name }) => name },
  { title: 'MEASURED', cell: ({ coveredMs }) => formatAge(coveredMs), align: 'right' },
  {
    title: 'AVAILABLE',
    cell: ({ availability }) => (availability === null ? '-' : percent(availability)),
    align: 'right',
  },
  { title: 'DOWN', cell: ({ downtimeMs }) => formatMs(downtimeMs), align: 'right' },
  { title: 'FIVE-NINES', cell: ({ fiveNinesMs }) => formatMs(fiveNinesMs), align: 'right' },
];

function frozenText({ freezeBelow, from }: SloRow): string {
  return `held back below ${percent(freezeBelow)} (${from.freezeBelow}), but for rollbacks and --force`;
}

/** The most urgent one that fires, or null. */
function firing({ burns }: Pick<SloRow, 'burns'>): string | null {
  return burns.find(({ firingSinceEpochMs }) => firingSinceEpochMs !== null)?.name ?? null;
}

function burnOver({ burns }: SloRow, longMs: number): string {
  return burns.find((burn) => burn.longMs === longMs)?.longBurn.toFixed(2) ?? '-';
}

function largest(accounts: SloView['accounts']): string | null {
  const [first] = Object.entries(accounts).sort(([, a], [, b]) => b - a);
  return first === undefined || first[1] === 0 ? null : first[0];
}

/** Rounded down, so that one failure never reads 100 %; no more decimals than it takes. */
export function percent(ratio: number, digits = 4): string {
  const scale = 10 ** digits;
  // 0.999 × 100 is a little less than 99.9 in binary.
  return `${Number((Math.floor(ratio * 100 * scale + 1e-6) / scale).toFixed(digits))} %`;
}
