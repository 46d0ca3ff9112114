// From a request to the service and policy it goes under: listener → service → route rule → backend → permission. Answers
// with a value; the one wait of the request path, for discovery, is here too.

import { serviceFromHost } from '#contract/names.ts';
import type { EffectivePolicy } from '#contract/policy/policy.ts';
import type { HeaderChanges, RouteRule } from '#contract/policy/route-rule.ts';
import { isHashPolicy } from '../core/balance/hash-table.ts';
import { hashOfRequest } from '../core/hash-key.ts';
import type { TrafficClass } from '../core/limits/traffic-class.ts';
import { isPermitted } from '../core/permission.ts';
import { NO_HASH } from '../core/pick.ts';
import type { Reason } from '../core/reason.ts';
import { matchRoute, type RouteTable } from '../core/route.ts';
import { joinedValue } from '../core/routes/field-value.ts';
import { changePath, redirectPlace } from '../core/routes/rewrite.ts';
import { chooseBackend } from '../core/routes/split.ts';
import { unknownSubset } from '../core/routes/subset-views.ts';
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
  /** The one that looked for a rule, whose service need not be that of `view`; null where there are none. */
  readonly routes: RouteTable | null;
  /** Path and query towards the endpoint. */
  readonly target: string;
  /** Host towards the endpoint, and the one that the request came with. */
  readonly host: string;
  readonly askedHost: string;
  readonly requestChanges: HeaderChanges | null;
  readonly responseChanges: HeaderChanges | null;
}

/** The rule has an answer of its own. */
export interface Redirection {
  readonly kind: 'redirect';
  readonly view: ServiceView;
  readonly rule: RouteRule;
  readonly routes: RouteTable;
  readonly status: number;
  readonly location: string;
}

export interface Refused {
  readonly kind: 'refused';
  readonly reason: Reason;
  readonly message: string;
  readonly service: string;
  readonly rule: null;
  /** Where rules were looked through, else null. */
  readonly routes: RouteTable | null;
}

/** What is known of where a request goes. */
export type Resolved = Destination | Redirection | Refused;

export type Resolution =
  | Resolved
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
  const service = scope.route.kind === 'fixed' ? scope.route.service : serviceOf(scope, head.host);
  if (service === null) return noService(head.host);
  const view = snapshot.services.get(service);
  if (view === undefined) return { kind: 'unknown', service };
  if (view.permission.kind !== 'allow') {
    const refusal = refusalOf(view, head.method, head.path);
    if (refusal !== null) return refusal;
  }
  return view.routes.rules.length === 0 ? plain(view, head, source) : byRule(scope, snapshot, view, head, source);
}

function serviceOf({ lastHost }: ProxyScope, host: string): string | null {
  if (lastHost.host !== host) {
    lastHost.service = serviceFromHost(host);
    lastHost.host = host;
  }
  return lastHost.service;
}

function plain(view: ServiceView, head: RequestHead, source: string): Destination {
  const hash = hashFor(view, head, source);
  const host = hostOf(view, head);
  return {
    kind: 'destination',
    view,
    policy: view.policy,
    hash,
    rule: null,
    routes: null,
    target: head.target,
    host,
    askedHost: host,
    requestChanges: null,
    responseChanges: null,
  };
}

/** An HTTP/1.0 request may come without. */
function hostOf({ service }: ServiceView, { host }: RequestHead): string {
  return host === '' ? service : host;
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
  const header = (name: string) => fieldOf(head, name);
  const rule = matchRoute(view.routes, head.method, head.target, header);
  if (rule === null) {
    const message = `no rule of the route for ${view.service} matches this request`;
    return refused('no_route', message, view.service, view.routes);
  }
  if (rule.redirect !== null) return redirectTo(scope, view, rule, head);
  return backendOf(snapshot, view, rule, chooseBackend(rule, scope.random, header, source), head, source);
}

/** A client that follows must not be sent around: a location that this very rule would redirect again is refused. */
function redirectTo(scope: ProxyScope, view: ServiceView, rule: RouteRule, head: RequestHead): Resolution {
  const { redirect } = rule;
  if (redirect === null) return plain(view, head, '');
  const place = redirectPlace(redirect, hostOf(view, head), head.target);
  const isHere =
    place.isSameOrigin ||
    (scope.route.kind === 'byHost' && redirect.scheme !== 'https' && serviceFromHost(place.authority) === view.service);
  const method = redirect.status === 307 || redirect.status === 308 || head.method === 'HEAD' ? head.method : 'GET';
  if (isHere && matchRoute(view.routes, method, place.target, (name) => fieldOf(head, name)) === rule) {
    const message = `rule ${rule.name} redirects to ${place.target.split('?')[0]}, which it redirects again`;
    return refused('loop_detected', message, view.service, view.routes);
  }
  return { kind: 'redirect', view, rule, routes: view.routes, status: redirect.status, location: place.location };
}

function backendOf(
  snapshot: MeshSnapshot,
  view: ServiceView,
  rule: RouteRule,
  index: number,
  head: RequestHead,
  source: string,
): Resolution {
  const { service: backend = view.service, subset = null } = rule.backends[index] ?? {};
  const whole = backend === view.service ? view : snapshot.services.get(backend);
  if (whole === undefined) return { kind: 'unknown', service: backend };
  const askedHost = hostOf(view, head);
  const path = rule.rewrite?.path ?? null;
  const target = path === null ? head.target : changePath(path, head.target);
  // The permission is for what the service gets to see, which a rewrite may have made another path.
  if (whole.permission.kind !== 'allow' && (whole !== view || path !== null)) {
    const refusal = refusalOf(whole, head.method, pathOf(target));
    if (refusal !== null) return refusal;
  }
  return {
    kind: 'destination',
    view: subsetOf(whole, subset),
    policy: rule.policies[index] ?? whole.policy,
    hash: hashFor(whole, head, source),
    rule,
    routes: view.routes,
    target,
    host: rule.rewrite?.hostname ?? askedHost,
    askedHost,
    requestChanges: rule.requestHeaders,
    responseChanges: rule.responseHeaders,
  };
}

/** @param subset  null for all of the service */
export function subsetOf(whole: ServiceView, subset: string | null): ServiceView {
  return subset === null ? whole : (whole.subsets.get(subset) ?? unknownSubset(whole, subset));
}

function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query < 0 ? target : target.slice(0, query);
}

export function refusalOf(view: ServiceView, method: string, path: string): Resolution | null {
  const { permission, service } = view;
  if (permission.kind === 'permissions' && hidesSeparator(path)) {
    const message = 'the path hides a separator in an escape, and permissions go by the path';
    return refused('bad_request', message, service);
  }
  if (isPermitted(permission, method, path)) return null;
  const from = permission.kind === 'allow' ? '' : `, by ${permission.from}`;
  return refused('denied', `this caller may not make this request to ${service}${from}`, service);
}

function refused(reason: Reason, message: string, service: string, routes: RouteTable | null = null): Refused {
  return { kind: 'refused', reason, message, service, rule: null, routes };
}

function noService(host: string): Resolution {
  if (host === '') {
    const message = 'a request without Host names no service';
    return refused('bad_request', message, '');
  }
  const message = `${host} is not a service: write NAME, NAME.mesh or NAME.service.consul`;
  return refused('no_route', message, '');
}

/** Value of a field by lower-case name, joined when it came in several lines; host included. */
function fieldOf({ host, fields }: RequestHead, wanted: string): string | null {
  return wanted === 'host' ? host : joinedValue(fields, wanted);
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
