// What the demo shows: a frame for a terminal, a line for a pipe. Pure text from facts.

import type { EdgeView, EndpointView, ServiceView } from '../../control-plane/core/views.ts';
import { endpointName } from '../fleet.ts';
import { type Column, cutLines, formatMs, formatShare, formatTable, paint } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { outCount, withoutName } from './observer.ts';
import type { TrafficCounts } from './traffic.ts';

export interface Frame {
  readonly readyMs: number;
  readonly elapsedMs: number;
  readonly dashboardUrl: string;
  /** What happens next by itself; null while nothing will. */
  readonly next: { readonly inMs: number; readonly text: string } | null;
  readonly traffic: TrafficCounts;
  readonly services: readonly ServiceView[];
  /** Newest last. */
  readonly news: readonly string[];
}

type Look = Pick<Terminal, 'hasColours' | 'columns'>;

const SHOWN_NEWS = 8;

export function renderFrame(frame: Frame, look: Look): string {
  const { traffic } = frame;
  const share = formatShare(traffic.succeeded, traffic.sent);
  const isWell = traffic.failed * 1000 <= traffic.sent;
  const head = [
    `${paint(look, 'bold', 'outrigger demo')}   mesh ready in ${formatMs(frame.readyMs)}   ${Math.floor(frame.elapsedMs / 1000)} s   dashboard ${paint(look, 'cyan', frame.dashboardUrl)}`,
    `end users: ${paint(look, isWell ? 'green' : 'red', share)} of ${traffic.sent} requests succeeded` +
      `   p50 ${formatMs(traffic.p50Ms)}   p99 ${formatMs(traffic.p99Ms)}   ${traffic.failed} failed`,
    '',
  ];
  const endpoints = frame.services.flatMap((service) => service.endpoints);
  const edges = frame.services.flatMap((service) => service.edges).filter(({ direction }) => direction === 'outbound');
  const lines = [
    ...head,
    formatTable(EDGE_COLUMNS, edges, look),
    formatTable(ENDPOINT_COLUMNS, endpoints, look),
    ...frame.news.slice(-SHOWN_NEWS).map((line) => paint(look, 'dim', line)),
    '',
    ...(frame.next === null ? [] : [`next, in ${Math.ceil(frame.next.inMs / 1000)} s: ${frame.next.text}`]),
    'in another window of this folder: npx outrigger endpoints payments, stat, why, break payments-2 slow',
    'Ctrl-C ends everything',
  ];
  // A wrapped line would break the redraw.
  return cutLines(lines.join('\n'), look.columns);
}

/** One line a second where nothing can be redrawn. */
export function renderLine(frame: Frame): string {
  const { traffic, services } = frame;
  const out = services.flatMap(({ endpoints }) => endpoints).filter((endpoint) => outCount(endpoint) > 0);
  const states = out.length === 0 ? 'all endpoints serving' : out.map(describeSight).join(', ');
  return (
    `${String(Math.floor(frame.elapsedMs / 1000)).padStart(3)} s  ${traffic.sent} requests  ` +
    `success ${formatShare(traffic.succeeded, traffic.sent)}  p50 ${formatMs(traffic.p50Ms)}  p99 ${formatMs(traffic.p99Ms)}  ${states}`
  );
}

function describeSight(endpoint: EndpointView): string {
  return `${endpointName(endpoint.id)} ${endpoint.state} (${outCount(endpoint)} of ${endpoint.observers.length} agents)`;
}

const EDGE_COLUMNS: readonly Column<EdgeView>[] = [
  { title: 'AGENT', cell: ({ agentId }) => agentId },
  { title: 'SOURCE', cell: ({ source }) => source },
  { title: 'DESTINATION', cell: ({ destination }) => destination },
  { title: 'RPS', cell: ({ requestsPerSecond }) => requestsPerSecond.toFixed(0), align: 'right' },
  {
    title: 'SUCCESS',
    cell: ({ successShare }) => (successShare === null ? '-' : formatShare(successShare, 1)),
    align: 'right',
    colour: ({ successShare }) => (successShare !== null && successShare < 0.999 ? 'yellow' : null),
  },
  { title: 'RETRIES/S', cell: ({ retriesPerSecond }) => retriesPerSecond.toFixed(1), align: 'right' },
  { title: 'P50', cell: ({ p50Ms }) => formatMs(p50Ms), align: 'right' },
  { title: 'P99', cell: ({ p99Ms }) => formatMs(p99Ms), align: 'right' },
];

const ENDPOINT_COLUMNS: readonly Column<EndpointView>[] = [
  { title: 'ENDPOINT', cell: ({ id }) => endpointName(id) },
  {
    title: 'STATE',
    cell: (endpoint) => {
      const out = outCount(endpoint);
      return out === 0 ? endpoint.state : `${endpoint.state} ${out}/${endpoint.observers.length}`;
    },
    colour: ({ state }) => (state === 'serving' ? 'green' : state === 'ejected' ? 'red' : 'yellow'),
  },
  { title: 'WHY', cell: ({ reason, address }) => withoutName(reason ?? '', address) },
];
