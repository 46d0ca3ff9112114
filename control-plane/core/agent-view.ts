// One agent as the API and the page show it: what the ledger knows joined with its last report. Pure.

import type { Problem } from '#contract/problem.ts';
import type { Clock } from './clock.ts';
import type { Fleet } from './fleet.ts';
import type { AgentState, Ledger, LedgerEntry } from './ledger.ts';
import { outboundOf, trafficOf } from './traffic.ts';
import type { Traffic } from './views.ts';

/** Ages are ms before now; instants are epoch ms. */
export interface AgentView {
  readonly id: string;
  readonly state: AgentState;
  /** Host of the control plane that knows it, when that is another one; null: this one. */
  readonly controlPlane: string | null;
  /** Whether its policy stream is open. */
  readonly isConnected: boolean;
  readonly connectedForMs: number | null;
  readonly silentForMs: number;
  /** From its last report; null before the first. */
  readonly service: string | null;
  readonly softwareVersion: string | null;
  readonly startedAtEpochMs: number | null;
  readonly adminUrl: string | null;
  readonly isReady: boolean;
  readonly isDraining: boolean;
  readonly policy: {
    /** Last version pushed to it; what it wants by its own word while nothing was pushed in this life. */
    readonly wantedVersion: number | null;
    readonly appliedVersion: number | null;
    /** What it made of the last push; null while that is awaited. */
    readonly verdict: 'ACK' | 'NACK' | null;
    readonly isInSync: boolean;
    /** It was sent a staged change that not everybody has. */
    readonly isTrial: boolean;
    readonly problems: readonly Problem[];
    /** From the push to the verdict. */
    readonly answeredAfterMs: number | null;
  };
  readonly discovery: readonly {
    readonly service: string;
    readonly source: 'consul' | 'control-plane' | 'static' | 'disk' | 'none';
    readonly ageMs: number | null;
    readonly holding: string | null;
  }[];
  /** What its application calls, all services together. */
  readonly traffic: Traffic;
  readonly eventsDropped: number;
}

/** Null when nobody by that name is known. */
export function agentView(agentId: string, ledger: Ledger, fleet: Fleet, clock: Clock): AgentView | null {
  const entry = ledger.get(agentId);
  if (entry === null) return null;
  const now = clock.now();
  const member = fleet.get(agentId);
  const report = member?.report ?? null;
  return {
    id: agentId,
    state: ledger.stateOf(agentId, now),
    controlPlane: null,
    isConnected: entry.isConnected,
    connectedForMs: entry.isConnected && entry.connectedAt !== null ? Math.round(now - entry.connectedAt) : null,
    silentForMs: Math.round(now - entry.lastSeenAt),
    service: report?.service ?? null,
    softwareVersion: report?.softwareVersion ?? null,
    startedAtEpochMs: report?.startedAtEpochMs ?? null,
    adminUrl: report?.adminUrl ?? null,
    isReady: report?.isReady ?? false,
    isDraining: report?.isDraining ?? false,
    policy: policyPart(entry, report?.policy ?? null),
    // Ages grow between reports.
    discovery: (report?.services ?? []).map(({ service, source, ageMs, holding }) => ({
      service,
      source,
      ageMs: ageMs === null ? null : Math.round(ageMs + now - (member?.receivedAt ?? now)),
      holding,
    })),
    traffic: trafficOf(
      member === null ? [] : outboundOf(member).map((edge) => ({ member, edge })),
      () => ledger.stateOf(agentId, now) === 'live',
      now,
    ),
    eventsDropped: report?.eventsDropped ?? 0,
  };
}

function policyPart(
  entry: LedgerEntry,
  reported: { readonly wantedVersion: number; readonly problems: readonly Problem[] } | null,
): AgentView['policy'] {
  const own = entry.foreignGeneration === null ? reported : null;
  const wantedVersion = entry.wantedVersion ?? own?.wantedVersion ?? null;
  const hasAnswered = entry.verdictAt !== null && entry.pushedAt !== null;
  return {
    wantedVersion,
    appliedVersion: entry.appliedVersion,
    verdict: entry.verdict,
    isInSync: wantedVersion !== null && entry.appliedVersion === wantedVersion && entry.verdict !== 'NACK',
    isTrial: entry.isTrial,
    problems: entry.problems.length > 0 ? entry.problems : (reported?.problems ?? []),
    answeredAfterMs: hasAnswered ? Number(entry.verdictAt) - Number(entry.pushedAt) : null,
  };
}

/** All agents by name. */
export function agentViews(ledger: Ledger, fleet: Fleet, clock: Clock): AgentView[] {
  return ledger.list().flatMap(({ agentId }) => agentView(agentId, ledger, fleet, clock) ?? []);
}
