// An attempt of an HTTP request: tells what its connection says to whoever decides, and after the head was accepted to whoever
// relays. Decides nothing.

import type { AttemptRecord } from '../core/decision/decision-record.ts';
import type { OutcomeKind } from '../core/outcome.ts';
import type { Stalls } from '../core/self/stalls.ts';
import type { EndpointView } from '../core/snapshot.ts';
import { Attempt } from './attempt.ts';
import type { ResponseHead } from './http1/response-head.ts';
import type { UpstreamConnection, UpstreamSink } from './upstream-connection.ts';

/** Who decides what an attempt leads to, up to the head that is relayed. */
export interface AttemptOwner {
  onConnected(attempt: HttpAttempt): void;
  onInformational(head: ResponseHead): void;
  onSwitched(attempt: HttpAttempt, head: ResponseHead, rest: Buffer): void;
  onHead(attempt: HttpAttempt, head: ResponseHead): void;
  onLost(attempt: HttpAttempt, kind: OutcomeKind): void;
  onDeadline(attempt: HttpAttempt): void;
  /** The connection takes more of the request's body. */
  onBodyDrain(): void;
}

/** Who takes the answer of the attempt whose head was accepted. */
export interface AnswerSink {
  onAnswerBody(bytes: Buffer, ranges: readonly number[], isLast: boolean): void;
  onAnswerRest(): void;
  onAnswerEnd(): void;
  /** It broke off after its head went out. */
  onAnswerBroken(kind: OutcomeKind): void;
  onAnswerDeadline(): void;
}

export class HttpAttempt extends Attempt implements UpstreamSink {
  /** Null before one is lent and after it is gone. */
  connection: UpstreamConnection | null = null;
  /** Set once the head is accepted: from then on nothing can be repeated. */
  answer: AnswerSink | null = null;
  /** What is remembered of it for whoever asks why. */
  readonly record: AttemptRecord;
  readonly #owner: AttemptOwner;

  /** @param stalls  when this process stood still; null where nobody looks */
  constructor(owner: AttemptOwner, endpoint: EndpointView, record: AttemptRecord, now: number, stalls: Stalls | null) {
    super(endpoint, now, stalls);
    this.#owner = owner;
    this.record = record;
  }

  override get isHeadRelayed(): boolean {
    return this.answer !== null;
  }

  onConnected(): void {
    this.#owner.onConnected(this);
  }

  onInformational(head: ResponseHead): void {
    if (this.answer === null) this.#owner.onInformational(head);
  }

  onSwitched(head: ResponseHead, rest: Buffer): void {
    this.#owner.onSwitched(this, head, rest);
  }

  onResponseHead(head: ResponseHead): void {
    this.#owner.onHead(this, head);
  }

  onResponseBody(bytes: Buffer, ranges: readonly number[], isLast: boolean): void {
    this.answer?.onAnswerBody(bytes, ranges, isLast);
  }

  onReadEnd(): void {
    this.answer?.onAnswerRest();
  }

  onResponseEnd(): void {
    this.connection = null;
    this.answer?.onAnswerEnd();
  }

  onUpstreamLost(kind: OutcomeKind): void {
    this.connection = null;
    // Of a connection that was lent: the machine had nothing left to make it of.
    if (kind === 'overflow') this.isOwnFault = true;
    if (this.answer === null) this.#owner.onLost(this, kind);
    else this.answer.onAnswerBroken(kind);
  }

  onUpstreamDrain(): void {
    this.#owner.onBodyDrain();
  }

  onUpstreamDeadline(): void {
    if (this.answer === null) this.#owner.onDeadline(this);
    else this.answer.onAnswerDeadline();
  }

  /** Ends the connection without a word to the upstream. */
  drop(): void {
    this.connection?.destroy();
    this.connection = null;
  }
}
