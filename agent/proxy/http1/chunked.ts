// Incremental decoder of the chunked coding (RFC 9112 7.1). Yields the ranges that hold data; sizes, extensions and trailers
// are checked and dropped. Any doubt ends the message: `fault` is set and nothing behind it is ever read.

import { FIELD_VALUE, hexValue, TOKEN } from './char-tables.ts';

const SIZE_FIRST = 0;
const SIZE = 1;
const EXTENSION_FIRST = 2;
const EXTENSION_NAME = 3;
const EXTENSION_VALUE_FIRST = 4;
const EXTENSION_VALUE = 5;
const EXTENSION_QUOTED = 6;
const EXTENSION_ESCAPE = 7;
const EXTENSION_AFTER_QUOTE = 8;
const SIZE_LF = 9;
const DATA = 10;
const DATA_CR = 11;
const DATA_LF = 12;
const TRAILER_FIRST = 13;
const TRAILER_NAME = 14;
const TRAILER_VALUE = 15;
const TRAILER_LF = 16;
const END_LF = 17;
const DONE = 18;

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;

const MAX_SIZE_DIGITS = 16;
const MAX_CHUNK_EXTENSION_BYTES = 256;
const MAX_EXTENSION_BYTES = 4096;
const MAX_TRAILER_BYTES = 4096;
const MAX_TRAILER_FIELDS = 32;
/** Framing may cost four times the data once it is beyond this many bytes: one-byte chunks are an attack, not a style. */
const FREE_FRAMING_BYTES = 65_536;
const MAX_FRAMING_RATIO = 4;

export class ChunkedDecoder {
  /** Why the message is refused, or null. */
  fault: string | null = null;
  #state = SIZE_FIRST;
  #digits = 0;
  #size = 0;
  #chunkExtensionBytes = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;
  #trailerFields = 0;
  #framingBytes = 0;
  #dataBytes = 0;
  readonly #boundsOverhead: boolean;

  /** @param boundsOverhead  refuse floods of tiny chunks: for requests. An upstream may stream letter by letter. */
  constructor(boundsOverhead: boolean) {
    this.#boundsOverhead = boundsOverhead;
  }

  get isDone(): boolean {
    return this.#state === DONE;
  }

  /**
   * Reads on.
   *
   * @param ranges  receives start and end of each run of data, in order
   * @returns       offset behind the last byte that belongs to the message; `end` unless it is done or refused
   */
  read(bytes: Uint8Array, start: number, end: number, ranges: number[]): number {
    let at = start;
    while (at < end && this.#state !== DONE) {
      if (this.#state === DATA) {
        const take = Math.min(this.#size, end - at);
        ranges.push(at, at + take);
        at += take;
        this.#dataBytes += take;
        this.#size -= take;
        if (this.#size === 0) this.#state = DATA_CR;
        continue;
      }
      const next = this.#step(bytes[at] as number);
      if (next < 0) return at;
      this.#state = next;
      at += 1;
      this.#framingBytes += 1;
      if (this.#boundsOverhead && this.#isMostlyFraming()) {
        this.#refuse('chunks are so small that framing outweighs data');
        return at;
      }
    }
    return at;
  }

  #isMostlyFraming(): boolean {
    return this.#framingBytes > FREE_FRAMING_BYTES && this.#framingBytes > MAX_FRAMING_RATIO * this.#dataBytes;
  }

  #refuse(why: string): -1 {
    this.fault = why;
    return -1;
  }

  /** The next state after one byte of framing, or -1. */
  #step(byte: number): number {
    if (this.#state <= SIZE) return this.#stepSize(byte);
    if (this.#state <= EXTENSION_AFTER_QUOTE) return this.#stepExtension(byte);
    if (this.#state >= TRAILER_FIRST) return this.#stepTrailer(byte);
    if (this.#state === DATA_CR) return byte === CR ? DATA_LF : this.#refuse('chunk data is longer than its size');
    if (byte !== LF) return this.#refuse('a chunk line does not end in CRLF');
    if (this.#state === DATA_LF) {
      this.#digits = 0;
      this.#chunkExtensionBytes = 0;
      return SIZE_FIRST;
    }
    return this.#size === 0 ? TRAILER_FIRST : DATA;
  }

  #stepSize(byte: number): number {
    const value = hexValue(byte);
    if (value >= 0) {
      this.#size = this.#digits === 0 ? value : this.#size * 16 + value;
      this.#digits += 1;
      if (this.#digits > MAX_SIZE_DIGITS || this.#size > Number.MAX_SAFE_INTEGER) {
        return this.#refuse('a chunk size is too large');
      }
      return SIZE;
    }
    if (this.#state === SIZE_FIRST) return this.#refuse('a chunk size does not start with a hexadecimal digit');
    if (byte === CR) return SIZE_LF;
    return byte === SEMICOLON ? EXTENSION_FIRST : this.#refuse('a chunk size is not a hexadecimal number');
  }

  #stepExtension(byte: number): number {
    this.#chunkExtensionBytes += 1;
    this.#extensionBytes += 1;
    if (this.#chunkExtensionBytes > MAX_CHUNK_EXTENSION_BYTES || this.#extensionBytes > MAX_EXTENSION_BYTES) {
      return this.#refuse('chunk extensions are too long');
    }
    const isToken = TOKEN[byte] === 1;
    switch (this.#state) {
      case EXTENSION_FIRST:
        if (isToken) return EXTENSION_NAME;
        break;
      case EXTENSION_NAME:
        if (isToken) return EXTENSION_NAME;
        if (byte === 0x3d) return EXTENSION_VALUE_FIRST;
        return this.#afterExtension(byte);
      case EXTENSION_VALUE_FIRST:
        if (byte === 0x22) return EXTENSION_QUOTED;
        if (isToken) return EXTENSION_VALUE;
        break;
      case EXTENSION_VALUE:
        return isToken ? EXTENSION_VALUE : this.#afterExtension(byte);
      case EXTENSION_QUOTED:
        if (byte === 0x22) return EXTENSION_AFTER_QUOTE;
        if (byte === 0x5c) return EXTENSION_ESCAPE;
        if (FIELD_VALUE[byte] === 1) return EXTENSION_QUOTED;
        break;
      case EXTENSION_ESCAPE:
        if (FIELD_VALUE[byte] === 1) return EXTENSION_QUOTED;
        break;
      default:
        return this.#afterExtension(byte);
    }
    return this.#refuse('a chunk extension is malformed');
  }

  #afterExtension(byte: number): number {
    if (byte === CR) return SIZE_LF;
    return byte === SEMICOLON ? EXTENSION_FIRST : this.#refuse('a chunk extension is malformed');
  }

  #stepTrailer(byte: number): number {
    this.#trailerBytes += 1;
    if (this.#trailerBytes > MAX_TRAILER_BYTES) return this.#refuse('trailers are too long');
    switch (this.#state) {
      case TRAILER_FIRST:
        if (byte === CR) return END_LF;
        this.#trailerFields += 1;
        if (this.#trailerFields > MAX_TRAILER_FIELDS) return this.#refuse('too many trailers');
        if (TOKEN[byte] === 1) return TRAILER_NAME;
        break;
      case TRAILER_NAME:
        if (byte === 0x3a) return TRAILER_VALUE;
        if (TOKEN[byte] === 1) return TRAILER_NAME;
        break;
      case TRAILER_VALUE:
        if (byte === CR) return TRAILER_LF;
        if (FIELD_VALUE[byte] === 1) return TRAILER_VALUE;
        break;
      case TRAILER_LF:
        if (byte === LF) return TRAILER_FIRST;
        break;
      default:
        if (byte === LF) return DONE;
    }
    return this.#refuse('a trailer is malformed');
  }
}
