// What the admin API is given: functions only, so that it knows no other part of the agent.

import type { MeshEvent } from '#contract/frames.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { Problem } from '#contract/problem.ts';
import type { Clock } from '../clock.ts';
import type { AgentConfig, HostPort } from '../config.ts';
import type { Explanation } from '../core/decision/explain.ts';
import type { OperatorOrder, OperatorRuling } from '../core/outlier/operator.ts';
import type { DiscoveryFacts } from '../core/service-report.ts';
import type { MeshSnapshot } from '../core/snapshot.ts';
import type { Log } from '../telemetry/log.ts';
import type { TapSource } from './tap.ts';

export interface AdminOptions {
  readonly address: HostPort;
  readonly service: string;
  readonly agentId: string;
  readonly softwareVersion: string;
  readonly config: AgentConfig;
  /** Limits of the data plane, shown in /config_dump. */
  readonly limits: object;
  readonly clock: Clock;
  readonly log: Pick<Log, 'logger' | 'level' | 'setLevel' | 'droppedLines'>;
  snapshot(): MeshSnapshot;
  discovery(): readonly DiscoveryFacts[];
  policy(): PolicyView;
  /** The policies in force. */
  documents(): readonly PolicyDocument[];
  /** Open connections by endpoint id. */
  connectionsOf(endpointId: string): number;
  /** Newest events, oldest first. */
  events(): readonly MeshEvent[];
  /** Why a request went where it went, by decision id or request id; null when it is not known (any more). */
  why(id: string): Explanation | null;
  /** The last decisions, newest first: of all requests, or of those that failed or took several attempts. */
  decisions(count: number, isAnomaly: boolean): readonly Explanation[];
  /** A person's word about one endpoint, carried out at once or refused. */
  overrule(service: string, order: OperatorOrder): OperatorRuling;
  /** Requests as they end. */
  readonly tap: TapSource;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** What stands against being ready, as phrases; empty when ready. */
  notReady(): readonly string[];
  isDraining(): boolean;
  drain(): void;
  failHealthcheck(isFailing: boolean): void;
}

export interface PolicyView {
  readonly appliedVersion: number;
  readonly wantedVersion: number;
  readonly isConnected: boolean;
  readonly problems: readonly Problem[];
}
