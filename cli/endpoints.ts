// `outrigger endpoints SERVICE`: who serves it, who is ejected, and the sentence that says why.

import type { Command } from 'commander';
import type { EndpointState } from '#contract/frames.ts';
import { nearest } from '#contract/text/suggest.ts';
import { type ApiOptions, withApiOptions } from './api.ts';
import { endpointName, readAgents, readReport, readService, readServices } from './fleet.ts';
import {
  type Column,
  formatMs,
  formatShare,
  formatTable,
  type OutputFormat,
  outputOption,
  paint,
  renderResult,
} from './output.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';
import { drawResult } from './watching.ts';

/** One endpoint, as one agent or all agents together see it. */
export interface EndpointRow {
  readonly id: string;
  readonly address: string;
  readonly weight: number;
  readonly state: EndpointState;
  readonly inFlight: number;
  readonly connections: number;
  readonly ewmaMs: number | null;
  readonly attempts: number;
  readonly failures: number;
  readonly reason: string | null;
  readonly ejectedUntilEpochMs: number | null;
  /** Agents that have the endpoint in this state, out of those that know it. */
  readonly agents: readonly string[];
  readonly knownTo: number;
}

interface EndpointsOptions extends ApiOptions {
  readonly output: OutputFormat;
  readonly watch?: boolean;
  readonly agent?: string;
}

export function addEndpointsCommand(program: Command, terminal: Terminal): void {
  withApiOptions(program.command('endpoints'))
    .description('show the endpoints of a service and why one is ejected; exit 1 when one is')
    .argument('<service>')
    .option('--agent <id>', 'as this agent sees them, instead of the worst view of all agents')
    .option('-w, --watch', 'draw again every two seconds')
    .addOption(outputOption())
    .action(async (service: string, options: EndpointsOptions) => {
      await drawResult(terminal, options.watch === true, async () => {
        const rows =
          options.agent === undefined
            ? await readRows(service, options)
            : await readAgentRows(service, options.agent, options);
        if (options.watch !== true && rows.some(({ state }) => state === 'ejected')) {
          terminal.exitCode = EXIT.problemFound;
        }
        const watchers = rows.length > 0 ? 0 : await countWatchers(service, options);
        return renderResult(options.output, rows, () =>
          rows.length === 0
            ? describeNone(service, watchers)
            : renderEndpoints(rows, terminal, options.output === 'wide'),
        );
      });
    });
}

async function readRows(name: string, options: ApiOptions): Promise<EndpointRow[]> {
  const service = await readService(options, name);
  if (service === null) {
    const known = (await readServices(options)).map((other) => other.service);
    const guess = nearest(name, known);
    throw new CommandFailure(`no agent knows a service '${name}'`, {
      exitCode: EXIT.problemFound,
      next: guess === null ? `services: ${known.join(', ') || 'none yet'}` : `outrigger endpoints ${guess}`,
    });
  }
  return service.endpoints.map(({ observers, attemptsPerSecond: _, ...endpoint }) => ({
    ...endpoint,
    agents: observers.filter(({ state }) => state === endpoint.state).map(({ agentId }) => agentId),
    knownTo: observers.length,
  }));
}

async function readAgentRows(name: string, agentId: string, options: ApiOptions): Promise<EndpointRow[]> {
  const report = await readReport(options, agentId);
  const seen = report.services.find(({ service }) => service === name.toLowerCase());
  if (seen === undefined) {
    throw new CommandFailure(`agent ${agentId} does not watch a service '${name}'`, {
      exitCode: EXIT.problemFound,
      next: `it watches: ${report.services.map(({ service }) => service).join(', ') || 'none'}`,
    });
  }
  return seen.endpoints.map((endpoint) => ({ ...endpoint, agents: [agentId], knownTo: 1 }));
}

/** Agents that look for endpoints of the service. */
async function countWatchers(name: string, options: ApiOptions): Promise<number> {
  const agents = await readAgents(options);
  return agents.filter(({ discovery }) => discovery.some(({ service }) => service === name.toLowerCase())).length;
}

/** Endpoints are known through callers only: a service that nobody calls may well be registered. */
export function describeNone(service: string, watchers: number): string {
  if (watchers === 0) return `no agent calls ${service}, so nobody watches its endpoints\n`;
  return `${service} has no endpoints: nothing healthy is registered by that name\n`;
}

export function renderEndpoints(rows: readonly EndpointRow[], terminal: Terminal, isWide: boolean): string {
  const reasons = rows.flatMap(({ reason }) => (reason === null ? [] : [`${paint(terminal, 'yellow', reason)}\n`]));
  const table = formatTable(columnsAt(terminal.epochMs()), rows, terminal, isWide);
  return reasons.length === 0 ? table : `${table}\n${reasons.join('')}`;
}

const STATE_COLOURS = { serving: 'green', ejected: 'red', probing: 'yellow', draining: 'dim' } as const;

function columnsAt(epochMs: number): readonly Column<EndpointRow>[] {
  return [
    { title: 'ENDPOINT', cell: ({ id }) => endpointName(id) },
    { title: 'ADDRESS', cell: ({ address }) => address },
    { title: 'WEIGHT', cell: ({ weight }) => String(weight), align: 'right', isWide: true },
    { title: 'STATE', cell: ({ state }) => state, colour: ({ state }) => STATE_COLOURS[state] },
    { title: 'INFLIGHT', cell: ({ inFlight }) => String(inFlight), align: 'right', isWide: true },
    { title: 'EWMA', cell: ({ ewmaMs }) => formatMs(ewmaMs), align: 'right' },
    { title: 'SUCCESS', cell: ({ attempts, failures }) => formatShare(attempts - failures, attempts), align: 'right' },
    {
      title: 'BACK',
      cell: ({ ejectedUntilEpochMs: until }) =>
        until === null ? '-' : until <= epochMs ? 'now' : `in ${formatMs(until - epochMs)}`,
      align: 'right',
    },
    { title: 'CONNECTIONS', cell: ({ connections }) => String(connections), align: 'right', isWide: true },
    {
      title: 'AGENT',
      cell: ({ agents, knownTo }) =>
        agents.length === knownTo && knownTo > 1 ? `all ${knownTo}` : `${agents.join(', ')}`,
    },
    { title: 'ID', cell: ({ id }) => id, isWide: true },
  ];
}
