// One server-sent-events stream to one agent. It keeps at most one waiting push, the newest: a slow agent skips versions
// instead of growing a queue. It knows nothing of stores and ledgers.

import type { ServerResponse } from 'node:http';
import { writeEventId } from '#contract/event-id.ts';

/** A comment this often keeps proxies from closing the stream and lets the agent notice a dead control plane. */
export const HEARTBEAT_MS = 15_000;
/** A stream whose bytes did not move for this long is cut; the agent connects again when it can. */
export const STALLED_AFTER_MS = 45_000;

/** A PolicyPush whose documents are JSON already: the text is made once for all agents that get the same. */
export interface OutgoingPush {
  readonly version: number;
  readonly generation: string;
  readonly nonce: string;
  readonly documentsJson: string;
  /** It holds a staged change that not everybody has. */
  readonly isTrial: boolean;
}

export interface SessionTiming {
  readonly heartbeatMs: number;
  readonly stalledAfterMs: number;
}

export interface SessionOptions {
  readonly response: ServerResponse;
  /** Called when a push is really written, which under back-pressure may be later than `push`, or never. */
  readonly onSent: (push: OutgoingPush) => void;
  /** Called once, however the stream ends. */
  readonly onClose: () => void;
  readonly now: () => number;
  readonly timing?: SessionTiming | undefined;
}

const DEFAULT_TIMING: SessionTiming = { heartbeatMs: HEARTBEAT_MS, stalledAfterMs: STALLED_AFTER_MS };

export class Session {
  readonly #response: ServerResponse;
  readonly #onSent: (push: OutgoingPush) => void;
  readonly #now: () => number;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #stalledAfterMs: number;
  #waiting: OutgoingPush | null = null;
  #waitingAdvice: string | null = null;
  /** How to say what is to be told of a service, by service: made when the socket takes it. */
  readonly #waitingEndpoints = new Map<string, () => string | null>();
  /** When the socket stopped taking bytes; null while it takes them. */
  #blockedAt: number | null = null;
  #isClosed = false;

  constructor({ response, onSent, onClose, now, timing = DEFAULT_TIMING }: SessionOptions) {
    this.#response = response;
    this.#onSent = onSent;
    this.#now = now;
    this.#stalledAfterMs = timing.stalledAfterMs;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    });
    response.flushHeaders();
    response.on('drain', () => this.#drained());
    response.on('error', () => this.close());
    response.on('close', () => {
      this.close();
      onClose();
    });
    this.#heartbeat = setInterval(() => this.#beat(), timing.heartbeatMs);
  }

  /** Sends now, or keeps the push in place of any older one until the socket takes bytes again. */
  push(push: OutgoingPush): void {
    if (this.#isClosed) return;
    if (this.#blockedAt !== null) {
      this.#waiting = push;
      return;
    }
    // The verdict can arrive in the same turn as the write returns, so the ledger hears of the push first.
    this.#onSent(push);
    const { version, generation, nonce, documentsJson } = push;
    const head = JSON.stringify({ version, ...(generation === '' ? {} : { generation }), nonce });
    const data = `${head.slice(0, -1)},"documents":${documentsJson}}`;
    this.#write(`event: policies\nid: ${writeEventId(push)}\ndata: ${data}\n\n`);
  }

  /** As a push, but without an id: the agent's place in the policies is not touched. @param adviceJson  an AdvicePush */
  advise(adviceJson: string): void {
    if (this.#isClosed) return;
    if (this.#blockedAt === null) this.#write(`event: advice\ndata: ${adviceJson}\n\n`);
    else this.#waitingAdvice = adviceJson;
  }

  /** One event about one service, as new as can be. @param textOf  its data as JSON, null for nothing */
  endpoints(service: string, textOf: () => string | null): void {
    if (this.#isClosed) return;
    if (this.#blockedAt !== null) {
      this.#waitingEndpoints.set(service, textOf);
      return;
    }
    const text = textOf();
    if (text !== null) this.#write(`event: endpoints\ndata: ${text}\n\n`);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#waiting = null;
    this.#waitingEndpoints.clear();
    clearInterval(this.#heartbeat);
    this.#response.end();
    // `end` waits for bytes that a stalled peer never takes.
    if (this.#blockedAt !== null) this.#response.destroy();
  }

  #write(text: string): void {
    if (!this.#response.write(text)) this.#blockedAt = this.#now();
  }

  #drained(): void {
    this.#blockedAt = null;
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting !== null) this.push(waiting);
    const advice = this.#waitingAdvice;
    this.#waitingAdvice = null;
    if (advice !== null) this.advise(advice);
    for (const [service, textOf] of this.#waitingEndpoints) {
      if (this.#blockedAt !== null) return;
      this.#waitingEndpoints.delete(service);
      this.endpoints(service, textOf);
    }
  }

  #beat(): void {
    if (this.#blockedAt === null) this.#write(': heartbeat\n\n');
    else if (this.#now() - this.#blockedAt > this.#stalledAfterMs) this.#response.destroy();
  }
}
