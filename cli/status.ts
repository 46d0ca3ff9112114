// `outrigger status`: every agent on one line, and what is wrong with it below.

import type { Command } from 'commander';
import { type ApiOptions, withApiOptions } from './api.ts';
import { type AgentRow, agentRows, readAgents, readServices } from './fleet.ts';
import {
  type Column,
  formatAge,
  formatMs,
  formatShare,
  formatTable,
  type OutputFormat,
  outputOption,
  paint,
  renderResult,
} from './output.ts';
import { EXIT, type Terminal } from './terminal.ts';
import { drawResult } from './watching.ts';

/** Older data of a discovery source than this is pointed at: a blocking query is confirmed at least this often. */
const STALE_DISCOVERY_MS = 120_000;

export function addStatusCommand(program: Command, terminal: Terminal): void {
  withApiOptions(program.command('status'))
    .description('show all agents: readiness, policies, discovery, traffic; exit 1 when one needs attention')
    .option('-w, --watch', 'draw again every two seconds')
    .addOption(outputOption())
    .action(async (options: ApiOptions & { output: OutputFormat; watch?: boolean }) => {
      await drawResult(terminal, options.watch === true, async () => {
        const [agents, services] = await Promise.all([readAgents(options), readServices(options)]);
        const rows = agentRows({ agents, services });
        if (options.watch !== true && rows.some((row) => complaints(row).length > 0)) {
          terminal.exitCode = EXIT.problemFound;
        }
        return renderResult(options.output, rows, () => renderStatus(rows, terminal, options.output === 'wide'));
      });
    });
}

export function renderStatus(rows: readonly AgentRow[], terminal: Terminal, isWide: boolean): string {
  if (rows.length === 0) return 'no agent has connected yet; start one: outrigger agent --config agent.yaml\n';
  const table = formatTable(columnsAt(terminal.epochMs()), rows, terminal, isWide);
  const notes = rows.flatMap((row) => complaints(row).map((text) => `${row.id}: ${text}\n`));
  return notes.length === 0 ? table : `${table}\n${notes.map((note) => paint(terminal, 'yellow', note)).join('')}`;
}

/** Sentences about what keeps this agent from being well. */
export function complaints(row: AgentRow): string[] {
  const found: string[] = [];
  if (row.state === 'stale') found.push(`silent for ${formatAge(row.silentForMs)}; what it shows is old`);
  if (!row.isConnected) found.push('its policy stream is closed; it keeps the policies it has');
  if (!row.isReady && !row.isDraining) found.push('it is not ready');
  if (row.policy.verdict === 'NACK') {
    const why = row.policy.problems.map(({ path, message }) => `${path}: ${message}`).join('; ');
    found.push(`rejected policy version ${row.policy.wantedVersion}, keeps ${row.policy.appliedVersion}: ${why}`);
  }
  for (const { service, holding } of row.discovery) {
    if (holding !== null) found.push(`holds on to its last endpoints of ${service}: ${holding}`);
  }
  return found;
}

function columnsAt(epochMs: number): readonly Column<AgentRow>[] {
  return [
    { title: 'AGENT', cell: ({ id }) => id },
    { title: 'SERVICE', cell: ({ service }) => service ?? '-' },
    { title: 'VERSION', cell: ({ softwareVersion }) => softwareVersion ?? '-', isWide: true },
    {
      title: 'READY',
      cell: ({ isReady, isDraining }) => (isDraining ? 'draining' : isReady ? 'yes' : 'no'),
      colour: ({ isReady, isDraining }) => (isReady && !isDraining ? 'green' : 'yellow'),
    },
    {
      title: 'POLICY',
      cell: ({ policy }) => `${policy.appliedVersion ?? '-'}/${policy.wantedVersion ?? '-'}`,
      colour: ({ policy }) => (policy.verdict === 'NACK' ? 'red' : policy.isInSync ? null : 'yellow'),
    },
    {
      title: 'DISCOVERY',
      cell: describeDiscovery,
      colour: ({ discovery }) =>
        discovery.some(({ ageMs, holding }) => holding !== null || (ageMs ?? 0) > STALE_DISCOVERY_MS) ? 'yellow' : null,
    },
    { title: 'RPS', cell: ({ requestsPerSecond }) => requestsPerSecond.toFixed(1), align: 'right' },
    {
      title: 'SUCCESS',
      cell: ({ successShare }) => (successShare === null ? '-' : formatShare(successShare, 1)),
      align: 'right',
      colour: ({ successShare }) => (successShare !== null && successShare < 0.99 ? 'red' : null),
    },
    { title: 'P99', cell: ({ p99Ms }) => formatMs(p99Ms), align: 'right' },
    {
      title: 'OUT',
      cell: ({ ejected, known }) => (known === 0 ? '-' : `${ejected}/${known}`),
      align: 'right',
      colour: ({ ejected }) => (ejected > 0 ? 'yellow' : null),
    },
    {
      title: 'UPTIME',
      isWide: true,
      cell: ({ startedAtEpochMs: at }) => formatAge(at === null ? null : epochMs - at),
      align: 'right',
    },
    { title: 'ADMIN', cell: ({ adminUrl }) => adminUrl ?? '-', isWide: true },
  ];
}

/** The oldest confirmation counts: `consul 2s`; sources are listed when they differ. */
function describeDiscovery({ discovery }: AgentRow): string {
  if (discovery.length === 0) return '-';
  const sources = [...new Set(discovery.map(({ source }) => source))].sort().join('+');
  const ages = discovery.flatMap(({ ageMs }) => (ageMs === null ? [] : [ageMs]));
  return ages.length === 0 ? sources : `${sources} ${formatAge(Math.max(...ages))}`;
}
