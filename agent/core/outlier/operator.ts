// What a person decides about an endpoint: out for a time, out for maintenance, or back at once. Pure: one order in, one decision
// (or a refusal in words) out; apply.ts writes it, and the sweep ends it when its time is over.

import { formatHostPort } from '#contract/text/host-port.ts';
import type { EndpointView } from '../snapshot.ts';
import { describeOrder, describeReturn, type OperatorVerb } from './sentence.ts';
import type { Decision } from './sweep.ts';

export interface OperatorOrder {
  readonly verb: OperatorVerb;
  /** An id, an address `10.0.0.7:7001`, or the instance's name in Consul, `payments-2`. */
  readonly endpoint: string;
  /** From now; restore takes no time. */
  readonly durationMs: number;
  /** The person's own words; empty when there are none. */
  readonly reason: string;
  /** Who, where an authenticated relay says so. */
  readonly operator: string | null;
  /** Even if nothing else of the service serves. */
  readonly isForced: boolean;
}

export type OperatorRuling =
  | { readonly kind: 'decided'; readonly decision: Extract<Decision, { kind: 'eject' | 'reinstate' }> }
  | { readonly kind: 'refused'; readonly why: RefusalReason; readonly text: string };

export type RefusalReason = 'unknown' | 'ambiguous' | 'last_serving' | 'serving_already';

/** So that a slip of the hand takes nobody out for good. */
export const MAX_ORDER_MS = 86_400_000;
/** Endpoints named in a refusal. */
const MAX_NAMED = 10;

/**
 * The ejection ceiling binds detectors, not people; what people may not do by accident is take out the last endpoint that
 * serves. An order about one that is out already replaces how long and why.
 *
 * @param endpoints  all endpoints of the service, states included
 */
export function decideOrder(endpoints: readonly EndpointView[], order: OperatorOrder, now: number): OperatorRuling {
  const found = findEndpoints(endpoints, order.endpoint);
  const [view] = found;
  if (view === undefined) {
    const text = `no endpoint '${order.endpoint}' is known; there are: ${namesOf(endpoints)}`;
    return { kind: 'refused', why: 'unknown', text };
  }
  if (found.length > 1) {
    const ids = found.slice(0, MAX_NAMED).map(({ endpoint }) => endpoint.id);
    const text = `'${order.endpoint}' means ${found.length} endpoints; name one by its id: ${ids.join(', ')}`;
    return { kind: 'refused', why: 'ambiguous', text };
  }
  return order.verb === 'restore' ? restore(view, order, now) : takeOut(view, endpoints, order);
}

function takeOut(view: EndpointView, endpoints: readonly EndpointView[], order: OperatorOrder): OperatorRuling {
  const others = endpoints.filter((other) => other !== view && other.stats.state === 'serving').length;
  if (view.stats.state === 'serving' && others === 0 && !order.isForced) {
    const text = `${view.endpoint.id} is the only endpoint that serves; without it every request would be tried at the others`;
    return { kind: 'refused', why: 'last_serving', text };
  }
  const durationMs = Math.min(order.durationMs, MAX_ORDER_MS);
  const out = endpoints.filter((other) => other === view || other.stats.state !== 'serving').length;
  const reason = order.verb === 'drain' ? 'operator_drain' : 'operator';
  const text = describeOrder(view, { ...order, durationMs }, out, endpoints.length);
  // The multiplier belongs to the detectors: what a person did must not lengthen what they do next.
  const multiplier = view.stats.ejectionMultiplier;
  return { kind: 'decided', decision: { kind: 'eject', view, reason, multiplier, durationMs, text } };
}

function restore(view: EndpointView, order: OperatorOrder, now: number): OperatorRuling {
  if (view.stats.state === 'serving') {
    return { kind: 'refused', why: 'serving_already', text: `${view.endpoint.id} serves already` };
  }
  const text = describeReturn(view, order, now);
  return { kind: 'decided', decision: { kind: 'reinstate', view, reason: 'operator', text } };
}

function findEndpoints(endpoints: readonly EndpointView[], name: string): EndpointView[] {
  const exact = endpoints.find(({ endpoint }) => endpoint.id === name);
  if (exact !== undefined) return [exact];
  return endpoints.filter(({ endpoint }) => addressOf(endpoint) === name || instanceOf(endpoint.id) === name);
}

function addressOf({ address, port }: EndpointView['endpoint']): string {
  return formatHostPort({ host: address, port });
}

/** `payments@payments-2@10.0.0.7:7001` → `payments-2`; a static endpoint has no name but its address. */
function instanceOf(id: string): string {
  return id.split('@')[1] ?? id;
}

function namesOf(endpoints: readonly EndpointView[]): string {
  const names = endpoints.slice(0, MAX_NAMED).map(({ endpoint }) => instanceOf(endpoint.id));
  const more = endpoints.length > MAX_NAMED ? ` and ${endpoints.length - MAX_NAMED} more` : '';
  return names.length === 0 ? 'none' : `${names.join(', ')}${more}`;
}
