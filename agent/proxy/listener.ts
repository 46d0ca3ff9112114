// A listening socket of the data plane: accepts, keeps count, drains. What happens on a connection is
// downstream-connection.ts; what happens to a request is exchange.ts.

import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Clock, Random } from '../clock.ts';
import type { AccessLog } from '../telemetry/access-log.ts';
import { Deadlines } from './deadlines.ts';
import { DownstreamConnection } from './downstream-connection.ts';
import type { Pools } from './pools.ts';
import {
  DEFAULT_LIMITS,
  type Direction,
  type EdgeSource,
  type ListenerLimits,
  type ListenerRoute,
  type MeshReader,
  type ProxyScope,
} from './scope.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface ProxyListenerOptions {
  readonly direction: Direction;
  /** Port 0 takes any free one; `listen` tells which. */
  readonly address: ListenAddress;
  /** The service this agent stands beside. */
  readonly service: string;
  readonly route: ListenerRoute;
  readonly mesh: MeshReader;
  readonly pools: Pools;
  readonly metrics: EdgeSource;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly random: Random;
  /** While true every answer says `Connection: close`. */
  readonly isDraining: () => boolean;
  readonly limits?: Partial<ListenerLimits>;
  readonly discover?: (service: string) => Promise<void>;
}

export interface ProxyListener {
  /** Resolves with the bound address; rejects when it cannot be bound. */
  listen(): Promise<ListenAddress>;
  /** New connections are refused from now on; those that are open live on. */
  stopAccepting(): void;
  /** Closes idle connections, lets requests in flight end, and closes what is left after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
  close(): Promise<void>;
}

export function createProxyListener(options: ProxyListenerOptions): ProxyListener {
  let isDraining = false;
  const scope = scopeOf(options, () => isDraining || options.isDraining());
  const connections = new Set<DownstreamConnection>();
  let isAccepting = false;
  let onEmpty: (() => void) | null = null;

  const gone = (connection: DownstreamConnection) => {
    connections.delete(connection);
    if (connections.size === 0) onEmpty?.();
  };
  const accept = (socket: Socket) => {
    const connection = new DownstreamConnection(scope, socket, gone);
    connections.add(connection);
    scope.deadlines.add(connection);
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
  server.maxConnections = scope.limits.maxConnections;

  const stopAccepting = () => {
    if (isAccepting) server.close();
    isAccepting = false;
  };
  const closeAll = () => {
    for (const connection of [...connections]) connection.destroy();
  };
  return {
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host: options.address.host, port: options.address.port, backlog: 1024 }, () => {
          server.off('error', reject);
          // A failed accept (no descriptors left) concerns one connection, not those that are open.
          server.on('error', () => {});
          isAccepting = true;
          const { address, port } = server.address() as AddressInfo; // bound to TCP, so never a path
          resolve({ host: address, port });
        });
      }),
    stopAccepting,
    drain: (deadlineMs) => {
      isDraining = true;
      stopAccepting();
      for (const connection of [...connections]) connection.closeWhenIdle();
      if (connections.size === 0) return Promise.resolve();
      return new Promise((resolve) => {
        const timer = setTimeout(closeAll, deadlineMs);
        onEmpty = () => {
          clearTimeout(timer);
          onEmpty = null;
          resolve();
        };
      });
    },
    close: () =>
      new Promise((resolve) => {
        if (isAccepting) server.close(() => resolve());
        else resolve();
        isAccepting = false;
        closeAll();
      }),
  };
}

function scopeOf(options: ProxyListenerOptions, isDraining: () => boolean): ProxyScope {
  const { clock, random } = options;
  const prefix = Math.floor(random() * 2 ** 40).toString(36);
  let requests = 0;
  return {
    ...options,
    isDraining,
    deadlines: new Deadlines(clock),
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    discover: options.discover ?? null,
    nextRequestId: () => {
      requests += 1;
      return `${prefix}-${requests.toString(36)}`;
    },
  };
}
