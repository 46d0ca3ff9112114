// Server-sent events out of a byte stream that may be cut anywhere. Pure, incremental, bounded.

/** One dispatched event. Comments keep a stream alive and are not events. */
export interface ServerSentEvent {
  /** `message` when the stream names none. */
  readonly event: string;
  readonly data: string;
  /** Last `id:` seen so far, '' before the first. */
  readonly id: string;
}

/** 8 MiB, the largest event (and line) that is kept. */
export const MAX_EVENT_LENGTH = 8 * 1024 * 1024;

/**
 * Feeds on chunks and gives back the events that became whole.
 *
 * Lines end with CRLF, LF or CR, split anywhere, a CR at the end of a chunk included. Data lines are joined with LF. An event
 * without data is not dispatched. An id with a NUL is ignored.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export class SseParser {
  readonly #maxLength: number;
  readonly #decoder = new TextDecoder('utf-8');
  #line = '';
  #skipLineFeed = false;
  #data: string[] = [];
  #dataLength = 0;
  #event = '';
  #id = '';
  #isOverflowing = false;

  constructor(maxLength: number = MAX_EVENT_LENGTH) {
    this.#maxLength = maxLength;
  }

  /** True once an event or a line was larger than the limit: the stream cannot be trusted any more and must be closed. */
  get isOverflowing(): boolean {
    return this.#isOverflowing;
  }

  push(chunk: Uint8Array): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    const text = this.#decoder.decode(chunk, { stream: true });
    let start = 0;
    if (this.#skipLineFeed && text.length > 0) {
      if (text.charCodeAt(0) === 10) start = 1;
      this.#skipLineFeed = false;
    }
    for (let i = start; i < text.length && !this.#isOverflowing; i++) {
      const code = text.charCodeAt(i);
      if (code !== 10 && code !== 13) continue;
      this.#takeLine(this.#line + text.slice(start, i), events);
      this.#line = '';
      if (code === 13) {
        if (i + 1 === text.length) this.#skipLineFeed = true;
        else if (text.charCodeAt(i + 1) === 10) i++;
      }
      start = i + 1;
    }
    this.#line += text.slice(start);
    if (this.#line.length + this.#dataLength > this.#maxLength) this.#overflow();
    return events;
  }

  #takeLine(line: string, events: ServerSentEvent[]): void {
    if (line === '') {
      this.#dispatch(events);
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? '' : line.slice(colon + 1);
    const value = raw.startsWith(' ') ? raw.slice(1) : raw;
    if (field === 'event') this.#event = value;
    else if (field === 'id') {
      if (!value.includes('\0')) this.#id = value;
    } else if (field === 'data') {
      this.#data.push(value);
      this.#dataLength += value.length + 1;
      if (this.#dataLength > this.#maxLength) this.#overflow();
    }
  }

  #dispatch(events: ServerSentEvent[]): void {
    if (this.#data.length > 0 && !this.#isOverflowing) {
      const event = this.#event === '' ? 'message' : this.#event;
      events.push({ event, data: this.#data.join('\n'), id: this.#id });
    }
    this.#data = [];
    this.#dataLength = 0;
    this.#event = '';
  }

  #overflow(): void {
    this.#isOverflowing = true;
    this.#line = '';
    this.#data = [];
    this.#dataLength = 0;
  }
}
