// The part of a request's body that is kept so that another attempt can send it again. Beyond REPLAY_BYTES nothing is kept
// and the request can be tried once.

import type { Socket } from 'node:net';
import { BODY_CHUNKED, type Framing } from './http1/framing.ts';
import type { RequestHead } from './http1/request-head.ts';
import { BUFFER_BYTES } from './scope.ts';

const REPLAY_BYTES = BUFFER_BYTES;
/** Up to this size head and body leave in one string: one system call, one copy. */
const INLINE_BYTES = 8192;

export type OnWritten = (error?: Error | null) => void;

/** A failure of the first write is told by the socket itself: no answer can have come before it. */
const ignoreError: OnWritten = () => {};

export class RequestBody {
  /** Everything has come from the downstream. */
  isWhole = false;
  /** Bytes that have come. */
  receivedBytes = 0;
  /** Framing towards the upstream. */
  isChunked: boolean;
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

  /** More than may be kept has come. */
  get isBeyondReplay(): boolean {
    return this.#keptBytes > REPLAY_BYTES;
  }

  /** True when the downstream should be paused until an upstream takes what is here. */
  get isFull(): boolean {
    return this.#keptBytes >= REPLAY_BYTES;
  }

  /** How the request is framed towards the upstream, which differs from `head` once the body was given a length. */
  framingOf({ framing }: RequestHead): Framing {
    return framing === BODY_CHUNKED && !this.isChunked ? this.receivedBytes : framing;
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

  /**
   * The whole body in memory of its own; null when it is more than may be kept, or a part of it was let go.
   *
   * @param rest  a last piece, which is not kept yet
   */
  copy(rest: Buffer | null): Buffer | null {
    const restBytes = rest === null ? 0 : rest.length;
    if (this.#isOverflown || this.#keptBytes + restBytes > REPLAY_BYTES) return null;
    return Buffer.concat(rest === null ? this.#pieces : [...this.#pieces, rest]);
  }

  /** Nothing will be sent again: the response is on its way, or the rest would be missing. */
  release(): void {
    this.#isOverflown = true;
    this.#pieces = [];
    this.#keptBytes = 0;
  }

  /** Writes the head and all that has come, together; false when the socket wants a pause. */
  writeAll(socket: Socket, head: string): boolean {
    const hasRoom =
      this.#keptBytes > INLINE_BYTES ? this.#writeApart(socket, head) : socket.write(this.#inline(head), 'latin1');
    // A body larger than the limit went out once and cannot be sent a second time.
    if (this.#keptBytes > REPLAY_BYTES) this.release();
    return hasRoom;
  }

  #inline(head: string): string {
    let text = head;
    for (const piece of this.#pieces) {
      const data = piece.toString('latin1');
      text += this.isChunked ? `${piece.length.toString(16)}\r\n${data}\r\n` : data;
    }
    return this.isChunked && this.isWhole ? `${text}0\r\n\r\n` : text;
  }

  #writeApart(socket: Socket, head: string): boolean {
    socket.cork();
    socket.write(head, 'latin1');
    for (const piece of this.#pieces) this.writePiece(socket, piece, ignoreError);
    if (this.isWhole) this.writeEnd(socket, ignoreError);
    socket.uncork();
    return !socket.writableNeedDrain;
  }

  /** One piece in the request's framing; false when the socket wants a pause. `onWritten` hears of a failure first. */
  writePiece(socket: Socket, piece: Buffer, onWritten: OnWritten): boolean {
    if (!this.isChunked) return socket.write(piece, onWritten);
    socket.cork();
    socket.write(`${piece.length.toString(16)}\r\n`, 'latin1');
    socket.write(piece, onWritten);
    socket.write('\r\n', 'latin1');
    socket.uncork();
    return !socket.writableNeedDrain;
  }

  writeEnd(socket: Socket, onWritten: OnWritten): void {
    if (this.isChunked) socket.write('0\r\n\r\n', 'latin1', onWritten);
  }
}
