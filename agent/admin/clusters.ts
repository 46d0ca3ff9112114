// What /clusters shows: every service and endpoint as the request path sees them. Pure; reads one snapshot.

import type { EndpointReport, ServiceReport } from '#contract/frames.ts';
import { serviceReports } from '../core/service-report.ts';
import type { AdminOptions } from './options.ts';

/** The part of the options that is read here. */
export type ClusterSources = Pick<AdminOptions, 'snapshot' | 'discovery' | 'connectionsOf' | 'clock'>;

export interface ClusterView extends ServiceReport {
  /** Requests in flight to the whole service. */
  readonly inFlight: number;
}

export function clusters({ snapshot, discovery, connectionsOf, clock }: ClusterSources): ClusterView[] {
  const current = snapshot();
  const moment = { now: clock.now(), epochMs: clock.epochMs() };
  return serviceReports({ snapshot: current, discovery: discovery(), connectionsOf, ...moment }).map((report) => {
    // The whole distributions are for the control plane; here they would bury the rest.
    const endpoints = report.endpoints.map(({ latency: _latency, ...rest }) => rest);
    return { ...report, endpoints, inFlight: current.services.get(report.service)?.stats.inFlight ?? 0 };
  });
}

/** Envoy's form, one fact a line: `payments::10.0.0.7:7001::rq_active::3`. */
export function clustersText(views: readonly ClusterView[]): string {
  const lines: string[] = [];
  for (const view of views) {
    const say = (key: string, value: unknown) => lines.push(`${view.service}::${key}::${value ?? '-'}`);
    say('source', view.source);
    say('age_ms', view.ageMs === null ? null : Math.round(view.ageMs));
    say('holding', view.holding);
    say('panic', view.isPanicking);
    say('rq_active', view.inFlight);
    for (const endpoint of view.endpoints) {
      const tell = (key: string, value: unknown) => say(`${endpoint.address}::${key}`, value);
      tell('id', endpoint.id);
      tell('state', endpoint.state);
      // Envoy's word for the same, so that scripts written for it find it.
      tell('health_flags', endpoint.state === 'serving' ? 'healthy' : `/${flagOf(endpoint.state)}`);
      tell('weight', endpoint.weight);
      tell('cx_active', endpoint.connections);
      tell('rq_active', endpoint.inFlight);
      tell('rq_total', endpoint.attempts);
      tell('rq_error', endpoint.failures);
      tell('ewma_ms', endpoint.ewmaMs);
      tell('reason', endpoint.reason);
    }
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function flagOf(state: EndpointReport['state']): string {
  return state === 'draining' ? 'draining' : 'failed_outlier_check';
}
