// Writes one response downstream in our own framing, with as few writes as possible, and holds the upstream back when the
// downstream does not take it. Knows nothing of attempts.

import type { Destination } from './destination.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import { composeResponseHead, type FaultName, type RetryAdvice } from './headers.ts';
import { joinRanges } from './http1/body-reader.ts';
import { BODY_CHUNKED, BODY_NONE, BODY_UNTIL_CLOSE } from './http1/framing.ts';
import type { ResponseHead } from './http1/response-head.ts';
import type { Direction } from './scope.ts';
import type { UpstreamConnection } from './upstream-connection.ts';

/** Up to this size head and body leave in one string: one system call, one copy. */
const INLINE_BYTES = 8192;

export interface RelayFacts {
  /** HTTP/1.minor of the downstream. */
  readonly minor: 0 | 1;
  readonly mustClose: boolean;
  readonly direction: Direction;
  readonly destination: Destination;
  /** `address:port` that answered, to tell; null to keep it to ourselves. */
  readonly endpoint: string | null;
  readonly attempts: number;
  /** Id of the decision record to tell, or `''`. */
  readonly why: string;
  readonly retry: RetryAdvice | '';
  /** Utilisation of the application to tell; -1 for nothing. */
  readonly load: number;
  readonly fault: FaultName | '';
}

export class ResponseRelay {
  /** The downstream connection ends with this response. */
  readonly mustClose: boolean;
  /** The upstream waits for the downstream. */
  isPaused = false;
  bytesOut = 0;
  readonly #down: DownstreamConnection;
  readonly #connection: UpstreamConnection;
  readonly #isChunked: boolean;
  #headText: string;
  #isEnded = false;

  constructor(down: DownstreamConnection, connection: UpstreamConnection, head: ResponseHead, facts: RelayFacts) {
    this.#down = down;
    this.#connection = connection;
    const isHttp10 = facts.minor === 0;
    const { responseChanges } = facts.destination;
    const hasUnknownLength = head.framing === BODY_CHUNKED || head.framing === BODY_UNTIL_CLOSE;
    // HTTP/1.0 has no chunks: there a body of unknown length ends with the connection.
    this.#isChunked = hasUnknownLength && !isHttp10;
    this.mustClose = facts.mustClose || (hasUnknownLength && isHttp10);
    this.#headText = composeResponseHead(head, {
      contentLength: head.framing === BODY_NONE ? head.contentLength : head.framing,
      isChunked: this.#isChunked,
      connection: this.mustClose ? 'close' : isHttp10 ? 'keep-alive' : '',
      isAgentTrusted: facts.direction === 'outbound',
      changes: responseChanges,
      endpoint: facts.endpoint,
      attempts: facts.attempts,
      why: facts.why,
      retry: facts.retry,
      load: facts.load,
      fault: facts.fault,
    });
  }

  write(bytes: Buffer, ranges: readonly number[], isLast: boolean): void {
    const start = ranges[0] ?? 0;
    const end = ranges[1] ?? 0;
    const isOne = ranges.length === 2;
    const piece = isOne ? null : joinRanges(bytes, ranges);
    const size = piece === null ? end - start : piece.length;
    this.bytesOut += size;
    let prefix = this.#headText;
    let suffix = '';
    this.#headText = '';
    if (this.#isChunked) {
      prefix += `${size.toString(16)}\r\n`;
      suffix = isLast ? '\r\n0\r\n\r\n' : '\r\n';
      this.#isEnded = isLast;
    }
    let hasRoom: boolean;
    if (piece === null && suffix === '' && prefix !== '' && prefix.length <= start) {
      // The head we send fits where the head that came has been read: head and body are one piece of memory.
      bytes.write(prefix, start - prefix.length, 'latin1');
      hasRoom = this.#down.writeParts('', bytes.subarray(start - prefix.length, end), '');
      if (this.#down.socket.writableLength === 0) this.#connection.releaseBytes();
    } else if (size <= INLINE_BYTES && prefix !== '') {
      const data = piece === null ? bytes.toString('latin1', start, end) : piece.toString('latin1');
      this.#connection.releaseBytes();
      hasRoom = this.#down.write(prefix + data + suffix);
    } else {
      hasRoom = this.#down.writeParts(prefix, piece ?? bytes.subarray(start, end), suffix);
      if (this.#down.socket.writableLength === 0) this.#connection.releaseBytes();
    }
    if (!hasRoom && !isLast) this.#pause();
  }

  /** The head waits for the first bytes of the body to share a write with; when none have come, it goes alone. */
  flushHead(): void {
    if (this.#headText === '') return;
    const text = this.#headText;
    this.#headText = '';
    this.#down.write(text);
  }

  end(): void {
    const rest = this.#headText + (this.#isChunked && !this.#isEnded ? '0\r\n\r\n' : '');
    this.#headText = '';
    if (rest !== '') this.#down.write(rest);
  }

  #pause(): void {
    this.isPaused = true;
    this.#connection.socket.pause();
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.#connection.socket.resume();
  }
}
