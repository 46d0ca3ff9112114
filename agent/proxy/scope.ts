// What every connection of one listener shares: the listener's own facts and the parts of the agent it talks to. Interfaces
// only, so that the data plane can be tested without the rest.

import type { Clock, Random } from '../clock.ts';
import type { Draws } from '../core/decision/draws.ts';
import type { Hops } from '../core/retry/hops.ts';
import type { Stalls } from '../core/self/stalls.ts';
import type { MeshSnapshot, ServiceView } from '../core/snapshot.ts';
import type { AccessLog } from '../telemetry/access-log.ts';
import type { Decisions } from '../telemetry/decisions.ts';
import type { Edge } from '../telemetry/metrics.ts';
import type { Deadlines } from './deadlines.ts';
import type { FieldNames } from './http1/field-names.ts';
import type { Pools } from './pools.ts';
import type { SideWork } from './side-work.ts';
import type { SharedReader } from './socket-reads.ts';

export type Direction = 'outbound' | 'inbound';

/** How a listener knows where a request goes. */
export type ListenerRoute =
  | { readonly kind: 'byHost' }
  | { readonly kind: 'fixed'; readonly service: string }
  | { readonly kind: 'inbound'; readonly view: () => ServiceView };

/** The part of mesh/ that the request path uses. */
export interface MeshReader {
  readonly snapshot: MeshSnapshot;
  requestSweep(service: string): void;
}

/** The part of telemetry that the request path uses. */
export interface EdgeSource {
  edge(direction: Direction, source: string, destination: string): Edge;
  /** A fault was injected, or would have been and there were too many at once. */
  fault(destination: string, reason: string): void;
  /** What became of the copy of a request. */
  mirrored(destination: string, reason: string): void;
}

/** Absolute limits on a downstream, all ms or bytes. */
export interface ListenerLimits {
  /** From the first byte of a head (or the connection) to its last. */
  readonly headMs: number;
  /** Between requests on a kept connection. */
  readonly keepAliveMs: number;
  /** A body may be this slow at first … */
  readonly bodyGraceMs: number;
  /** … and must then have come at least this fast on average. */
  readonly bodyBytesPerSecond: number;
  /** Longest time without the downstream taking anything of what was written. */
  readonly writeStallMs: number;
  /** After a refusal: how long and how much is read and dropped before the socket goes. */
  readonly lingerMs: number;
  readonly lingerBytes: number;
  /** Connections at once; a further one takes the place of an idle one, or gets 503. */
  readonly maxConnections: number;
  /** Lateness of the event loop from which on requests would be late; 503 from shortly before. */
  readonly maxLoopDelayMs: number;
  /** A tunnel or TCP connection in which nothing moves is closed after this long … */
  readonly tunnelIdleMs: number;
  /** … and any after this long. */
  readonly tunnelLifetimeMs: number;
}

export const DEFAULT_LIMITS: ListenerLimits = {
  headMs: 10_000,
  keepAliveMs: 120_000,
  bodyGraceMs: 5000,
  bodyBytesPerSecond: 240,
  writeStallMs: 30_000,
  lingerMs: 1000,
  lingerBytes: 65_536,
  maxConnections: 20_000,
  maxLoopDelayMs: 200,
  tunnelIdleMs: 3_600_000,
  tunnelLifetimeMs: 86_400_000,
};

/** Most bytes that wait on either side of one connection before its sender is paused. */
export const BUFFER_BYTES = 65_536;

export interface ProxyScope {
  readonly direction: Direction;
  /** The service this agent stands beside. */
  readonly service: string;
  readonly route: ListenerRoute;
  readonly mesh: MeshReader;
  readonly pools: Pools;
  readonly deadlines: Deadlines;
  readonly metrics: EdgeSource;
  readonly accessLog: AccessLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: ListenerLimits;
  /** When this process stood still; null where nobody looks. */
  readonly stalls: Stalls | null;
  readonly isDraining: () => boolean;
  /** Starts watching a service that nobody declared; resolves when it is known or known not to be. */
  readonly discover: ((service: string) => Promise<void>) | null;
  /** What the application is working on, shared by all listeners. */
  readonly hops: Hops;
  readonly decisions: Decisions;
  /** Requests held on purpose and copies under way, of all listeners. */
  readonly side: SideWork;
  /** Chance of one pick at a time. */
  readonly draws: Draws;
  /** Of the heads read so far, whoever sent them. */
  readonly requestNames: FieldNames;
  /** Service of the Host seen last: most callers ask one after the other for the same. */
  readonly lastHost: { host: string; service: string | null };
  /** How every downstream socket reads. */
  readonly read: SharedReader;
}
