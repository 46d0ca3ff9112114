// What `GET /v1/events` sends, and how it changes what is shown. Pure: a state and a frame in, a state out.

import type { AgentView } from '../../../core/agent-view.ts';
import type { FleetEvent, ServiceView } from '../../../core/views.ts';

/** As many as the control plane keeps. */
const EVENT_LIMIT = 500;

export interface MeshState {
  readonly version: number;
  /** The control plane's clock at the last frame; null before the first. */
  readonly atEpochMs: number | null;
  readonly services: ReadonlyMap<string, ServiceView>;
  readonly agents: ReadonlyMap<string, AgentView>;
  /** Oldest first. */
  readonly events: readonly FleetEvent[];
}

export const EMPTY_MESH: MeshState = {
  version: 0,
  atEpochMs: null,
  services: new Map(),
  agents: new Map(),
  events: [],
};

interface Changes {
  readonly version: number;
  readonly atEpochMs: number;
  readonly services: readonly ServiceView[];
  readonly agents: readonly AgentView[];
  readonly removed?: readonly string[];
  readonly events?: readonly FleetEvent[];
}

/** Events that this page does not know change nothing: the control plane may be newer. */
export function applyFrame(mesh: MeshState, event: string, data: unknown): MeshState {
  if (event === 'mesh') return { ...mesh, events: [...mesh.events, data as FleetEvent].slice(-EVENT_LIMIT) };
  if (event !== 'state' && event !== 'changes') return mesh;
  const { version, atEpochMs, services, agents, removed = [], events } = data as Changes;
  const isWhole = event === 'state';
  const nextServices = new Map(isWhole ? [] : mesh.services);
  const nextAgents = new Map(isWhole ? [] : mesh.agents);
  for (const key of removed) {
    const space = key.indexOf(' ');
    (key.slice(0, space) === 'service' ? nextServices : nextAgents).delete(key.slice(space + 1));
  }
  for (const view of services) nextServices.set(view.service, view);
  for (const view of agents) nextAgents.set(view.id, view);
  return { version, atEpochMs, services: nextServices, agents: nextAgents, events: events ?? mesh.events };
}

/** Splits the text of a stream into frames; what is not whole yet is the rest. Comments (heartbeats) are frames without event. */
export function takeFrames(text: string): { frames: { event: string; data: string }[]; rest: string } {
  const blocks = text.split('\n\n');
  const rest = blocks.pop() ?? '';
  const frames = blocks.flatMap((block) => {
    const lines = block.split('\n');
    const field = (name: string): string =>
      lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? '';
    const event = field('event');
    return event === '' ? [] : [{ event, data: field('data') }];
  });
  return { frames, rest };
}
