// A listening socket of the data plane: accepts, keeps count, drains. What happens on a connection is
// downstream-connection.ts; what happens to a request is exchange.ts.

import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Clock, Random } from '../clock.ts';
import { Draws } from '../core/decision/draws.ts';
import { Hops } from '../core/retry/hops.ts';
import type { Stalls } from '../core/self/stalls.ts';
import type { AccessLog } from '../telemetry/access-log.ts';
import { Decisions, idPrefix } from '../telemetry/decisions.ts';
import { Admission } from './admission.ts';
import { Deadlines } from './deadlines.ts';
import { DownstreamConnection } from './downstream-connection.ts';
import { requestNames } from './http1/request-head.ts';
import type { Pools } from './pools.ts';
import { recordRefusal } from './request-record.ts';
import { composeEarlyRescue } from './rescue.ts';
import {
  DEFAULT_LIMITS,
  type Direction,
  type EdgeSource,
  type ListenerLimits,
  type ListenerRoute,
  type MeshReader,
  type ProxyScope,
} from './scope.ts';
import { createSideWork, type SideWork } from './side-work.ts';
import { createSharedReader } from './socket-reads.ts';

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
  /** Shared by all listeners of the agent; without it only the listener's own limit holds. */
  readonly admission?: Admission;
  /** Lets a second process listen on the same address: for a restart that refuses nobody. */
  readonly reusePort?: boolean;
  readonly discover?: (service: string) => Promise<void>;
  /** When this process stood still: such time is not held against endpoints. */
  readonly stalls?: Stalls;
  /** Shared by all listeners of the agent, so that calls find the request they are made for. */
  readonly hops?: Hops;
  readonly decisions?: Decisions;
  /** Shared by all listeners of the agent, whose bounds are for all together. */
  readonly side?: SideWork;
  /** One for all listeners: a second closure at the same place of call would have its numbers boxed. */
  readonly draws?: Draws;
}

export interface ProxyListener {
  /** Resolves with the bound address; rejects when it cannot be bound. */
  listen(): Promise<ListenAddress>;
  /** New connections are refused from now on; those that are open live on. */
  stopAccepting(): void;
  /**
   * Lets requests in flight end and tells those that still come to close; closes idle connections after a moment, and what is
   * left after `deadlineMs`.
   */
  drain(deadlineMs: number): Promise<void>;
  close(): Promise<void>;
}

/** A request may be on its way when a connection is closed as idle: most callers are told in an answer before this is over. */
const IDLE_GRACE_MS = 500;

export function createProxyListener(options: ProxyListenerOptions): ProxyListener {
  let isDraining = false;
  const scope = scopeOf(options, () => isDraining || options.isDraining());
  const connections = new Set<DownstreamConnection>();
  let isAccepting = false;
  let onEmpty: (() => void) | null = null;

  const admission = options.admission ?? new Admission(null);
  const gone = (connection: DownstreamConnection) => {
    connections.delete(connection);
    admission.leave();
    if (connections.size === 0) onEmpty?.();
  };
  const turnAway = createTurnAway(scope);
  const accept = (socket: Socket) => {
    const isFull = connections.size >= scope.limits.maxConnections || admission.isFull;
    if (scope.deadlines.loop.isOverloaded || (isFull && !yieldOldestIdle(connections))) {
      turnAway(socket);
      return;
    }
    const connection = new DownstreamConnection(scope, socket, gone);
    connections.add(connection);
    admission.enter();
    scope.deadlines.add(connection);
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);

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
        const { host, port } = options.address;
        server.listen({ host, port, backlog: 1024, reusePort: options.reusePort ?? false }, () => {
          server.off('error', reject);
          // A failed accept (no descriptors left) concerns one connection, not those that are open.
          server.on('error', () => {});
          isAccepting = true;
          const bound = server.address() as AddressInfo; // bound to TCP, so never a path
          resolve({ host: bound.address, port: bound.port });
        });
      }),
    stopAccepting,
    drain: (deadlineMs) => {
      isDraining = true;
      stopAccepting();
      if (connections.size === 0) return Promise.resolve();
      return new Promise((resolve) => {
        const timer = setTimeout(closeAll, deadlineMs);
        const closeIdle = () => {
          for (const connection of [...connections]) connection.closeWhenIdle();
        };
        const graceTimer = setTimeout(closeIdle, Math.min(IDLE_GRACE_MS, deadlineMs / 2));
        onEmpty = () => {
          clearTimeout(timer);
          clearTimeout(graceTimer);
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

/** Connections looked at for one that can give its place up: those that were accepted first. */
const OLDEST = 256;

function yieldOldestIdle(connections: ReadonlySet<DownstreamConnection>): boolean {
  let looked = 0;
  for (const connection of connections) {
    if (connection.yieldIfIdle()) return true;
    looked += 1;
    if (looked === OLDEST) return false;
  }
  return false;
}

/** Sockets that are being told 503 at once, out of the reserved descriptors; beyond it they are closed without a word. */
const MAX_TURNING_AWAY = 32;

/** Tells a connection for which there is no room to come again, without reading what it wants. */
function createTurnAway(scope: ProxyScope): (socket: Socket) => void {
  let current = 0;
  return (socket) => {
    recordRefusal(scope, 'overloaded');
    if (current >= MAX_TURNING_AWAY) {
      socket.destroy();
      return;
    }
    current += 1;
    const message = 'the agent has as many connections as it can serve';
    const epochMs = scope.clock.epochMs();
    socket.on('error', () => {});
    socket.end(composeEarlyRescue('overloaded', message, epochMs));
    // Read and dropped for a moment: closing with bytes unread would be a reset, and the answer might be lost.
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), scope.limits.lingerMs);
    socket.on('close', () => {
      clearTimeout(timer);
      current -= 1;
    });
  };
}

/** What the connections of a listener share. */
export function scopeOf(options: ProxyListenerOptions, isDraining: () => boolean): ProxyScope {
  const { clock, random } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  return {
    ...options,
    isDraining,
    deadlines: new Deadlines(clock, limits.maxLoopDelayMs),
    limits,
    discover: options.discover ?? null,
    read: createSharedReader(),
    stalls: options.stalls ?? null,
    hops: options.hops ?? new Hops(),
    decisions: options.decisions ?? new Decisions(idPrefix(random)),
    side: options.side ?? createSideWork(),
    requestNames: requestNames(),
    lastHost: { host: '', service: null },
    draws: options.draws ?? new Draws(),
  };
}
