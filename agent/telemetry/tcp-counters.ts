// What is counted of TCP connections, per destination: how they ended, and bytes both ways. Destinations come from the
// configuration alone (each has a listener of its own), so their number is bounded there.

import type { Family } from './families.ts';

/** Every way a TCP connection can end. */
export const TCP_RESULTS = [
  'ok',
  'no_route',
  'denied',
  'overloaded',
  'no_healthy_upstream',
  'upstream_overflow',
  'upstream_connect_failure',
  'upstream_connect_timeout',
  'upstream_reset',
  'downstream_disconnect',
  'idle',
  'lifetime',
  'draining',
] as const;
export type TcpResult = (typeof TCP_RESULTS)[number];

export class TcpCounters {
  /** From the application to the upstream, and back. */
  sentBytes = 0;
  receivedBytes = 0;
  readonly #ends = new Map<TcpResult, number>();

  end(result: TcpResult): void {
    this.#ends.set(result, (this.#ends.get(result) ?? 0) + 1);
  }

  get ends(): ReadonlyMap<TcpResult, number> {
    return this.#ends;
  }
}

export function tcpFamilies(tables: ReadonlyMap<string, TcpCounters>): Family[] {
  return [
    {
      name: 'outrigger_tcp_connections_total',
      help: 'TCP connections that ended, by destination and result.',
      type: 'counter',
      samples: () =>
        [...tables].flatMap(([destination, { ends }]) =>
          [...ends].map(([result, value]) => ({ labels: { destination, result }, value })),
        ),
    },
    {
      name: 'outrigger_tcp_bytes_total',
      help: 'Bytes of TCP connections, counted as they pass: sent to the upstream and received from it.',
      type: 'counter',
      samples: () =>
        [...tables].flatMap(([destination, { sentBytes, receivedBytes }]) => [
          { labels: { destination, direction: 'sent' }, value: sentBytes },
          { labels: { destination, direction: 'received' }, value: receivedBytes },
        ]),
    },
  ];
}
