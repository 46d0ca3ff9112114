// `outrigger stat` and `outrigger top`: who calls whom, how often, how well, how fast.

import { type Command, InvalidArgumentError } from 'commander';
import type { EdgeView } from '../control-plane/core/views.ts';
import { type ApiOptions, withApiOptions } from './api.ts';
import { readServices, trafficOf } from './fleet.ts';
import {
  type Column,
  formatMs,
  formatShare,
  formatTable,
  type OutputFormat,
  outputOption,
  renderResult,
} from './output.ts';
import type { Terminal } from './terminal.ts';
import { drawResult } from './watching.ts';

export interface StatRow {
  readonly source: string;
  readonly destination: string;
  readonly requestsPerSecond: number;
  readonly successShare: number | null;
  readonly retriesPerSecond: number;
  readonly inFlight: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  readonly agents: number;
}

interface StatOptions extends ApiOptions {
  readonly from?: string;
  readonly to?: string;
  readonly by: 'service' | 'edge';
  readonly watch?: boolean;
  readonly output: OutputFormat;
}

export function addStatCommands(program: Command, terminal: Terminal): void {
  const stat = withApiOptions(program.command('stat'))
    .description('show rate, success and latency of each edge, or of each service with --by service')
    .option('-w, --watch', 'draw again every two seconds');
  const top = withApiOptions(program.command('top')).description('the same as a table that refreshes, busiest first');
  for (const command of [stat, top]) {
    command
      .option('--from <service>', 'only calls of this service')
      .option('--to <service>', 'only calls to this service')
      .option('--by <what>', 'edge or service', parseBy, 'edge')
      .addOption(outputOption());
  }
  const run = (options: StatOptions, isWatching: boolean): Promise<void> =>
    drawResult(terminal, isWatching, async () => {
      const services = await readServices(options);
      const rows = statRows(
        services.flatMap(({ edges }) => edges),
        options,
      );
      return renderResult(options.output, rows, () =>
        rows.length === 0
          ? 'no traffic between services yet\n'
          : formatTable(options.by === 'edge' ? COLUMNS : COLUMNS.slice(1), rows, terminal, options.output === 'wide'),
      );
    });
  stat.action((options: StatOptions) => run(options, options.watch === true));
  // Into a pipe one table is enough; who wants more has stat --watch.
  top.action((options: StatOptions) => run(options, terminal.isInteractive));
}

/**
 * Callers' counts only: they alone see what never arrived. Edges of several agents with the same ends are one row, whose latencies
 * are the worst of them.
 */
export function statRows(
  edges: readonly EdgeView[],
  { from, to, by }: Pick<StatOptions, 'from' | 'to' | 'by'>,
): StatRow[] {
  const groups = new Map<string, EdgeView[]>();
  for (const edge of edges) {
    if (edge.direction !== 'outbound') continue;
    if (from !== undefined && edge.source !== from.toLowerCase()) continue;
    if (to !== undefined && edge.destination !== to.toLowerCase()) continue;
    const key = by === 'service' ? edge.destination : `${edge.source}\n${edge.destination}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [edge]);
    else group.push(edge);
  }
  return [...groups.values()].map(rowOf).sort(byRate);
}

function rowOf(edges: readonly EdgeView[]): StatRow {
  const [first] = edges;
  const sum = (read: (edge: EdgeView) => number): number => edges.reduce((total, edge) => total + read(edge), 0);
  return {
    source: new Set(edges.map(({ source }) => source)).size === 1 ? (first?.source ?? '') : '*',
    destination: first?.destination ?? '',
    ...trafficOf(edges),
    retriesPerSecond: sum(({ retriesPerSecond }) => retriesPerSecond),
    inFlight: sum(({ inFlight }) => inFlight),
    p50Ms: worst(edges.map(({ p50Ms }) => p50Ms)),
    p95Ms: worst(edges.map(({ p95Ms }) => p95Ms)),
    agents: new Set(edges.map(({ agentId }) => agentId)).size,
  };
}

function worst(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function byRate(a: StatRow, b: StatRow): number {
  const byName = `${a.source} ${a.destination}` < `${b.source} ${b.destination}` ? -1 : 1;
  return Math.round(b.requestsPerSecond) - Math.round(a.requestsPerSecond) || byName;
}

const COLUMNS: readonly Column<StatRow>[] = [
  { title: 'SOURCE', cell: ({ source }) => source },
  { title: 'DESTINATION', cell: ({ destination }) => destination },
  {
    title: 'SUCCESS',
    cell: ({ successShare }) => (successShare === null ? '-' : formatShare(successShare, 1)),
    align: 'right',
    colour: ({ successShare }) => (successShare !== null && successShare < 0.999 ? 'yellow' : null),
  },
  { title: 'RPS', cell: ({ requestsPerSecond }) => requestsPerSecond.toFixed(1), align: 'right' },
  { title: 'P50', cell: ({ p50Ms }) => formatMs(p50Ms), align: 'right' },
  { title: 'P95', cell: ({ p95Ms }) => formatMs(p95Ms), align: 'right' },
  { title: 'P99', cell: ({ p99Ms }) => formatMs(p99Ms), align: 'right' },
  { title: 'RETRY/S', cell: ({ retriesPerSecond }) => retriesPerSecond.toFixed(1), align: 'right' },
  { title: 'INFLIGHT', cell: ({ inFlight }) => String(inFlight), align: 'right', isWide: true },
  { title: 'AGENTS', cell: ({ agents }) => String(agents), align: 'right', isWide: true },
];

function parseBy(text: string): 'edge' | 'service' {
  if (text === 'edge' || text === 'service') return text;
  throw new InvalidArgumentError('It must be edge or service.');
}
