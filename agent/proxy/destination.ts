// From a request to the service and policy it goes under: listener → service → route rule → backend → permission. Answers
// with a value; the one wait of the request path, for discovery, is here too.

import { serviceFromHost } from '#contract/names.ts';
import type { EffectivePolicy, HeaderChanges, RouteRule } from '#contract/policy/policy.ts';
import { isHashPolicy } from '../core/balance/hash-table.ts';
import { hashOfRequest } from '../core/hash-key.ts';
import type { TrafficClass } from '../core/limits/traffic-class.ts';
import { isPermitted } from '../core/permission.ts';
import { NO_HASH } from '../core/pick.ts';
import type { Reason } from '../core/reason.ts';
import { chooseBackend, matchRoute } from '../core/route.ts';
import type { MeshSnapshot, ServiceView } from '../core/snapshot.ts';
import { MAX_HOPS } from './headers.ts';
import type { RequestHead } from './http1/request-head.ts';
import { hidesSeparator } from './http1/request-target.ts';
import type { ProxyScope } from './scope.ts';

export interface Destination {
  readonly kind: 'destination';
  readonly view: ServiceView;
  readonly policy: EffectivePolicy;
  /** Of the request's key where the policy hashes, else NO_HASH. */
  readonly hash: number;
  /** Rule that led here; null where the service has none. */
  readonly rule: RouteRule | null;
  readonly requestChanges: HeaderChanges | null;
  readonly responseChanges: HeaderChanges | null;
}

export type Resolution =
  | Destination
  | { readonly kind: 'refused'; readonly reason: Reason; readonly message: string; readonly service: string }
  /** The service is not in the snapshot: ask discovery once, then resolve again. */
  | { readonly kind: 'unknown'; readonly service: string };

/** What is refused wherever it wants to go, or null. */
export function refuseEarly(
  scope: ProxyScope,
  { method, hops }: RequestHead,
  trafficClass: TrafficClass,
): { reason: Reason; message: string } | null {
  if (method === 'CONNECT' || method === 'TRACE') {
    return { reason: 'method_not_allowed', message: `${method} is not supported` };
  }
  if (hops >= MAX_HOPS) {
    return { reason: 'loop_detected', message: `the request went through ${MAX_HOPS} agents already` };
  }
  const { isOverloaded, isStrained } = scope.deadlines.loop;
  const isShed = trafficClass === 'sheddable' ? isStrained : isOverloaded && trafficClass === 'normal';
  if (!isShed) return null;
  return { reason: 'overloaded', message: 'the agent has more to do than it can' };
}

/**
 * Resolves against the snapshot that the request has pinned.
 *
 * @param source  address of the downstream
 */
export function resolveDestination(
  scope: ProxyScope,
  snapshot: MeshSnapshot,
  head: RequestHead,
  source: string,
): Resolution {
  if (scope.route.kind === 'inbound') return plain(scope.route.view(), head, source);
  const service = scope.route.kind === 'fixed' ? scope.route.service : serviceFromHost(head.host);
  if (service === null) return noService(head.host);
  const view = snapshot.services.get(service);
  if (view === undefined) return { kind: 'unknown', service };
  if (view.permission.kind !== 'allow') {
    const refusal = refusalOf(view, head);
    if (refusal !== null) return refusal;
  }
  return view.rules.length === 0 ? plain(view, head, source) : byRule(scope, snapshot, view, head, source);
}

function plain(view: ServiceView, head: RequestHead, source: string): Destination {
  const hash = hashFor(view, head, source);
  return {
    kind: 'destination',
    view,
    policy: view.policy,
    hash,
    rule: null,
    requestChanges: null,
    responseChanges: null,
  };
}

function hashFor(view: ServiceView, head: RequestHead, source: string): number {
  const { loadBalancer } = view.policy;
  return isHashPolicy(loadBalancer.policy)
    ? hashOfRequest(loadBalancer.hashOn, (name) => fieldOf(head, name), source)
    : NO_HASH;
}

function byRule(
  scope: ProxyScope,
  snapshot: MeshSnapshot,
  view: ServiceView,
  head: RequestHead,
  source: string,
): Resolution {
  const rule = matchRoute(view, head.method, head.target, (name) => fieldOf(head, name));
  if (rule === null) {
    const message = `no rule of the route for ${view.service} matches this request`;
    return { kind: 'refused', reason: 'no_route', message, service: view.service };
  }
  return backendOf(snapshot, view, rule, chooseBackend(rule, scope.random), head, source);
}

function backendOf(
  snapshot: MeshSnapshot,
  view: ServiceView,
  rule: RouteRule,
  index: number,
  head: RequestHead,
  source: string,
): Resolution {
  const backend = rule.backends[index]?.service ?? view.service;
  const target = backend === view.service ? view : snapshot.services.get(backend);
  if (target === undefined) return { kind: 'unknown', service: backend };
  if (target !== view && target.permission.kind !== 'allow') {
    const refusal = refusalOf(target, head);
    if (refusal !== null) return refusal;
  }
  return {
    kind: 'destination',
    view: target,
    policy: rule.policies[index] ?? target.policy,
    hash: hashFor(target, head, source),
    rule,
    requestChanges: rule.requestHeaders,
    responseChanges: rule.responseHeaders,
  };
}

function refusalOf(view: ServiceView, head: RequestHead): Resolution | null {
  const { permission, service } = view;
  if (permission.kind === 'permissions' && hidesSeparator(head.path)) {
    const message = 'the path hides a separator in an escape, and permissions go by the path';
    return { kind: 'refused', reason: 'bad_request', message, service };
  }
  if (isPermitted(permission, head.method, head.path)) return null;
  const from = permission.kind === 'allow' ? '' : `, by ${permission.from}`;
  return {
    kind: 'refused',
    reason: 'denied',
    message: `this caller may not make this request to ${service}${from}`,
    service,
  };
}

function noService(host: string): Resolution {
  if (host === '') {
    return { kind: 'refused', reason: 'bad_request', message: 'a request without Host names no service', service: '' };
  }
  const message = `${host} is not a service: write NAME, NAME.mesh or NAME.service.consul`;
  return { kind: 'refused', reason: 'no_route', message, service: '' };
}

/** Value of a field by lower-case name, joined when it came in several lines; host included. */
function fieldOf(head: RequestHead, wanted: string): string | null {
  if (wanted === 'host') return head.host;
  let found: string | null = null;
  for (let index = 0; index < head.fields.length; index += 2) {
    if (head.fields[index] !== wanted) continue;
    found = found === null ? (head.fields[index + 1] as string) : `${found}, ${head.fields[index + 1]}`;
  }
  return found;
}

/** First use of an undeclared service: how long a request waits for discovery. */
const DISCOVER_MS = 500;

/** Calls `then` once, when discovery has ended either way or has taken too long. Only ever at the first use of a service. */
export function awaitDiscovery(discovery: Promise<void>, then: () => void): void {
  let isDecided = false;
  const decide = () => {
    clearTimeout(timer);
    if (isDecided) return;
    isDecided = true;
    then();
  };
  const timer = setTimeout(decide, DISCOVER_MS);
  // A failure is told by discovery itself; here it only means that the service is still unknown.
  discovery.then(decide, decide);
}
