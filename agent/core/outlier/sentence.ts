// The sentences about ejections. One wording for log, event stream, API and page, so that a person can search for it.

import { formatHostPort } from '#contract/text/host-port.ts';
import type { EndpointView } from '../snapshot.ts';
import { type RateSample, successPercent } from './rates.ts';
import type { Slowness } from './slowness.ts';
import { median } from './statistics.ts';
import type { Ceiling, DetectorReason, EjectionReason, ReturnReason } from './sweep.ts';
import type { RateReason } from './windows.ts';

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

export type OperatorVerb = 'eject' | 'drain' | 'restore';

/** Who ordered it, and in which words. */
export interface OrderWords {
  readonly verb: OperatorVerb;
  readonly durationMs: number;
  readonly reason: string;
  readonly operator: string | null;
}

/** `… drained for 600 s by operator alice: new disk; 1 of 4 endpoints out`. */
export function describeOrder(view: EndpointView, order: OrderWords, out: number, total: number): string {
  const done = order.verb === 'drain' ? 'drained' : 'ejected';
  return `${endpointLabel(view)} ${done} for ${inSeconds(order.durationMs)} ${byWhom(order)}; ${outOf({ out, total })}`;
}

/** `… restored 12 s after its last ejection by operator alice: disk is in`. */
export function describeReturn(view: EndpointView, order: OrderWords, now: number): string {
  const away = inSeconds(Math.round((now - view.stats.ejectedAt) / 100) * 100);
  return `${endpointLabel(view)} restored ${away} after its last ejection ${byWhom(order)}`;
}

function byWhom({ operator, reason }: OrderWords): string {
  return `by operator${operator === null ? '' : ` ${operator}`}${reason === '' ? '' : `: ${reason}`}`;
}

export function describeOverflow(view: EndpointView, reason: EjectionReason, ceiling: Ceiling): string {
  return `${endpointLabel(view)} kept in spite of ${cause(view, reason)}; ${outOf(ceiling)}, limit ${ceiling.limit}`;
}

/** `… is not ejected, failure_percentage is enforced at 0 %: 90 of 100 answers were 5xx, median of 5 endpoints 1.0 %`. */
export function describeDetection(view: EndpointView, reason: DetectorReason, enforcing: number): string {
  return `${endpointLabel(view)} is not ejected, ${reason} is enforced at ${enforcing} %: ${cause(view, reason)}`;
}

/** `40 of 100 attempts failed, median of 5 endpoints 1.0 %`. */
export function describeRate(reason: RateReason, sample: RateSample, all: readonly RateSample[]): string {
  const middle = (100 - median(all.map(successPercent))).toFixed(1);
  return `${sample.failures} of ${sample.total} ${WHAT_FAILED[reason]}, median of ${all.length} endpoints ${middle} %`;
}

const WHAT_FAILED: Readonly<Record<RateReason, string>> = {
  robust_success_rate: 'attempts failed',
  success_rate: 'answers were 5xx',
  local_origin_success_rate: 'attempts got no answer',
  failure_percentage: 'answers were 5xx',
  failure_percentage_local_origin: 'attempts got no answer',
};

/** `90th percentile of latency 310 ms, median of its peers 100 ms, 4 windows in a row`. */
export function describeSlowness({ p90Ms, medianMs }: Slowness, windows: number): string {
  return `90th percentile of latency ${inMs(p90Ms)}, median of its peers ${inMs(medianMs)}, ${windows} windows in a row`;
}

/** `… has half its weight: …` and its end. */
export function describeWeight(view: EndpointView): string {
  return view.stats.weightFactor < 1
    ? `${endpointLabel(view)} has half its weight: slower than twice the median of its peers in ${view.stats.slowWindows} windows`
    : `${endpointLabel(view)} has its whole weight again: no slower than its peers`;
}

export function describeReinstatement(
  view: EndpointView,
  reason: Exclude<ReturnReason, 'operator'>,
  ceiling: Ceiling,
  now: number,
): string {
  const why = reason === 'probe_passed' ? 'the probe succeeded' : 'its active health check passes';
  const away = inSeconds(Math.round((now - view.stats.ejectedAt) / 100) * 100);
  return `${endpointLabel(view)} reinstated ${away} after its last ejection: ${why}; ${outOf(ceiling)}`;
}

export function describePanic(service: string, serving: number, all: number, minHealthPercent: number): string {
  const share = `${serving} of ${all} endpoints serving`;
  // Above the threshold there is one other reason: what still serves is kept by the ceiling alone.
  const isEnough = serving > 0 && serving * 100 >= minHealthPercent * all;
  const why = isEnough ? 'each of them kept by the ceiling alone' : `threshold ${minHealthPercent} %`;
  return `${service} is in panic and uses every endpoint: ${share}, ${why}`;
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
    case 'advised':
      return `advised by the control plane: ${stats.advice?.text ?? 'without a reason'}`;
    case 'health_check_failed':
      return `${stats.failedChecks} active health checks failed in a row, last: ${stats.checkText}`;
    default:
      return stats.suspicions.find((suspicion) => suspicion.reason === reason)?.cause ?? spoken(reason);
  }
}

function outOf({ out, total }: Pick<Ceiling, 'out' | 'total'>): string {
  return `${out} of ${total} ${total === 1 ? 'endpoint' : 'endpoints'} out`;
}

function spoken(kind: string): string {
  return kind.replaceAll('_', ' ');
}

function inMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function inSeconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 100) / 10} s`;
}

function ordinal(n: number): string {
  const isTeen = n % 100 >= 11 && n % 100 <= 13;
  const suffix = isTeen ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${suffix}`;
}
