// `GET /v1/events`: the whole state when a page connects, then only what changed, at most twice a second, and every mesh
// event as it happens. One comparison serves all pages. A page that reads too slowly gets the whole state again later.

import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { AgentView } from '../core/agent-view.ts';
import { edgeNameOf } from '../core/traffic.ts';
import type { EdgeTotal, FleetEvent, ServiceView } from '../core/views.ts';
import { textAnswer } from './answers.ts';
import { ApiError } from './problem.ts';

/** Least time between two `changes`. */
export const CHANGES_EVERY_MS = 500;
/** Above the time between two reports of one agent. */
const AGE_STEP_MS = 5_000;
const HEARTBEAT_MS = 15_000;
/** A page whose socket took no bytes for this long is cut: it would hold one of the places for ever. */
export const STALLED_AFTER_MS = 45_000;
/** Pages at one time; an open page costs the rollup twice a second. */
export const CLIENT_LIMIT = 200;

/** What a page shows, without the events. */
export interface FleetState {
  readonly version: number;
  readonly services: readonly ServiceView[];
  readonly agents: readonly AgentView[];
  readonly edges: readonly EdgeTotal[];
}

export interface BroadcasterOptions {
  readonly state: () => FleetState;
  readonly events: () => readonly FleetEvent[];
  readonly epochMs: () => number;
  readonly now: () => number;
}

interface Client {
  readonly response: ServerResponse;
  /** Since when its socket has bytes to send, or null. A frame above the socket's mark sets it even for a quick reader. */
  blockedSince: number | null;
  /** Whether something was left out meanwhile; then the whole state follows. */
  hasMissed: boolean;
}

export class Broadcaster {
  readonly #state: () => FleetState;
  readonly #events: () => readonly FleetEvent[];
  readonly #epochMs: () => number;
  readonly #now: () => number;
  readonly #clients = new Set<Client>();
  /** What every page that is not behind has: JSON by key, so that a change is one comparison of texts. */
  #shown = new Map<string, string>();
  /** The whole state as of the last comparison, made when somebody needs it: many slow pages cost one rollup. */
  #stateText: string | null = null;
  #sentSequence = 0;
  #timer: NodeJS.Timeout | null = null;
  #lastBeatAt = 0;

  constructor({ state, events, epochMs, now }: BroadcasterOptions) {
    this.#state = state;
    this.#events = events;
    this.#epochMs = epochMs;
    this.#now = now;
  }

  get size(): number {
    return this.#clients.size;
  }

  /** False when there are too many pages already. */
  connect(response: ServerResponse): boolean {
    if (this.#clients.size >= CLIENT_LIMIT) return false;
    const client: Client = { response, blockedSince: null, hasMissed: false };
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    });
    response.on('drain', () => {
      client.blockedSince = null;
      if (client.hasMissed) this.#sendState(client);
    });
    response.on('error', () => this.#drop(client));
    response.on('close', () => this.#drop(client));
    // The others are brought up to date first, so that all share one base of comparison.
    if (this.#clients.size === 0) this.#take();
    else this.tick();
    this.#clients.add(client);
    this.#sendState(client);
    this.#timer ??= setInterval(() => this.tick(), CHANGES_EVERY_MS);
    return true;
  }

  /** Sends what is new since the last tick. O(fleet), and nothing at all without a page. */
  tick(): void {
    if (this.#clients.size === 0) return;
    this.#cutStalled();
    const { changes, events } = this.#take();
    const isBeat = this.#epochMs() - this.#lastBeatAt >= HEARTBEAT_MS;
    if (isBeat) this.#lastBeatAt = this.#epochMs();
    const text =
      events.map((event) => frame('mesh', event)).join('') +
      (changes === null ? '' : frame('changes', changes)) +
      (isBeat ? ': heartbeat\n\n' : '');
    if (text === '') return;
    const hasNews = changes !== null || events.length > 0;
    for (const client of this.#clients) {
      if (client.blockedSince === null) this.#write(client, text);
      else if (hasNews) client.hasMissed = true;
    }
  }

  close(): void {
    this.#stopTimer();
    for (const { response } of this.#clients) response.end();
    this.#clients.clear();
  }

  /** What is new, and from now on known. */
  #take(): { readonly changes: object | null; readonly events: readonly FleetEvent[] } {
    const events = this.#events().filter(({ sequence }) => sequence > this.#sentSequence);
    this.#sentSequence = events.at(-1)?.sequence ?? this.#sentSequence;
    this.#stateText = null;
    return { changes: this.#compare(), events };
  }

  #compare(): object | null {
    const { version, services, agents, edges } = this.#state();
    const next = new Map<string, string>([['version', String(version)]]);
    const changedServices = services.filter((view) => this.#isNew(next, `service ${view.service}`, view));
    const changedAgents = agents.filter((view) => this.#isNew(next, `agent ${view.id}`, view));
    const changedEdges = edges.filter((view) => this.#isNew(next, `edge ${edgeNameOf(view)}`, view));
    const removed = [...this.#shown.keys()].filter((key) => !next.has(key));
    const isSame = this.#shown.get('version') === String(version);
    this.#shown = next;
    if (isSame && changedServices.length + changedAgents.length + changedEdges.length + removed.length === 0)
      return null;
    return {
      version,
      atEpochMs: this.#epochMs(),
      services: changedServices,
      agents: changedAgents,
      edges: changedEdges,
      removed,
    };
  }

  /** An age that grows between two reports is no news, one that outgrows them is. */
  #isNew(next: Map<string, string>, key: string, view: object & { readonly dataAgeMs?: number | null }): boolean {
    const { dataAgeMs, ...rest } = view;
    const text = JSON.stringify({ ...rest, age: Math.floor((dataAgeMs ?? 0) / AGE_STEP_MS) });
    next.set(key, text);
    return this.#shown.get(key) !== text;
  }

  #sendState(client: Client): void {
    client.hasMissed = false;
    this.#stateText ??= frame('state', { ...this.#state(), atEpochMs: this.#epochMs(), events: this.#events() });
    this.#write(client, this.#stateText);
  }

  #write(client: Client, text: string): void {
    if (!client.response.write(text)) client.blockedSince = this.#now();
  }

  #cutStalled(): void {
    for (const { response, blockedSince } of this.#clients) {
      if (blockedSince !== null && this.#now() - blockedSince > STALLED_AFTER_MS) response.destroy();
    }
  }

  #drop(client: Client): void {
    this.#clients.delete(client);
    if (this.#clients.size === 0) this.#stopTimer();
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

export async function eventRoutes(app: FastifyInstance, { broadcaster }: { broadcaster: Broadcaster }): Promise<void> {
  const schema = {
    summary: 'Live state of the mesh (server-sent events: state, changes, mesh)',
    tags: ['services'],
    response: { 200: textAnswer('events', 'text/event-stream') },
  };
  // HEAD would open a stream that nobody can read.
  const exposeHeadRoute = false;
  app.get(
    '/v1/events',
    { exposeHeadRoute, config: { access: ['viewer'] as const }, schema },
    async (_request, reply) => {
      if (!broadcaster.connect(reply.raw)) {
        throw new ApiError('OTR_ERR_UNAVAILABLE', `${CLIENT_LIMIT} pages are open already`);
      }
      reply.hijack();
      return reply;
    },
  );
}

function frame(event: string, data: object): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
