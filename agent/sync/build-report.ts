// Turns what the agent knows into the report that the control plane hears. Pure; the reporter sends it.

import type { AgentReport, EdgeReport, MeshEvent } from '#contract/frames.ts';
import type { Problem } from '#contract/problem.ts';
import { type ServiceReportInputs, serviceReports } from '../core/service-report.ts';

/** What a report is made of besides the services. */
export interface ReportInputs extends ServiceReportInputs {
  readonly sequence: number;
  readonly startedAtEpochMs: number;
  readonly service: string;
  readonly zone: string | null;
  readonly softwareVersion: string;
  readonly adminUrl: string;
  readonly isReady: boolean;
  readonly isDraining: boolean;
  readonly policy: {
    readonly appliedVersion: number;
    readonly generation: string;
    readonly wantedVersion: number;
    readonly problems: readonly Problem[];
  };
  readonly edges: readonly EdgeReport[];
  readonly events: readonly MeshEvent[];
  readonly eventsDropped: number;
}

export function buildReport(inputs: ReportInputs): AgentReport {
  return {
    sequence: inputs.sequence,
    sentAtEpochMs: inputs.epochMs,
    startedAtEpochMs: inputs.startedAtEpochMs,
    service: inputs.service,
    zone: inputs.zone,
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
