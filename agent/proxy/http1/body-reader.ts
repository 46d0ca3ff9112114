// One reader for every framing: tells which ranges of the incoming bytes are body and where the message ends. Reused from
// message to message on a connection; allocates a decoder only for chunked ones.

import { ChunkedDecoder } from './chunked.ts';
import { BODY_CHUNKED, BODY_NONE, BODY_UNTIL_CLOSE, type Framing } from './framing.ts';

export class BodyReader {
  #framing: Framing = BODY_NONE;
  #remaining = 0;
  #decoder: ChunkedDecoder | null = null;

  /**
   * Starts the body of the next message.
   *
   * @param boundsOverhead  refuse chunked bodies that are mostly framing
   */
  reset(framing: Framing, boundsOverhead: boolean): void {
    this.#framing = framing;
    this.#remaining = framing > 0 ? framing : 0;
    this.#decoder = framing === BODY_CHUNKED ? new ChunkedDecoder(boundsOverhead) : null;
  }

  get isDone(): boolean {
    if (this.#decoder !== null) return this.#decoder.isDone;
    return this.#framing === BODY_UNTIL_CLOSE ? false : this.#remaining === 0;
  }

  /** Why the body is refused, or null. */
  get fault(): string | null {
    return this.#decoder === null ? null : this.#decoder.fault;
  }

  /** True when the end of the connection would complete the message. */
  get endsWithConnection(): boolean {
    return this.#framing === BODY_UNTIL_CLOSE;
  }

  /**
   * Reads on.
   *
   * @param ranges  receives start and end of each run of body bytes
   * @returns       offset behind the last byte of this message
   */
  read(bytes: Uint8Array, start: number, end: number, ranges: number[]): number {
    if (this.#decoder !== null) return this.#decoder.read(bytes, start, end, ranges);
    const take = this.#framing === BODY_UNTIL_CLOSE ? end - start : Math.min(this.#remaining, end - start);
    if (take > 0) ranges.push(start, start + take);
    this.#remaining -= this.#framing === BODY_UNTIL_CLOSE ? 0 : take;
    return start + take;
  }
}

/** One piece of bytes out of ranges: a view when there is one range, a joined copy when there are more. */
export function joinRanges(bytes: Buffer, ranges: readonly number[]): Buffer {
  if (ranges.length === 2) return bytes.subarray(ranges[0], ranges[1]);
  const parts: Buffer[] = [];
  for (let index = 0; index < ranges.length; index += 2) parts.push(bytes.subarray(ranges[index], ranges[index + 1]));
  return Buffer.concat(parts);
}
