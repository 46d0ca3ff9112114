// Turns what the agent knows into the report that the control plane hears. Pure; the reporter sends it.

import type { AgentReport, EdgeReport, EndpointReport, MeshEvent, ServiceReport } from '#contract/frames.ts';
import type { Problem } from '#contract/problem.ts';
import type { EndpointView, MeshSnapshot } from '../core/snapshot.ts';

/** What a report is made of besides the snapshot. */
export interface ReportInputs {
  readonly sequence: number;
  /** The same instant on both clocks: turns monotonic instants into wall-clock ones. */
  readonly now: number;
  readonly epochMs: number;
  readonly startedAtEpochMs: number;
  readonly service: string;
  readonly softwareVersion: string;
  readonly adminUrl: string;
  readonly isReady: boolean;
  readonly isDraining: boolean;
  readonly policy: {
    readonly appliedVersion: number;
    readonly wantedVersion: number;
    readonly problems: readonly Problem[];
  };
  readonly snapshot: MeshSnapshot;
  readonly discovery: readonly DiscoveryFacts[];
  /** Open connections by endpoint id. */
  connectionsOf(endpointId: string): number;
  readonly edges: readonly EdgeReport[];
  readonly events: readonly MeshEvent[];
  readonly eventsDropped: number;
}

export interface DiscoveryFacts {
  readonly service: string;
  readonly source: ServiceReport['source'];
  readonly ageMs: number | null;
  readonly holding: string | null;
}

export function buildReport(inputs: ReportInputs): AgentReport {
  return {
    sequence: inputs.sequence,
    sentAtEpochMs: inputs.epochMs,
    startedAtEpochMs: inputs.startedAtEpochMs,
    service: inputs.service,
    softwareVersion: inputs.softwareVersion,
    adminUrl: inputs.adminUrl,
    isReady: inputs.isReady,
    isDraining: inputs.isDraining,
    policy: inputs.policy,
    services: serviceReports(inputs),
    edges: inputs.edges,
    events: inputs.events,
    eventsDropped: inputs.eventsDropped,
  };
}

function serviceReports(inputs: ReportInputs): ServiceReport[] {
  const facts = new Map(inputs.discovery.map((one) => [one.service, one]));
  return [...inputs.snapshot.services.values()].map((view) => {
    const known = facts.get(view.service);
    return {
      service: view.service,
      source: known?.source ?? 'none',
      ageMs: known?.ageMs ?? null,
      holding: known?.holding ?? null,
      isPanicking: view.isPanicking,
      endpoints: view.endpoints.map((endpoint) => endpointReport(endpoint, inputs)),
    };
  });
}

function endpointReport({ endpoint, stats }: EndpointView, inputs: ReportInputs): EndpointReport {
  const isOut = stats.state === 'ejected' || stats.state === 'probing';
  return {
    id: endpoint.id,
    address: `${endpoint.address}:${endpoint.port}`,
    state: stats.state,
    weight: endpoint.weight,
    inFlight: stats.inFlight,
    connections: inputs.connectionsOf(endpoint.id),
    ewmaMs: stats.ewmaAt < 0 ? null : stats.ewmaMs,
    attempts: stats.attempts,
    failures: stats.failures,
    reason: isOut ? stats.ejectionText : null,
    ejectedUntilEpochMs: isOut ? Math.round(inputs.epochMs + stats.ejectedUntil - inputs.now) : null,
  };
}
