// Who is connected, and who gets what. A new version goes to every open stream, a step of a staged change only to those that it
// concerns; each stream gets the set in force when it opens. It never repeats a version on one stream, so a set that an agent
// refused is not sent to it in a loop; the one exception is a stream that becomes its agent's own when a successor went away.

import type { ServerResponse } from 'node:http';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { EndpointPushes } from './endpoint-pushes.ts';
import type { PushSet } from './push-set.ts';
import { type OutgoingPush, Session, type SessionTiming } from './session.ts';

/** Changes that follow each other faster than this travel together: the first at once, the rest as one. */
export const DEBOUNCE_MS = 20;

/** Where the hub tells what happened; the ledger behind it. */
export interface HubEvents {
  connected(agentId: string): void;
  disconnected(agentId: string): void;
  pushed(agentId: string, push: OutgoingPush): void;
}

export interface HubOptions {
  /** Set in force before the first change. */
  readonly initial: PushSet;
  readonly events: HubEvents;
  /** A new unguessable word per call: a verdict proves with it which push it answers. */
  readonly createNonce: () => string;
  readonly now: () => number;
  /** What an agent beside `service` is sent of a set; everything when absent. Asked once per service and version. */
  readonly select?: (service: string, documents: readonly PolicyDocument[]) => readonly PolicyDocument[];
  /** Tells streams about endpoints; absent: nobody watches Consul here. */
  readonly endpoints?: EndpointPushes | null;
  /** What an agent beside `service` may know of, given the documents; everything when absent. */
  readonly visible?: (service: string, documents: readonly PolicyDocument[]) => (name: string) => boolean;
  /** Heartbeats and patience with agents that do not read; those of session.ts when absent. */
  readonly timing?: SessionTiming;
}

/** Processes of one agent at once: during a restart with overlap there are two. */
const MAX_LIVES = 2;

/** A stream that an agent asks for. */
export interface Connection {
  readonly agentId: string;
  /** Names the agent's process. */
  readonly life: string;
  /** Null: the agent did not say, and is sent everything. */
  readonly service: string | null;
  readonly response: ServerResponse;
}

interface Stream {
  /** Names the agent's process. */
  readonly life: string;
  readonly service: string | null;
  readonly session: Session;
  /** The list that it was sent last, before the selection for its service; by identity. */
  sent: readonly PolicyDocument[] | null;
}

export class Hub {
  readonly #events: HubEvents;
  readonly #createNonce: () => string;
  readonly #now: () => number;
  readonly #timing: SessionTiming | undefined;
  /** By agent, never empty. The last stream speaks for the agent; the others are sent the same and noted nowhere. */
  readonly #streams = new Map<string, readonly Stream[]>();
  readonly #select: NonNullable<HubOptions['select']>;
  /** Of the set in force and of the trial, as JSON by service: agents beside one service share a selection. */
  readonly #texts = new Map<readonly PolicyDocument[], Map<string | null, string>>();
  readonly #endpoints: EndpointPushes | null;
  readonly #visible: NonNullable<HubOptions['visible']>;
  /** By document list and service, as the texts. */
  readonly #views = new Map<readonly PolicyDocument[], Map<string, (name: string) => boolean>>();
  #current: PushSet;
  #pushedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: HubOptions) {
    const { initial, events, createNonce, now, timing, endpoints = null } = options;
    this.#select = options.select ?? ((_service, all) => all);
    this.#visible = options.visible ?? (() => () => true);
    this.#endpoints = endpoints;
    this.#current = initial;
    this.#events = events;
    this.#createNonce = createNonce;
    this.#now = now;
    this.#timing = timing;
  }

  /** Streams that are open. */
  get size(): number {
    let size = 0;
    for (const streams of this.#streams.values()) size += streams.length;
    return size;
  }

  /** Of the store that counts the versions. */
  get generation(): string {
    return this.#current.generation;
  }

  /** Version in force. */
  get version(): number {
    return this.#current.version;
  }

  /**
   * Takes over a response as the agent's stream and sends the set in force at once, whatever version the agent says it
   * has: the agent needs a nonce to answer, a set is small, and applying it twice changes nothing.
   *
   * An older stream of the same life is closed: the agent came back before its old socket was known to be dead. That of
   * another life stays, because both processes of a restart with overlap need their policies and would otherwise take the
   * stream from each other in turns.
   */
  connect({ agentId, life, service, response }: Connection): void {
    if (this.#isClosed) {
      response.destroy();
      return;
    }
    const session = new Session({
      response,
      now: this.#now,
      timing: this.#timing,
      onSent: (push) => {
        if (this.#speakerOf(agentId) === session) this.#events.pushed(agentId, push);
      },
      onClose: () => this.#closed(agentId, session),
    });
    const older = this.#streams.get(agentId) ?? [];
    const kept = older.filter((stream) => stream.life !== life).slice(1 - MAX_LIVES);
    const stream: Stream = { life, service, session, sent: null };
    this.#streams.set(agentId, [...kept, stream]);
    for (const former of older) if (!kept.includes(former)) former.session.close();
    this.#events.connected(agentId);
    this.#push(agentId, stream);
  }

  /** A new set is in force. Pushes in this turn, or, within DEBOUNCE_MS of the last push, at the end of that time. */
  publish(set: PushSet): void {
    if (isSame(set, this.#current) || this.#isClosed) return;
    this.#current = set;
    this.#texts.clear();
    this.#views.clear();
    this.#endpoints?.judgeAgain();
    if (this.#timer !== null) return;
    const waitMs = this.#pushedAt + DEBOUNCE_MS - this.#now();
    if (waitMs <= 0) this.#pushAll();
    else this.#timer = setTimeout(() => this.#pushAll(), waitMs);
  }

  /** To every process of the agent that has a stream. @param adviceJson  an AdvicePush */
  advise(agentId: string, adviceJson: string): void {
    for (const { session } of this.#streams.get(agentId) ?? []) session.advise(adviceJson);
  }

  /**
   * What a process of an agent wants to know the endpoints of: all of it.
   *
   * @returns `nobody` when Consul is not watched here, `no_stream` when that process has no stream here
   */
  watch(agentId: string, life: string, services: readonly string[]): 'ok' | 'nobody' | 'no_stream' {
    if (this.#endpoints === null) return 'nobody';
    const stream = this.#streams.get(agentId)?.find((one) => one.life === life);
    if (stream === undefined) return 'no_stream';
    const { session, service } = stream;
    this.#endpoints.set(session, services, (name) => this.#viewFor(agentId, service)(name));
    return 'ok';
  }

  /** Ends every stream now, so that agents look for another control plane at once. */
  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const streams of this.#streams.values()) for (const { session } of streams) session.close();
  }

  #pushAll(): void {
    this.#timer = null;
    this.#pushedAt = this.#now();
    for (const [agentId, streams] of this.#streams) {
      for (const stream of streams) {
        // In a trial a version can be a step that changes nothing for this agent.
        const isLeftAlone = this.#current.trial !== null && stream.sent === this.#documentsFor(agentId);
        if (!isLeftAlone) this.#push(agentId, stream);
      }
    }
  }

  #speakerOf(agentId: string): Session | null {
    return this.#streams.get(agentId)?.at(-1)?.session ?? null;
  }

  #closed(agentId: string, session: Session): void {
    const streams = this.#streams.get(agentId) ?? [];
    const left = streams.filter((stream) => stream.session !== session);
    this.#endpoints?.remove(session);
    // A stream that was replaced must not take its successor out.
    if (left.length === streams.length) return;
    const wasSpeaker = this.#speakerOf(agentId) === session;
    if (left.length > 0) {
      this.#streams.set(agentId, left);
      // Pushed again for a verdict of the process that is left.
      const speaker = left.at(-1);
      if (wasSpeaker && speaker !== undefined) this.#push(agentId, speaker);
      return;
    }
    this.#streams.delete(agentId);
    this.#events.disconnected(agentId);
  }

  #push(agentId: string, stream: Stream): void {
    const documents = this.#documentsFor(agentId);
    stream.sent = documents;
    const documentsJson = this.#textFor(stream.service, documents);
    const { version, generation, trial } = this.#current;
    const isTrial = documents === trial?.documents;
    stream.session.push({ version, generation, nonce: this.#createNonce(), documentsJson, isTrial });
  }

  #viewFor(agentId: string, service: string | null): (name: string) => boolean {
    if (service === null) return () => true;
    const documents = this.#documentsFor(agentId);
    const views = this.#views.get(documents) ?? new Map<string, (name: string) => boolean>();
    this.#views.set(documents, views);
    const view = views.get(service) ?? this.#visible(service, documents);
    views.set(service, view);
    return view;
  }

  #documentsFor(agentId: string): readonly PolicyDocument[] {
    const { documents, trial } = this.#current;
    return trial?.isIn(agentId) === true ? trial.documents : documents;
  }

  #textFor(service: string | null, documents: readonly PolicyDocument[]): string {
    const texts = this.#texts.get(documents) ?? new Map<string | null, string>();
    this.#texts.set(documents, texts);
    const text = texts.get(service) ?? JSON.stringify(service === null ? documents : this.#select(service, documents));
    texts.set(service, text);
    return text;
  }
}

/** A store that was restored can have other documents under a version that it had before. */
function isSame(one: PushSet, other: PushSet): boolean {
  const isSameVersion = one.version === other.version && one.generation === other.generation;
  return isSameVersion && one.documents === other.documents && one.trial?.documents === other.trial?.documents;
}
