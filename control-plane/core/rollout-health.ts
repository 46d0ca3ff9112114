// How the agents that have a staged change do, and how the others do, as one replica sees it; and the sum over replicas. Pure.

import type { EdgeReport } from '#contract/frames.ts';
import { EMPTY_SKETCH, type LatencySketch, mergeSketches } from '#contract/latency-sketch.ts';
import { servicesNamedBy } from '#contract/policy/layers.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { HTTPRouteSpec } from '#contract/schema/route-schema.ts';
import { WINDOW_MS } from './counters.ts';
import { edgeKey, type Fleet, type Member } from './fleet.ts';
import type { Ledger, LedgerEntry } from './ledger.ts';

/** Agents with the change, or agents without it. */
export interface GroupHealth {
  /** Connected. */
  readonly agents: number;
  /** Of them, those that answered what they were sent. */
  readonly settled: number;
  readonly rejected: readonly { readonly agentId: string; readonly text: string }[];
  /** Were sent the change and then were not heard of for STALE_AFTER_MS, unless they were stopping. */
  readonly silent: readonly string[];
  /** To the services concerned, since the stage began, at most over the last minute. */
  readonly requests: number;
  readonly failures: number;
  /** What those requests took since the stage began, by the service beside which they were made: its agents are alike. */
  readonly latencies: Readonly<Record<string, LatencySketch>>;
}

export interface RolloutHealth {
  /** Agents with an open stream that take what they are sent. */
  readonly connected: readonly string[];
  /** Of them, those with requests to the services concerned in the last minute. */
  readonly busy: readonly string[];
  readonly cohort: GroupHealth;
  readonly rest: GroupHealth;
}

export interface HealthQuestion {
  readonly ledger: Ledger;
  readonly fleet: Fleet;
  /** Services whose traffic the change can alter; null: all. */
  readonly concerned: ReadonlySet<string> | null;
  readonly isInCohort: (agentId: string) => boolean;
  /** Version of the set that made the change. */
  readonly version: number;
  /** Since the stage began. */
  readonly sinceMs: number;
  /** Of an edge, what counts of its latencies. */
  readonly latencyOf: (member: Member, edge: string) => LatencySketch;
  readonly now: number;
}

/** O(agents × edges). */
export function healthOf(question: HealthQuestion): RolloutHealth {
  const { ledger, fleet, now } = question;
  const connected: string[] = [];
  const busy: string[] = [];
  const cohort: GroupHealth[] = [];
  const rest: GroupHealth[] = [];
  for (const entry of ledger.list()) {
    const { agentId } = entry;
    const member = fleet.get(agentId);
    const isIn = question.isInCohort(agentId);
    (isIn ? cohort : rest).push(groupOf(entry, member, isIn, question));
    const isUsable = entry.isConnected && entry.verdict !== 'NACK' && ledger.stateOf(agentId, now) === 'live';
    if (!isUsable) continue;
    connected.push(agentId);
    if (countsOf(member, question.concerned, WINDOW_MS, now).requests > 0) busy.push(agentId);
  }
  return { connected, busy, cohort: sumOf(cohort, connected), rest: sumOf(rest, connected) };
}

/** The sum over replicas. An agent that moved is silent at one and connected at another: then it is not silent. */
export function mergeHealth(parts: readonly RolloutHealth[]): RolloutHealth {
  const connected = parts.flatMap((part) => part.connected);
  return {
    connected,
    busy: parts.flatMap((part) => part.busy),
    cohort: sumOf(
      parts.map(({ cohort }) => cohort),
      connected,
    ),
    rest: sumOf(
      parts.map(({ rest }) => rest),
      connected,
    ),
  };
}

/** Services whose requests the two documents can alter; null: of every service. */
export function servicesConcerned(documents: readonly (PolicyDocument | null)[]): ReadonlySet<string> | null {
  const names = new Set<string>();
  for (const document of documents) {
    if (document === null) continue;
    if (document.kind === 'MeshDefaults') return null;
    names.add(document.metadata.name);
    for (const backend of backendsOf(document)) names.add(backend);
  }
  return names;
}

function backendsOf({ kind, spec }: PolicyDocument): string[] {
  if (kind !== 'HTTPRoute') return [];
  // The cast is what parsePolicy established for the kind.
  return (spec as HTTPRouteSpec).rules.flatMap(servicesNamedBy);
}

function groupOf(entry: LedgerEntry, member: Member | null, isIn: boolean, question: HealthQuestion): GroupHealth {
  const { ledger, version, concerned, now } = question;
  const wasSent = (entry.wantedVersion ?? -1) >= version;
  const isLive = ledger.stateOf(entry.agentId, now) === 'live';
  const isStopping = member?.report.isDraining === true;
  const [problem] = entry.problems;
  const counts = isLive
    ? countsOf(member, concerned, Math.min(WINDOW_MS, question.sinceMs), now)
    : { requests: 0, failures: 0 };
  return {
    agents: entry.isConnected ? 1 : 0,
    settled: entry.isConnected && entry.verdict !== null && (wasSent || !isIn) ? 1 : 0,
    rejected:
      isIn && wasSent && entry.verdict === 'NACK'
        ? [
            {
              agentId: entry.agentId,
              text: problem === undefined ? 'no reason given' : `${problem.path} ${problem.message}`,
            },
          ]
        : [],
    silent: isIn && wasSent && !isLive && !isStopping ? [entry.agentId] : [],
    ...counts,
    latencies: isLive ? latenciesOf(member, question) : {},
  };
}

function countsOf(
  member: Member | null,
  concerned: ReadonlySet<string> | null,
  windowMs: number,
  now: number,
): { readonly requests: number; readonly failures: number } {
  let requests = 0;
  let failures = 0;
  for (const edge of member === null ? [] : concernedEdges(member, concerned)) {
    const { counts } = member?.edges.get(edgeKey(edge))?.within(windowMs, now) ?? { counts: null };
    requests += counts?.requests ?? 0;
    failures += (counts?.requests ?? 0) - (counts?.successes ?? 0);
  }
  return { requests, failures };
}

function latenciesOf(member: Member | null, { concerned, latencyOf }: HealthQuestion): GroupHealth['latencies'] {
  const edges = member === null ? [] : concernedEdges(member, concerned);
  if (member === null || edges.length === 0) return {};
  return { [member.report.service]: mergeSketches(edges.map((edge) => latencyOf(member, edgeKey(edge)))) };
}

function concernedEdges({ report }: Member, concerned: ReadonlySet<string> | null): EdgeReport[] {
  return report.edges.filter(({ direction, source, destination }) => {
    return direction === 'outbound' && source === report.service && (concerned === null || concerned.has(destination));
  });
}

function sumOf(groups: readonly GroupHealth[], connected: readonly string[]): GroupHealth {
  const total = (of: (group: GroupHealth) => number): number => groups.reduce((sum, group) => sum + of(group), 0);
  const sources = new Set(groups.flatMap(({ latencies }) => Object.keys(latencies)));
  const latencyIn = (source: string): LatencySketch =>
    mergeSketches(groups.map(({ latencies }) => latencies[source] ?? EMPTY_SKETCH));
  return {
    agents: total(({ agents }) => agents),
    settled: total(({ settled }) => settled),
    rejected: groups.flatMap(({ rejected }) => rejected),
    silent: groups.flatMap(({ silent }) => silent).filter((agentId) => !connected.includes(agentId)),
    requests: total(({ requests }) => requests),
    failures: total(({ failures }) => failures),
    latencies: Object.fromEntries([...sources].map((source) => [source, latencyIn(source)])),
  };
}
