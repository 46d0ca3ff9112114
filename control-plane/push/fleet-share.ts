// The whole fleet on every control plane: tells the others about the agents here, reads what they tell about theirs, and answers for all
// of them. One small note each, replaced every few seconds; Consul being away costs nothing but the others' part.

import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { type AgentView, agentView, agentViews } from '../core/agent-view.ts';
import type { Clock } from '../core/clock.ts';
import type { Fleet, Member } from '../core/fleet.ts';
import {
  agedAgent,
  agedEdge,
  agedService,
  cutNote,
  DEEPEST_CUT,
  type Elsewhere,
  elsewhereOf,
  type FleetNote,
  isFresher,
  NOBODY_ELSEWHERE,
  NOTE_FORM,
  type NotedAgent,
  noteFault,
} from '../core/fleet-note.ts';
import type { Ledger } from '../core/ledger.ts';
import { serviceParts } from '../core/rollup.ts';
import { type ServicePart, serviceViews } from '../core/service-part.ts';
import { type EdgePart, edgeParts, edgeViews } from '../core/traffic.ts';
import type { AdminPlace, EdgeTotal, FleetEvent, ServiceView } from '../core/views.ts';
import type { Board } from '../store/board.ts';

const SUBJECT = 'fleet';
export const SHARE_EVERY_MS = 5_000;
/** A control plane that has left no word for this long is gone, and its agents are elsewhere by then. */
export const GONE_AFTER_MS = 30_000;
/** Consul takes values of 512 KiB; the note is packed, and its envelope small. */
export const NOTE_LIMIT_BYTES = 448 * 1024;
/** What a note may become when it is unpacked: nobody wrote a larger one. */
const UNPACKED_LIMIT_BYTES = 64 * 1024 * 1024;
const EVENTS_TOLD = 100;

const pack = promisify(gzip);
const unpack = promisify(gunzip);

export interface FleetShareOptions {
  readonly board: Board;
  readonly fleet: Fleet;
  readonly ledger: Ledger;
  readonly clock: Clock;
  /** Of this machine. */
  readonly host: string;
  /** Told in a sentence what an operator must know. */
  readonly onNotice: (text: string) => void;
  /** SHARE_EVERY_MS when absent. */
  readonly everyMs?: number | undefined;
}

export class FleetShare {
  readonly #options: FleetShareOptions;
  #heardLast: Elsewhere = NOBODY_ELSEWHERE;
  /** Monotonic ms. */
  #heardAt = 0;
  /** Newest event that was taken over from each other control plane. */
  readonly #heard = new Map<string, number>();
  #cut = 0;
  #lastFault = '';
  /** What was said of notes that cannot be read; the same is said once. */
  readonly #unreadable = new Set<string>();
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> = Promise.resolve();

  constructor(options: FleetShareOptions) {
    this.#options = options;
  }

  /** Nothing happens where there is nobody to tell. */
  start(): void {
    const { board, everyMs = SHARE_EVERY_MS } = this.#options;
    if (board.isAlone || this.#timer !== null) return;
    let isRunning = false;
    this.#timer = setInterval(() => {
      if (isRunning) return;
      isRunning = true;
      this.#running = this.#run().finally(() => {
        isRunning = false;
      });
    }, everyMs);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#running;
  }

  /** All agents by name, each once. */
  agents(): AgentView[] {
    const { ledger, fleet, clock } = this.#options;
    const views = new Map(agentViews(ledger, fleet, clock).map((view) => [view.id, view]));
    for (const id of this.#elsewhere().agents.keys()) {
      const view = this.#agentElsewhere(id);
      const own = views.get(id);
      if (view !== null && (own === undefined || isFresher(view, own))) views.set(id, view);
    }
    return [...views.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Null when nobody by that name is known anywhere. Constant time. */
  agent(agentId: string): AgentView | null {
    const { ledger, fleet, clock } = this.#options;
    const own = agentView(agentId, ledger, fleet, clock);
    const other = this.#agentElsewhere(agentId);
    if (own === null || other === null) return own ?? other;
    return isFresher(other, own) ? other : own;
  }

  services(): ServiceView[] {
    const byMs = this.#sinceHeardMs();
    return serviceViews([
      ...this.#ownServiceParts(),
      ...this.#elsewhere().services.map((one) => agedService(one, byMs)),
    ]);
  }

  /** As the agents here see them: for metrics, which Prometheus adds up itself. */
  ownServices(): ServiceView[] {
    return serviceViews(this.#ownServiceParts());
  }

  edges(): EdgeTotal[] {
    const byMs = this.#sinceHeardMs();
    return edgeViews([...this.#ownEdgeParts(), ...this.#elsewhere().edges.map((one) => agedEdge(one, byMs))]);
  }

  /** An agent that another control plane told of: what it counted before it came here is counted there. Constant time. */
  isKnownElsewhere(agentId: string): boolean {
    return this.#elsewhere().agents.has(agentId);
  }

  /** Null when no agent by that name has reported to anybody. */
  adminOf(agentId: string): AdminPlace | null {
    const view = this.agent(agentId);
    if (view === null || view.adminUrl === null) return null;
    const { adminUrl, controlPlane: heardAt } = view;
    const holder = heardAt === null ? this.#options.fleet.get(agentId) : this.#elsewhere().agents.get(agentId);
    const reportedFrom = holder?.reportedFrom ?? null;
    return reportedFrom === null ? null : { adminUrl, reportedFrom, heardAt };
  }

  readonly #isLive = (agentId: string): boolean =>
    this.#options.ledger.stateOf(agentId, this.#options.clock.now()) === 'live';

  /** What was heard last, unless that is long ago. */
  #elsewhere(): Elsewhere {
    return this.#sinceHeardMs() <= GONE_AFTER_MS ? this.#heardLast : NOBODY_ELSEWHERE;
  }

  #sinceHeardMs(): number {
    return this.#options.clock.now() - this.#heardAt;
  }

  #agentElsewhere(agentId: string): AgentView | null {
    const noted = this.#elsewhere().agents.get(agentId);
    return noted === undefined ? null : agedAgent(noted.view, this.#sinceHeardMs());
  }

  /** Without those that have gone to another control plane, which counts them. */
  #ownMembers(): readonly Member[] {
    const { ledger, fleet, clock } = this.#options;
    return fleet.members().filter(({ agentId }) => {
      const other = this.#agentElsewhere(agentId);
      const own = other === null ? null : agentView(agentId, ledger, fleet, clock);
      return other === null || own === null || !isFresher(other, own);
    });
  }

  #ownServiceParts(): ServicePart[] {
    const { fleet, clock } = this.#options;
    return serviceParts(fleet, this.#ownMembers(), this.#isLive, clock.now());
  }

  #ownEdgeParts(): EdgePart[] {
    return edgeParts(this.#ownMembers(), this.#isLive, this.#options.clock.now());
  }

  async #run(): Promise<void> {
    try {
      await this.#tell();
      await this.#hear();
      this.#lastFault = '';
    } catch (error) {
      // Said once: the store tells of it, too, and the others' part grows old for everybody to see.
      this.#notice(
        `the other control planes cannot be told about the agents here: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  async #tell(): Promise<void> {
    const { board, clock, host, fleet, ledger } = this.#options;
    const counted = new Set(this.#ownMembers().map(({ agentId }) => agentId));
    const agents = agentViews(ledger, fleet, clock)
      .filter(({ id }) => fleet.get(id) === null || counted.has(id))
      .map((view): NotedAgent => ({ view, reportedFrom: fleet.get(view.id)?.reportedFrom ?? null }));
    const note: FleetNote = {
      form: NOTE_FORM,
      atEpochMs: clock.epochMs(),
      host,
      agents,
      services: this.#ownServiceParts(),
      edges: this.#ownEdgeParts(),
      events: fleet.events().filter(isOwnNews).slice(-EVENTS_TOLD),
      cut: 0,
    };
    for (let depth = 0; depth <= DEEPEST_CUT; depth++) {
      const packed = (await pack(JSON.stringify(cutNote(note, depth)))).toString('base64');
      if (packed.length > NOTE_LIMIT_BYTES && depth < DEEPEST_CUT) continue;
      if (packed.length > NOTE_LIMIT_BYTES)
        throw new Error(
          `a note about ${agents.length} agents takes ${packed.length} bytes, and ${NOTE_LIMIT_BYTES} are allowed`,
        );
      if (depth !== this.#cut) this.#options.onNotice(cutText(depth));
      this.#cut = depth;
      await board.post(SUBJECT, packed);
      return;
    }
  }

  async #hear(): Promise<void> {
    const { board, fleet, clock } = this.#options;
    const notes: FleetNote[] = [];
    for (const [replica, value] of await board.others(SUBJECT, GONE_AFTER_MS)) {
      const note = await readNote(value);
      if (typeof note === 'string') {
        this.#noticeUnreadable(`the note of control plane ${replica} about its agents ${note}: it is left out`);
        continue;
      }
      notes.push(note);
      const heard = this.#heard.get(replica) ?? 0;
      for (const { sequence, controlPlane: _, ...event } of note.events) {
        if (sequence <= heard) continue;
        this.#heard.set(replica, sequence);
        fleet.tell(event, note.host);
      }
    }
    this.#heardLast = elsewhereOf(notes, clock.epochMs());
    this.#heardAt = clock.now();
  }

  #noticeUnreadable(text: string): void {
    if (this.#unreadable.size >= 100) this.#unreadable.clear();
    if (this.#unreadable.has(text)) return;
    this.#unreadable.add(text);
    this.#options.onNotice(text);
  }

  /** The same fault is said once. */
  #notice(text: string): void {
    if (text === this.#lastFault) return;
    this.#lastFault = text;
    this.#options.onNotice(text);
  }
}

/** What every control plane says of itself needs no telling. */
function isOwnNews({ controlPlane, kind, reason }: FleetEvent): boolean {
  return controlPlane === null && kind !== 'lifecycle' && reason !== 'policy_changed';
}

function cutText(depth: number): string {
  const left = ['nothing', 'who sees and who calls them', 'also endpoints that serve', 'also agents beyond a thousand'][
    depth
  ];
  return `what other control planes are told about the agents here leaves out ${left}, for its size`;
}

/** @returns a text when it cannot be used: what is wrong with it */
async function readNote(value: unknown): Promise<FleetNote | string> {
  if (typeof value !== 'string') return 'is not packed';
  try {
    const text = await unpack(Buffer.from(value, 'base64'), { maxOutputLength: UNPACKED_LIMIT_BYTES });
    const note: unknown = JSON.parse(text.toString());
    return noteFault(note) ?? (note as FleetNote); // noteFault looked at all of it that is used
  } catch (error) {
    return `cannot be unpacked (${error instanceof Error ? error.message : String(error)})`;
  }
}
