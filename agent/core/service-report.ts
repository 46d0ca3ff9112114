// What is said about services and endpoints wherever somebody asks: the admin API and the reports to the control plane show the
// same facts, made here. Pure; reads one snapshot.

import type { EndpointReport, ServiceReport } from '#contract/frames.ts';
import { EMPTY_SKETCH } from '#contract/latency-sketch.ts';
import { formatHostPort } from '#contract/text/host-port.ts';
import { isAccused } from './outlier/advice.ts';
import type { EndpointView, MeshSnapshot } from './snapshot.ts';

/** What discovery says of one service. */
export interface DiscoveryFacts {
  readonly service: string;
  readonly source: ServiceReport['source'];
  readonly ageMs: number | null;
  readonly holding: string | null;
}

export interface ServiceReportInputs {
  readonly snapshot: MeshSnapshot;
  readonly discovery: readonly DiscoveryFacts[];
  /** The same instant on both clocks: turns monotonic instants into wall-clock ones. */
  readonly now: number;
  readonly epochMs: number;
  /** Open connections by endpoint id. */
  connectionsOf(endpointId: string): number;
}

/** Every service of the snapshot, then those that are watched and of which nothing is known yet: they are what needs looking at. */
export function serviceReports(inputs: ServiceReportInputs): ServiceReport[] {
  const { snapshot, discovery } = inputs;
  const facts = new Map(discovery.map((one) => [one.service, one]));
  const known = [...snapshot.services.values()].map(({ service, isPanicking, endpoints }): ServiceReport => {
    const { source = 'none', ageMs = null, holding = null } = facts.get(service) ?? {};
    const reports = endpoints.map((endpoint) => endpointReport(endpoint, inputs));
    return { service, source, ageMs, holding, isPanicking, endpoints: reports };
  });
  const unknown = discovery
    .filter(({ service }) => !snapshot.services.has(service))
    .map(({ service, source, ageMs, holding }): ServiceReport => {
      return { service, source, ageMs, holding, isPanicking: false, endpoints: [] };
    });
  return [...known, ...unknown];
}

function endpointReport({ endpoint, stats }: EndpointView, inputs: ServiceReportInputs): EndpointReport {
  const isOut = stats.state !== 'serving';
  return {
    id: endpoint.id,
    address: formatHostPort({ host: endpoint.address, port: endpoint.port }),
    state: stats.state,
    weight: endpoint.weight,
    inFlight: stats.inFlight,
    connections: inputs.connectionsOf(endpoint.id),
    ewmaMs: stats.ewmaAt < 0 ? null : Math.round(stats.ewmaMs * 1000) / 1000,
    attempts: stats.attempts,
    failures: stats.failures,
    latency: stats.latency?.sketch() ?? EMPTY_SKETCH,
    isAccused: isAccused(stats),
    failuresInARow: stats.failuresInARow,
    reason: isOut ? stats.ejectionText : null,
    ejectedUntilEpochMs: isOut ? Math.round(inputs.epochMs + stats.ejectedUntil - inputs.now) : null,
  };
}
