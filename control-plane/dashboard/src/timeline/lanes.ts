// Which lane an event belongs to, and where it lies on the axis. Pure.

import type { FleetEvent } from '../../../core/views.ts';

export const LANES = ['ejections', 'policy', 'rollouts', 'registrations', 'alerts'] as const;
export type Lane = (typeof LANES)[number];

export function laneOf({ kind, reason }: FleetEvent): Lane {
  switch (kind) {
    case 'ejection':
    case 'reinstatement':
    case 'panic':
    case 'overflow':
    case 'detection':
      return 'ejections';
    case 'policy':
      return reason.startsWith('rollout_') ? 'rollouts' : 'policy';
    case 'alert':
      return 'alerts';
    default:
      return 'registrations';
  }
}

/** Discovery at work; what else it has to say is a warning. */
const CALM_REASONS = new Set(['endpoints_changed', 'source_recovered', 'registry_recovered', 'agent_connected']);

export function toneOf({ kind, reason }: FleetEvent): 'good' | 'warn' | 'bad' | 'calm' {
  if (kind === 'ejection' || kind === 'panic') return 'bad';
  if (kind === 'reinstatement') return 'good';
  if (kind === 'alert') return reason.endsWith('_resolved') ? 'good' : 'bad';
  if (kind === 'policy') return /nack|halted|aborted|went_back/.test(reason) ? 'bad' : 'calm';
  if (kind === 'lifecycle') return reason === 'agent_disconnected' ? 'warn' : 'calm';
  return CALM_REASONS.has(reason) ? 'calm' : 'warn';
}

export interface Mark {
  readonly sequence: number;
  readonly x: number;
  readonly lane: Lane;
  readonly tone: 'good' | 'warn' | 'bad' | 'calm';
  readonly text: string;
}

/** Marks between `left` and `right` px for events of the span; others are left out. */
export function placeMarks(
  events: readonly FleetEvent[],
  { fromMs, toMs, left, right }: { fromMs: number; toMs: number; left: number; right: number },
): Mark[] {
  return events.flatMap((event) => {
    if (event.atEpochMs < fromMs || event.atEpochMs > toMs) return [];
    const x = left + ((event.atEpochMs - fromMs) / (toMs - fromMs)) * (right - left);
    return [{ sequence: event.sequence, x, lane: laneOf(event), tone: toneOf(event), text: event.text }];
  });
}

/** One thing that several agents told. */
export interface EventGroup {
  readonly event: FleetEvent;
  readonly agentIds: readonly string[];
}

/** What many agents say at one time in the same words is one line: a push to a hundred agents is not a hundred lines. */
const SAME_TIME_MS = 3_000;

export function groupEvents(events: readonly FleetEvent[]): EventGroup[] {
  const groups: { event: FleetEvent; agentIds: string[] }[] = [];
  const latest = new Map<string, { event: FleetEvent; agentIds: string[] }>();
  for (const event of events) {
    const key = JSON.stringify([event.kind, event.reason, event.text]);
    const group = latest.get(key);
    const { agentId } = event;
    if (group !== undefined && agentId !== null && Math.abs(event.atEpochMs - group.event.atEpochMs) <= SAME_TIME_MS) {
      if (!group.agentIds.includes(agentId)) group.agentIds.push(agentId);
      continue;
    }
    const made = { event, agentIds: agentId === null ? [] : [agentId] };
    latest.set(key, made);
    groups.push(made);
  }
  return groups;
}
