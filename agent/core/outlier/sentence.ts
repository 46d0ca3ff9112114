// The sentences about ejections. One wording for log, event stream, API and page, so that a person can search for it.

import { formatHostPort } from '#contract/text/host-port.ts';
import type { EndpointView } from '../snapshot.ts';
import type { Ceiling, EjectionReason } from './sweep.ts';

/** `payments@10.0.0.7:8080`. Service ids of Consul are left out: people know addresses. */
export function endpointLabel({ endpoint }: EndpointView): string {
  const at = endpoint.id.indexOf('@');
  const service = at < 0 ? endpoint.id : endpoint.id.slice(0, at);
  return `${service}@${formatHostPort({ host: endpoint.address, port: endpoint.port })}`;
}

/** `… ejected for 30 s (2nd time): 5 consecutive 5xx answers, last 503; 1 of 4 endpoints out, limit 2`. */
export function describeEjection(
  view: EndpointView,
  reason: EjectionReason,
  { multiplier, durationMs }: { readonly multiplier: number; readonly durationMs: number },
  ceiling: Ceiling,
): string {
  const time = `${inSeconds(durationMs)} (${ordinal(multiplier)} time)`;
  return `${endpointLabel(view)} ejected for ${time}: ${cause(view, reason)}; ${outOf(ceiling)}, limit ${ceiling.limit}`;
}

export function describeOverflow(view: EndpointView, reason: EjectionReason, ceiling: Ceiling): string {
  return `${endpointLabel(view)} kept in spite of ${cause(view, reason)}; ${outOf(ceiling)}, limit ${ceiling.limit}`;
}

export function describeReinstatement(view: EndpointView, ceiling: Ceiling, now: number): string {
  const away = inSeconds(Math.round((now - view.stats.ejectedAt) / 100) * 100);
  return `${endpointLabel(view)} reinstated ${away} after its last ejection: the probe succeeded; ${outOf(ceiling)}`;
}

export function describePanic(service: string, serving: number, all: number, minHealthPercent: number): string {
  const share = `${serving} of ${all} endpoints serving`;
  return `${service} is in panic and uses every endpoint: ${share}, threshold ${minHealthPercent} %`;
}

export function describeCalm(service: string, serving: number, all: number, minHealthPercent: number): string {
  return `${service} is out of panic: ${serving} of ${all} endpoints serving, threshold ${minHealthPercent} %`;
}

function cause({ stats }: EndpointView, reason: EjectionReason): string {
  switch (reason) {
    case 'consecutive_5xx':
      return `${stats.consecutive5xx} consecutive 5xx answers, last ${stats.lastFailureStatus}`;
    case 'consecutive_gateway':
      return `${stats.consecutiveGateway} consecutive 502, 503 or 504 answers, last ${stats.lastFailureStatus}`;
    case 'consecutive_local_origin':
      return `${stats.consecutiveLocalOrigin} consecutive failures to answer, last ${spoken(stats.lastFailureKind)}`;
    case 'probe_failed':
      return stats.lastFailureStatus > 0
        ? `the probe was answered ${stats.lastFailureStatus}`
        : `the probe ended in ${spoken(stats.lastFailureKind)}`;
  }
}

function outOf({ out, total }: Ceiling): string {
  return `${out} of ${total} ${total === 1 ? 'endpoint' : 'endpoints'} out`;
}

function spoken(kind: string): string {
  return kind.replaceAll('_', ' ');
}

function inSeconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 100) / 10} s`;
}

function ordinal(n: number): string {
  const isTeen = n % 100 >= 11 && n % 100 <= 13;
  const suffix = isTeen ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${suffix}`;
}
