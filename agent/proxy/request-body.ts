// The part of a request's body that is kept so that another attempt can send it again. Beyond REPLAY_BYTES nothing is kept
// and the request can be tried once.

import { BUFFER_BYTES } from './scope.ts';

const REPLAY_BYTES = BUFFER_BYTES;
/** Up to this size head and body leave in one string: one system call, one copy. */
const INLINE_BYTES = 8192;

export class RequestBody {
  /** Everything has come from the downstream. */
  isWhole = false;
  /** Bytes that have come. */
  receivedBytes = 0;
  readonly isChunked: boolean;
  #pieces: Buffer[] = [];
  #keptBytes = 0;
  #isOverflown = false;

  constructor(isChunked: boolean) {
    this.isChunked = isChunked;
  }

  /** False when a part went out without being kept. */
  get isReplayable(): boolean {
    return !this.#isOverflown;
  }

  /** True when the downstream should be paused until an upstream takes what is here. */
  get isFull(): boolean {
    return this.#keptBytes >= REPLAY_BYTES;
  }

  keep(piece: Buffer): void {
    this.receivedBytes += piece.length;
    this.#keptBytes += piece.length;
    this.#pieces.push(piece);
  }

  /** Counts a piece that goes straight to the upstream; keeps it while there is room, else gives up on replaying. */
  pass(piece: Buffer): void {
    if (this.#isOverflown || this.#keptBytes + piece.length > REPLAY_BYTES) {
      this.receivedBytes += piece.length;
      this.release();
    } else this.keep(piece);
  }

  /** Nothing will be sent again: the response is on its way, or the rest would be missing. */
  release(): void {
    this.#isOverflown = true;
    this.#pieces = [];
    this.#keptBytes = 0;
  }

  /** Head and all that has come, as one string, or null when that is too much for one. */
  inline(head: string): string | null {
    if (this.#keptBytes > INLINE_BYTES) return null;
    let text = head;
    for (const piece of this.#pieces) {
      const data = piece.toString('latin1');
      text += this.isChunked ? `${piece.length.toString(16)}\r\n${data}\r\n` : data;
    }
    return this.isChunked && this.isWhole ? `${text}0\r\n\r\n` : text;
  }

  get pieces(): readonly Buffer[] {
    return this.#pieces;
  }

  /** After everything kept was written once: a body larger than the limit cannot be sent a second time. */
  settle(): void {
    if (this.#keptBytes > REPLAY_BYTES) this.release();
  }
}
