// A listening socket for one upstream service that speaks something other than HTTP: accepts, decides whether there is a way
// at all, and hands each connection to a tcp-session.ts. A refusal is a reset: TCP has no other word for it.

import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { ServiceView } from '../core/snapshot.ts';
import type { TcpCounters, TcpResult } from '../telemetry/tcp-counters.ts';
import { Admission } from './admission.ts';
import { awaitDiscovery } from './destination.ts';
import { type ProxyListener, type ProxyListenerOptions, scopeOf } from './listener.ts';
import { TcpSession } from './tcp-session.ts';

export interface TcpListenerOptions extends Omit<ProxyListenerOptions, 'direction' | 'route'> {
  /** Service behind this address. */
  readonly destination: string;
  readonly counters: TcpCounters;
}

export function createTcpListener(options: TcpListenerOptions): ProxyListener {
  const { destination, counters, admission = new Admission(null) } = options;
  const scope = scopeOf(
    { ...options, direction: 'outbound', route: { kind: 'fixed', service: destination } },
    options.isDraining,
  );
  const sessions = new Set<TcpSession>();
  let isAccepting = false;
  let onEmpty: (() => void) | null = null;

  const gone = (session: TcpSession) => {
    sessions.delete(session);
    admission.leave();
    if (sessions.size === 0) onEmpty?.();
  };
  const refuse = (socket: Socket, result: TcpResult) => {
    counters.end(result);
    socket.resetAndDestroy();
  };
  const begin = (socket: Socket, mayDiscover: boolean): void => {
    if (socket.destroyed) return;
    const view = scope.mesh.snapshot.services.get(destination);
    if (view === undefined) {
      if (!mayDiscover || scope.discover === null) refuse(socket, 'no_route');
      else awaitDiscovery(scope.discover(destination), () => begin(socket, false));
      return;
    }
    const refusal = refusalOf(view);
    if (refusal !== null) {
      refuse(socket, refusal);
      return;
    }
    const session = new TcpSession(scope, view, counters, socket, gone);
    sessions.add(session);
    admission.enter();
    scope.deadlines.add(session);
    session.start();
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {});
    const isFull = sessions.size >= scope.limits.maxConnections || admission.isFull;
    if (isFull || scope.deadlines.loop.isOverloaded) refuse(socket, 'overloaded');
    else begin(socket, true);
  });

  const stopAccepting = () => {
    if (isAccepting) server.close();
    isAccepting = false;
  };
  const closeAll = () => {
    for (const session of [...sessions]) session.finish('draining');
  };
  return {
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        const { host, port } = options.address;
        server.listen({ host, port, backlog: 1024, reusePort: options.reusePort ?? false }, () => {
          server.off('error', reject);
          // A failed accept concerns one connection, not those that are open.
          server.on('error', () => {});
          isAccepting = true;
          const bound = server.address() as AddressInfo; // bound to TCP, so never a path
          resolve({ host: bound.address, port: bound.port });
        });
      }),
    stopAccepting,
    drain: (deadlineMs) => {
      stopAccepting();
      if (sessions.size === 0) return Promise.resolve();
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

/** Permissions by method and path cannot be judged here: where there are any, nothing is permitted. */
function refusalOf({ permission, stats, policy }: ServiceView): TcpResult | null {
  if (permission.kind !== 'allow') return 'denied';
  return stats.inFlight >= policy.limits.maxConcurrentRequests ? 'upstream_overflow' : null;
}
