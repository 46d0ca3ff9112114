// The endpoints of all services as rows: filtered, sorted, with what the table shows. Pure.

import type { EndpointState } from '#contract/frames.ts';
import type { EndpointView, ServiceView } from '../../../core/views.ts';
import { shortName } from '../format.ts';

export interface EndpointRow {
  readonly key: string;
  readonly service: string;
  readonly name: string;
  readonly endpoint: EndpointView;
  /** Agents that have it in another state than the one that is shown. */
  readonly dissenters: number;
  /** What was seen of it: the reason without the endpoint's name and the time, which the row shows already; empty when there is none. */
  readonly why: string;
}

export const SORTS = ['service', 'name', 'state', 'rate', 'flight', 'ewma', 'failures'] as const;
export type SortKey = (typeof SORTS)[number];

const WORST_FIRST: readonly EndpointState[] = ['ejected', 'probing', 'draining', 'serving'];

export function endpointRows(services: Iterable<ServiceView>): EndpointRow[] {
  const rows: EndpointRow[] = [];
  for (const { service, endpoints } of services) {
    for (const endpoint of endpoints) {
      const dissenters = endpoint.observers.filter(({ state }) => state !== endpoint.state).length;
      rows.push({
        key: `${service} ${endpoint.id}`,
        service,
        name: shortName(service, endpoint.id, endpoint.address),
        endpoint,
        dissenters,
        why: whyOf(service, endpoint),
      });
    }
  }
  return rows;
}

function whyOf(service: string, { reason, address }: EndpointView): string {
  const text = reason ?? '';
  const itself = `${service}@${address} `;
  return text.startsWith(itself) ? text.slice(itself.length).replace(/^ejected for \S+ \w+ \(\w+ time\): /, '') : text;
}

/** Every word must be somewhere in the row. `state` empty: any. */
export function filterRows(rows: readonly EndpointRow[], words: string, state: string): EndpointRow[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter(({ service, name, endpoint }) => {
    if (state !== '' && endpoint.state !== state) return false;
    const text = `${service} ${name} ${endpoint.id} ${endpoint.state} ${endpoint.reason ?? ''}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

/** Equal rows stay in the order of service and name, so that the table does not jump while numbers move. */
export function sortRows(rows: readonly EndpointRow[], key: SortKey, isDown: boolean): EndpointRow[] {
  const sign = isDown ? -1 : 1;
  return [...rows].sort((a, b) => sign * compare(a, b, key) || compareText(a.key, b.key));
}

function compare(a: EndpointRow, b: EndpointRow, key: SortKey): number {
  const [x, y] = [a.endpoint, b.endpoint];
  switch (key) {
    case 'service':
      return compareText(a.service, b.service);
    case 'name':
      return compareText(a.name, b.name);
    case 'state':
      return WORST_FIRST.indexOf(x.state) - WORST_FIRST.indexOf(y.state);
    case 'rate':
      return x.attemptsPerSecond - y.attemptsPerSecond;
    case 'flight':
      return x.inFlight - y.inFlight;
    case 'ewma':
      return (x.ewmaMs ?? -1) - (y.ewmaMs ?? -1);
    case 'failures':
      return failureRatio(x) - failureRatio(y);
  }
}

export function failureRatio({ attempts, failures }: EndpointView): number {
  return attempts === 0 ? 0 : failures / attempts;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
