// Reads what the control plane knows of agents and services, and joins it into the rows that commands show.

import type { AgentReport } from '#contract/frames.ts';
import type { AgentView } from '../control-plane/core/agent-view.ts';
import type { EdgeView, ServiceView } from '../control-plane/core/views.ts';
import { type ApiOptions, callApi, callPages } from './api.ts';
import { CommandFailure, EXIT } from './terminal.ts';

/** Requests under way at once while reading service after service. */
const PARALLEL = 8;

export interface FleetView {
  readonly agents: readonly AgentView[];
  readonly services: readonly ServiceView[];
}

/** One agent with the traffic of its own service (inbound; outbound where there is no inbound). */
export interface AgentRow extends AgentView {
  readonly requestsPerSecond: number;
  /** Over the last minute; null without traffic. */
  readonly successShare: number | null;
  readonly p99Ms: number | null;
  /** Endpoints that this agent keeps out of its picks, out of those it knows. */
  readonly ejected: number;
  readonly known: number;
}

/** @throws CommandFailure when the control plane cannot be reached or answers something else than expected */
export async function readAgents(options: ApiOptions): Promise<readonly AgentView[]> {
  const body = await callPages(options, '/v1/agents', 'agents');
  return listIn<AgentView>(body, 'agents');
}

/** All services with their edges and endpoints; a service that is forgotten between two reads is left out. */
export async function readServices(options: ApiOptions): Promise<readonly ServiceView[]> {
  const body = await callPages(options, '/v1/services', 'services');
  const names = listIn<{ service: string }>(body, 'services').map(({ service }) => service);
  const services: ServiceView[] = [];
  for (let at = 0; at < names.length; at += PARALLEL) {
    const batch = await Promise.all(names.slice(at, at + PARALLEL).map((name) => readService(options, name)));
    services.push(...batch.filter((service) => service !== null));
  }
  return services;
}

/** Null when no agent knows the service. */
export async function readService(options: ApiOptions, name: string): Promise<ServiceView | null> {
  const { status, body } = await callApi(options, 'GET', `/v1/services/${encodeURIComponent(name)}`, { accept: [404] });
  if (status === 404) return null;
  listIn(body, 'endpoints');
  return body as ServiceView; // the same version of the project on both sides of this API, checked by its list above
}

/** The last report of one agent. */
export async function readReport(options: ApiOptions, agentId: string): Promise<AgentReport> {
  const path = `/v1/agents/${encodeURIComponent(agentId)}`;
  const { status, body } = await callApi(options, 'GET', path, { accept: [404] });
  const view = status === 404 ? null : (body as (Partial<AgentView> & { report?: AgentReport | null }) | null);
  const report = view?.report ?? null;
  if (report !== null) return report;
  const elsewhere = view?.controlPlane ?? null;
  if (elsewhere !== null) {
    throw new CommandFailure(`${agentId} reports to the control plane on ${elsewhere}, which keeps its report`, {
      exitCode: EXIT.problemFound,
      next: `the same with --control-plane and its address`,
    });
  }
  throw new CommandFailure(`no agent ${agentId} has reported`, {
    exitCode: EXIT.problemFound,
    next: 'outrigger status',
  });
}

export function agentRows({ agents, services }: FleetView): AgentRow[] {
  return agents.map((agent) => {
    const own = services.flatMap(({ edges }) => edges.filter(({ agentId }) => agentId === agent.id));
    const inbound = own.filter(({ direction }) => direction === 'inbound');
    const sights = services
      .flatMap(({ endpoints }) => endpoints.flatMap(({ observers }) => observers))
      .filter(({ agentId }) => agentId === agent.id);
    return {
      ...agent,
      ...trafficOf(inbound.length > 0 ? inbound : own),
      ejected: sights.filter(({ state }) => state === 'ejected' || state === 'probing').length,
      known: sights.length,
    };
  });
}

/** Sums edges; the success share is weighted by their rates, the p99 is the worst. */
export function trafficOf(edges: readonly EdgeView[]): Pick<AgentRow, 'requestsPerSecond' | 'successShare' | 'p99Ms'> {
  let rate = 0;
  let weight = 0;
  let good = 0;
  let p99Ms: number | null = null;
  for (const edge of edges) {
    rate += edge.requestsPerSecond;
    if (edge.p99Ms !== null) p99Ms = Math.max(p99Ms ?? 0, edge.p99Ms);
    if (edge.successShare === null) continue;
    // An edge that is quiet now still says how its last minute went.
    const share = Math.max(edge.requestsPerSecond, 0.001);
    weight += share;
    good += edge.successShare * share;
  }
  return { requestsPerSecond: rate, successShare: weight === 0 ? null : good / weight, p99Ms };
}

/** `payments@payments-3@127.0.0.1:7001` → `payments-3`; a static endpoint is called by its address. */
export function endpointName(id: string): string {
  return id.split('@')[1] ?? id;
}

function listIn<Item>(body: unknown, key: string): readonly Item[] {
  const list = (body as Record<string, unknown> | null)?.[key];
  if (Array.isArray(list)) return list;
  throw new CommandFailure(`the answer has no list '${key}': is this address a control plane of this version?`, {
    exitCode: EXIT.problemFound,
  });
}
