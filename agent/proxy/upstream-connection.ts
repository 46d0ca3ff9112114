// One socket to one endpoint: connects, carries one request at a time, reads responses, and watches itself while idle. Owns
// framing of what the upstream says; what a response means is the business of the sink (exchange.ts).

import { readSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { OutcomeKind } from '../core/outcome.ts';
import type { DeadlineHolder } from './deadlines.ts';
import { BodyReader } from './http1/body-reader.ts';
import { RESPONSE_LIMITS } from './http1/fields.ts';
import { parseResponseHead, type ResponseHead } from './http1/response-head.ts';
import type { EndpointPool } from './pools.ts';
import { connectReading, createReadBuffer } from './socket-reads.ts';

/** Who a connection works for while it is busy. Calls come in this order; after onResponseEnd or onUpstreamLost, none. */
export interface UpstreamSink {
  onConnected(): void;
  onInformational(head: ResponseHead): void;
  /** A 101 that was asked for; `rest` are the first bytes of the other protocol. The connection stays the sink's. */
  onSwitched(head: ResponseHead, rest: Buffer): void;
  onResponseHead(head: ResponseHead): void;
  onResponseBody(bytes: Buffer, ranges: readonly number[], isLast: boolean): void;
  /** No more bytes of this read: what was held back to be written together can go. */
  onReadEnd(): void;
  /** The response is whole. The connection belongs to the pool again, or is gone. */
  onResponseEnd(): void;
  /** The attempt is over without a whole response; the connection is gone. */
  onUpstreamLost(kind: OutcomeKind): void;
  onUpstreamDrain(): void;
  onUpstreamDeadline(): void;
}

/** Raw bytes in both directions after a 101. */
export interface TunnelEnd {
  onUpstreamData(bytes: Buffer): void;
  onUpstreamEnd(): void;
  onUpstreamDrain(): void;
  onUpstreamClose(): void;
  onUpstreamDeadline(): void;
}

type State = 'connecting' | 'idle' | 'busy' | 'discarding' | 'tunnel' | 'closed';

const MAX_INFORMATIONAL = 16;
/** A response that was given up for a retry is read to its end if it is this small, to keep the connection. */
const DISCARD_BYTES = 65_536;
const DISCARD_MS = 1000;
const RESCUE_BYTES = 65_536;
/** Faults of this machine, not of the endpoint: no descriptor, no port, no memory left. */
const LOCAL_FAULTS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS', 'ENOMEM']);

export class UpstreamConnection implements DeadlineHolder {
  readonly socket: Socket;
  deadlineAt = Number.POSITIVE_INFINITY;
  deadlineSlot = -1;
  /** Requests carried before the current one. */
  carried = 0;
  /** True once the request went out whole: only then may the connection be used again. */
  isRequestWhole = false;
  readonly #pool: EndpointPool;
  readonly #reader = new BodyReader();
  #state: State = 'connecting';
  #sink: UpstreamSink | null;
  #tunnel: TunnelEnd | null = null;
  #pending: Buffer | null = null;
  #head: ResponseHead | null = null;
  #isHeadRequest = false;
  #wantedUpgrade: string | null = null;
  #informational = 0;
  #discarded = 0;
  #memory = createReadBuffer();
  #isMemoryHeld = false;

  constructor(pool: EndpointPool, sink: UpstreamSink, address: string, port: number) {
    this.#pool = pool;
    this.#sink = sink;
    this.socket = connectReading(
      { host: address, port, noDelay: true, allowHalfOpen: true, keepAlive: true, keepAliveInitialDelay: 15_000 },
      () => this.#nextMemory(),
      (bytes) => this.#onData(bytes),
    );
    this.socket.on('connect', () => this.#onConnect());
    this.socket.on('drain', () => this.#onDrain());
    this.socket.on('end', () => this.#onEnd());
    this.socket.on('error', (error: NodeJS.ErrnoException) => this.#onLost(error.code));
    this.socket.on('close', () => this.#onLost());
  }

  /** The sink is through with the bytes of this read. Otherwise the next read goes elsewhere: they may wait to be written. */
  releaseBytes(): void {
    this.#isMemoryHeld = false;
  }

  #nextMemory(): Buffer {
    if (this.#isMemoryHeld) this.#memory = createReadBuffer();
    this.#isMemoryHeld = false;
    return this.#memory;
  }

  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  get isConnecting(): boolean {
    return this.#state === 'connecting';
  }

  /** Takes an idle connection for an attempt. */
  take(sink: UpstreamSink): void {
    this.#state = 'busy';
    this.#sink = sink;
    this.carried += 1;
  }

  /** Must precede the first byte of each request. */
  expectResponse(isHeadRequest: boolean, upgrade: string | null): void {
    this.#isHeadRequest = isHeadRequest;
    this.#wantedUpgrade = upgrade;
    this.#head = null;
    this.#informational = 0;
    this.isRequestWhole = false;
  }

  /** Called by the pool. */
  rest(deadlineAt: number): void {
    this.#state = 'idle';
    this.#sink = null;
    this.deadlineAt = deadlineAt;
  }

  /** The sink wants nothing more of this response: read it to its end if it is short, so that the connection can serve on. */
  discard(now: number): void {
    if (!this.isRequestWhole || this.#state !== 'busy') {
      this.destroy();
      return;
    }
    this.#state = 'discarding';
    this.#sink = null;
    this.deadlineAt = now + DISCARD_MS;
  }

  startTunnel(tunnel: TunnelEnd): void {
    this.#state = 'tunnel';
    this.#sink = null;
    this.#tunnel = tunnel;
  }

  /** Ends the connection without telling the sink. */
  destroy(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#sink = null;
    this.#tunnel = null;
    this.#pending = null;
    this.socket.destroy();
    this.#pool.forget(this);
  }

  onDeadline(): void {
    if (this.#state === 'tunnel') this.#tunnel?.onUpstreamDeadline();
    else if (this.#state === 'connecting') this.#fail('connect_timeout');
    else if (this.#state === 'busy') this.#sink?.onUpstreamDeadline();
    else this.destroy();
  }

  #onConnect(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'busy';
    this.#sink?.onConnected();
  }

  #onDrain(): void {
    if (this.#state === 'tunnel') this.#tunnel?.onUpstreamDrain();
    else this.#sink?.onUpstreamDrain();
  }

  #onData(bytes: Buffer): void {
    if (this.#state === 'busy' || this.#state === 'discarding') this.#read(bytes);
    else if (this.#state === 'tunnel') {
      this.#isMemoryHeld = true;
      this.#tunnel?.onUpstreamData(bytes);
    }
    // Nobody asked: a late or a forged response. The next request must never meet it.
    else this.destroy();
  }

  #onEnd(): void {
    if (this.#state === 'tunnel') this.#tunnel?.onUpstreamEnd();
    else if (this.#head !== null && this.#reader.endsWithConnection) this.#complete(true);
    else this.#onLost();
  }

  #onLost(code = ''): void {
    if (this.#state === 'connecting') this.#fail(LOCAL_FAULTS.has(code) ? 'overflow' : 'connect_failure');
    else if (this.#state === 'busy') this.#fail('reset');
    else if (this.#state === 'tunnel') {
      const tunnel = this.#tunnel;
      this.destroy();
      tunnel?.onUpstreamClose();
    } else this.destroy();
  }

  /**
   * For writes of a request's body, whose head is already out. A failed one means that the upstream reset the connection; what
   * it answered before may still lie in the kernel, and Node is about to close the socket without looking. Nothing can come
   * after a reset, so reading until there is nothing more loses nothing.
   */
  readonly onBodyWritten = (error?: Error | null): void => {
    if (!error || this.#state !== 'busy') return;
    const { fd = -1 } = (this.socket as { _handle?: { fd?: number } | null })._handle ?? {};
    if (fd < 0) return;
    for (;;) {
      const bytes = readNow(fd);
      if (bytes === null) break;
      this.#onData(bytes);
      if (this.#isGone()) return;
    }
    this.#onEnd();
  };

  #fail(kind: OutcomeKind): void {
    const sink = this.#sink;
    this.destroy();
    sink?.onUpstreamLost(kind);
  }

  #read(chunk: Buffer): void {
    const bytes = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = null;
    let at = 0;
    if (this.#head === null) {
      at = this.#readHeads(bytes);
      if (at < 0) return;
    }
    if (!this.#reader.isDone) {
      const ranges: number[] = [];
      at = this.#reader.read(bytes, at, bytes.length, ranges);
      if (this.#reader.fault !== null) {
        this.#fail('protocol_error');
        return;
      }
      this.#discarded += this.#state === 'discarding' ? bytes.length : 0;
      if (this.#discarded > DISCARD_BYTES) {
        this.destroy();
        return;
      }
      if (ranges.length > 0) {
        this.#isMemoryHeld = this.#sink !== null;
        this.#sink?.onResponseBody(bytes, ranges, this.#reader.isDone);
      }
      if (this.#isGone()) return;
    }
    if (this.#reader.isDone) this.#complete(at < bytes.length);
    else this.#sink?.onReadEnd();
  }

  /** Reads interim heads and the final one; offset behind it, or -1 when there is nothing more to do with these bytes. */
  #readHeads(bytes: Buffer): number {
    let at = 0;
    for (;;) {
      const head = parseResponseHead(
        bytes,
        at,
        bytes.length,
        this.#isHeadRequest,
        RESPONSE_LIMITS,
        this.#pool.responseNames,
      );
      if (head === null) {
        if (at < bytes.length) this.#pending = Buffer.from(bytes.subarray(at));
        return -1;
      }
      if (head.kind === 'fault') {
        this.#fail('protocol_error');
        return -1;
      }
      at = head.next;
      if (head.status >= 200) {
        this.#head = head;
        this.#pool.wantsLength = head.minor === 0 || head.status === 411;
        this.#reader.reset(head.framing, false);
        this.#sink?.onResponseHead(head);
        return this.#isGone() ? -1 : at;
      }
      if (!this.#readInformational(head, bytes, at)) return -1;
    }
  }

  #readInformational(head: ResponseHead, bytes: Buffer, at: number): boolean {
    this.#informational += 1;
    if (head.status === 101) {
      if (this.#wantedUpgrade === null || head.upgrade !== this.#wantedUpgrade) this.#fail('protocol_error');
      else this.#sink?.onSwitched(head, Buffer.from(bytes.subarray(at)));
      return false;
    }
    if (this.#informational > MAX_INFORMATIONAL) {
      this.#fail('protocol_error');
      return false;
    }
    this.#sink?.onInformational(head);
    return !this.#isGone();
  }

  #isGone(): boolean {
    return this.#state === 'closed';
  }

  /**
   * The response is whole. Back to the pool only when nothing is left over in either direction: request fully written,
   * no surplus byte, no close on either side.
   */
  #complete(hasEndedOrSurplus: boolean): void {
    const head = this.#head;
    const sink = this.#sink;
    this.#head = null;
    this.#discarded = 0;
    const isClean = !hasEndedOrSurplus && this.isRequestWhole && this.socket.writableLength === 0;
    if (head?.isKeepAlive === true && isClean) this.#pool.release(this, head.keepAliveMs);
    else this.destroy();
    sink?.onResponseEnd();
  }
}

/** What is there to read from a non-blocking socket; null for nothing, an end or an error. */
function readNow(fd: number): Buffer | null {
  const bytes = Buffer.allocUnsafe(RESCUE_BYTES);
  try {
    const size = readSync(fd, bytes, 0, RESCUE_BYTES, null);
    return size === 0 ? null : bytes.subarray(0, size);
  } catch {
    return null;
  }
}
