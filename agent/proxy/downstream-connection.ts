// One socket from a caller: reads requests one at a time, hands each to an exchange, and guards itself against peers that
// are slow, greedy or gone. Owns request framing, back-pressure and every way a connection can end.

import type { Socket } from 'node:net';
import type { DeadlineHolder } from './deadlines.ts';
import { Exchange } from './exchange.ts';
import { forwardedLines } from './headers.ts';
import { BodyReader, joinRanges } from './http1/body-reader.ts';
import { type Fault, REQUEST_LIMITS } from './http1/fields.ts';
import { parseRequestHead, type RequestHead } from './http1/request-head.ts';
import { recordRefusal } from './request-record.ts';
import { composeEarlyRescue } from './rescue.ts';
import { BUFFER_BYTES, type ProxyScope } from './scope.ts';
import type { Tunnel } from './tunnel.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** Reasons to stop reading, as bits: reading goes on when none is left. */
const PAUSED_FOR_UPSTREAM = 1;
const PAUSED_FOR_TURN = 2;
const PAUSED_FOR_OUTPUT = 4;

type Phase = 'head' | 'between' | 'exchange' | 'lingering' | 'tunnel' | 'closed';

export class DownstreamConnection implements DeadlineHolder {
  readonly socket: Socket;
  /** Address of the peer, for x-forwarded-for. */
  readonly address: string;
  deadlineAt = NEVER;
  deadlineSlot = -1;
  readonly #scope: ProxyScope;
  readonly #onGone: (connection: DownstreamConnection) => void;
  readonly #reader = new BodyReader();
  #phase: Phase = 'head';
  #input: Buffer | null = null;
  #exchange: Exchange | null = null;
  #tunnel: Tunnel | null = null;
  #isReading = false;
  #pauses = 0;
  #hasInputEnded = false;
  #phaseDeadlineAt: number;
  #stallAt = NEVER;
  #lingeredBytes = 0;
  #bodySince = 0;
  #bodyBytes = 0;
  /** Of an upload under way: used again for the next piece once the upstream's socket has taken the former. */
  #copyMemory: Buffer | null = null;
  #isAwaitingContinue = false;
  #forwarded = '';
  #forwardedHost: string | null = null;

  constructor(scope: ProxyScope, socket: Socket, onGone: (connection: DownstreamConnection) => void) {
    this.#scope = scope;
    this.socket = socket;
    this.#onGone = onGone;
    this.address = (socket.remoteAddress ?? 'unknown').replace(/^::ffff:/, '');
    this.#phaseDeadlineAt = scope.deadlines.now + scope.limits.headMs;
    this.#arm();
    scope.read(socket, (bytes) => this.#onData(bytes));
    socket.on('drain', () => this.#onDrain());
    socket.on('end', () => this.#onEnd());
    socket.on('error', () => this.destroy());
    socket.on('close', () => this.destroy());
  }

  /** What this connection's requests to a host say of the previous hop. */
  forwardedFor(host: string): string {
    if (host === this.#forwardedHost) return this.#forwarded;
    this.#forwardedHost = host;
    this.#forwarded = forwardedLines(this.address, host);
    return this.#forwarded;
  }

  get isBusy(): boolean {
    return this.#exchange !== null || this.#phase === 'lingering';
  }

  /** Whether the response to `head` must be the last on this connection. */
  mustCloseAfter(head: RequestHead): boolean {
    return !head.isKeepAlive || this.#scope.isDraining() || (this.#hasInputEnded && this.#input === null);
  }

  /** Writes text of one byte a character; false when the peer does not take it fast enough. */
  write(text: string): boolean {
    return this.#phase === 'closed' ? true : this.#noteStall(this.socket.write(text, 'latin1'));
  }

  /** Writes bytes between two texts, either of which may be empty, in one go. */
  writeParts(prefix: string, bytes: Buffer, suffix: string): boolean {
    if (this.#phase === 'closed') return true;
    const { socket } = this;
    // A piece as large as the stream's limit is "too much" for it even when the kernel has already taken it.
    if (prefix === '' && suffix === '') return this.#noteStall(socket.write(bytes) || socket.writableLength === 0);
    socket.cork();
    if (prefix !== '') socket.write(prefix, 'latin1');
    socket.write(bytes);
    if (suffix !== '') socket.write(suffix, 'latin1');
    socket.uncork();
    return this.#noteStall(!socket.writableNeedDrain || socket.writableLength === 0);
  }

  #noteStall(hasRoom: boolean): boolean {
    if (!hasRoom && this.#stallAt === NEVER) {
      this.#stallAt = this.#scope.deadlines.now + this.#scope.limits.writeStallMs;
      this.#arm();
    }
    return hasRoom;
  }

  /** The upstream does not take more of the request's body. */
  pauseBody(): void {
    this.#pause(PAUSED_FOR_UPSTREAM);
  }

  resumeBody(): void {
    if (this.#pauses !== 0) this.#resume(PAUSED_FOR_UPSTREAM);
  }

  /** Asks for the body in the agent's own name. */
  sendContinue(): void {
    this.write('HTTP/1.1 100 Continue\r\n\r\n');
    this.onContinue();
  }

  /** The upstream asked for the body: from now on it must come. */
  onContinue(): void {
    this.#isAwaitingContinue = false;
    this.#bodySince = this.#scope.deadlines.now;
  }

  /** Raw bytes from now on; those that were already read are returned. */
  startTunnel(tunnel: Tunnel): Buffer | null {
    this.#phase = 'tunnel';
    this.#tunnel = tunnel;
    this.#setPhaseDeadline(NEVER);
    const early = this.#input === null ? null : Buffer.from(this.#input);
    this.#input = null;
    this.#resume(PAUSED_FOR_TURN | PAUSED_FOR_UPSTREAM | PAUSED_FOR_OUTPUT);
    return early;
  }

  /** Called by the exchange, once, after its last write. */
  onExchangeDone(mustClose: boolean): void {
    this.#exchange = null;
    if (this.#phase === 'closed') return;
    if (mustClose) this.#linger();
    else {
      this.#phase = 'between';
      this.#setPhaseDeadline(this.#scope.deadlines.now + this.#scope.limits.keepAliveMs);
      this.#resume(PAUSED_FOR_UPSTREAM | PAUSED_FOR_TURN);
      if (!this.#isReading && (this.#input !== null || this.#hasInputEnded)) this.#readOn();
    }
  }

  /** Lets a connection without a request go at once; others end with the response they are at. */
  closeWhenIdle(): void {
    if (this.#exchange === null && this.#input === null && this.#phase !== 'tunnel') this.#linger();
  }

  /** Gives its place up if it only waits for a next request. */
  yieldIfIdle(): boolean {
    if (this.#phase !== 'between' || this.#input !== null || this.socket.writableLength > 0) return false;
    this.destroy();
    return true;
  }

  destroy(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#input = null;
    this.socket.destroy();
    this.#scope.deadlines.remove(this);
    const exchange = this.#exchange;
    const tunnel = this.#tunnel;
    this.#exchange = null;
    this.#tunnel = null;
    if (tunnel !== null) tunnel.onDownstreamClose();
    else exchange?.cancel();
    this.#onGone(this);
  }

  // ---- reading ----

  #onData(bytes: Buffer): void {
    if (this.#phase === 'tunnel') this.#tunnel?.onDownstreamData(Buffer.from(bytes));
    else if (this.#phase === 'lingering') {
      this.#lingeredBytes += bytes.length;
      if (this.#lingeredBytes > this.#scope.limits.lingerBytes) this.destroy();
    } else if (this.#phase !== 'closed') {
      this.#input = this.#input === null ? bytes : Buffer.concat([this.#input, bytes]);
      this.#readOn();
      // What is left waits for more, and the memory it lies in is the next reader's.
      if (this.#input?.buffer === bytes.buffer) this.#input = Buffer.from(this.#input);
    }
  }

  /** Takes as much of the input as the one request under way, or the next ones, can use. */
  #readOn(): void {
    this.#isReading = true;
    let hasMore = true;
    while (hasMore && this.#phase !== 'closed' && this.#phase !== 'lingering' && this.#phase !== 'tunnel') {
      if (this.#exchange === null) hasMore = this.#readHead();
      else hasMore = !this.#reader.isDone && this.#input !== null && this.#readBody(this.#exchange);
    }
    this.#isReading = false;
    if (this.#phase === 'exchange' && this.#input !== null && this.#input.length > BUFFER_BYTES) {
      this.#pause(PAUSED_FOR_TURN);
    }
  }

  /** True when a request was begun (or refused) and the loop should look again. */
  #readHead(): boolean {
    const input = this.#input;
    if (input === null) {
      if (this.#hasInputEnded) this.#linger();
      return false;
    }
    if (this.socket.writableLength > BUFFER_BYTES) {
      this.#pause(PAUSED_FOR_OUTPUT);
      return false;
    }
    const head = parseRequestHead(input, 0, input.length, REQUEST_LIMITS, this.#scope.requestNames);
    if (head === null) {
      if (this.#hasInputEnded) this.destroy();
      else if (this.#phase === 'between') {
        this.#phase = 'head';
        this.#setPhaseDeadline(this.#scope.deadlines.now + this.#scope.limits.headMs);
      }
      return false;
    }
    if (head.kind === 'fault') this.#refuse(head);
    else this.#begin(head, input);
    return true;
  }

  #begin(head: RequestHead, input: Buffer): void {
    const exchange = new Exchange(this.#scope, this, head);
    this.#exchange = exchange;
    this.#phase = 'exchange';
    this.#input = head.next < input.length ? input.subarray(head.next) : null;
    this.#reader.reset(head.framing, true);
    if (this.#reader.isDone) {
      this.#setPhaseDeadline(NEVER);
      exchange.onRequestBody(null, true);
    } else {
      this.#isAwaitingContinue = head.expectsContinue;
      this.#bodySince = this.#scope.deadlines.now;
      this.#bodyBytes = 0;
      this.#setPhaseDeadline(this.#bodySince + 1000);
      // What has come with the head is known before the first write, so that both can share it.
      if (this.#input !== null) this.#readBody(exchange);
    }
    if (this.#exchange === exchange) exchange.start();
  }

  #readBody(exchange: Exchange): boolean {
    const input = this.#input;
    if (input === null) return false;
    const ranges: number[] = [];
    const next = this.#reader.read(input, 0, input.length, ranges);
    if (this.#reader.fault !== null) {
      this.#input = null;
      exchange.refuse('bad_request', this.#reader.fault);
      return false;
    }
    this.#input = next < input.length ? input.subarray(next) : null;
    this.#bodyBytes += next;
    this.#isAwaitingContinue = false;
    const { isDone } = this.#reader;
    if (isDone) this.#setPhaseDeadline(NEVER);
    const piece = ranges.length > 0 ? this.#copy(joinRanges(input, ranges)) : null;
    if (exchange.onRequestBody(piece, isDone) || isDone) this.#copyMemory = null;
    return true;
  }

  /** A piece of a body may be kept for another attempt, or wait to be written; the memory it was read into is lent. */
  #copy(piece: Buffer): Buffer {
    if (this.#copyMemory === null || this.#copyMemory.length < piece.length) {
      this.#copyMemory = Buffer.allocUnsafeSlow(piece.length);
    }
    piece.copy(this.#copyMemory);
    return this.#copyMemory.subarray(0, piece.length);
  }

  /** A head that cannot be trusted: nothing of it went anywhere, nothing behind it is read. */
  #refuse({ reason, message }: Fault): void {
    this.write(composeEarlyRescue(reason, message, this.#scope.clock.epochMs()));
    recordRefusal(this.#scope, reason);
    this.#linger();
  }

  // ---- ends ----

  /** The peer sent FIN. A whole request is served in full; half a one is nothing. */
  #onEnd(): void {
    this.#hasInputEnded = true;
    if (this.#phase === 'tunnel') this.#tunnel?.onDownstreamEnd();
    else if (this.#phase === 'lingering') this.destroyWhenWritten();
    else if (this.#exchange === null) this.#readOn();
    else if (!this.#reader.isDone) this.destroy();
  }

  /** Says FIN and reads what still comes, so that the peer reads our last answer before it meets a reset. */
  #linger(): void {
    this.#phase = 'lingering';
    this.#input = null;
    this.#resume(PAUSED_FOR_UPSTREAM | PAUSED_FOR_TURN | PAUSED_FOR_OUTPUT);
    this.#setPhaseDeadline(this.#scope.deadlines.now + this.#scope.limits.lingerMs);
    this.socket.end();
    if (this.#hasInputEnded) this.destroyWhenWritten();
  }

  /** Both sides have ended: the socket closes itself as soon as its last byte is out. */
  destroyWhenWritten(): void {
    this.socket.destroySoon();
  }

  // ---- pace ----

  #pause(reason: number): void {
    if (this.#pauses === 0) this.socket.pause();
    this.#pauses |= reason;
  }

  #resume(reason: number): void {
    if (this.#pauses === 0) return;
    this.#pauses &= ~reason;
    // A pause of ours is not slowness of theirs.
    this.#bodySince = this.#scope.deadlines.now;
    this.#bodyBytes = 0;
    if (this.#pauses === 0) this.socket.resume();
  }

  #onDrain(): void {
    this.#stallAt = NEVER;
    this.#arm();
    if (this.#tunnel !== null) this.#tunnel.onDownstreamDrain();
    else if (this.#exchange !== null) this.#exchange.onDownstreamDrain();
    else if ((this.#pauses & PAUSED_FOR_OUTPUT) !== 0) {
      this.#resume(PAUSED_FOR_OUTPUT);
      if (this.#phase !== 'lingering') this.#readOn();
    }
  }

  #setPhaseDeadline(at: number): void {
    this.#phaseDeadlineAt = at;
    this.#arm();
  }

  #arm(): void {
    this.deadlineAt = Math.min(this.#phaseDeadlineAt, this.#stallAt);
  }

  onDeadline(now: number): void {
    if (this.#stallAt <= now) this.destroy();
    else if (this.#phase === 'exchange') this.#checkPace(now);
    else if (this.#phase === 'lingering' && this.socket.writableLength > 0) {
      // Still handing over the answer; the stall limit, counted from here at the latest, ends that.
      if (this.#stallAt === NEVER) this.#stallAt = now + this.#scope.limits.writeStallMs;
      this.#setPhaseDeadline(now + this.#scope.limits.lingerMs);
    } else if (this.#phase === 'head' && this.#input !== null) {
      const message = `the head did not come within ${this.#scope.limits.headMs} ms`;
      this.#refuse({ kind: 'fault', reason: 'request_timeout', message });
    } else this.destroy();
  }

  /** Once a second while a body is coming: after a grace, its average must not fall below the floor. */
  #checkPace(now: number): void {
    const { bodyGraceMs, bodyBytesPerSecond } = this.#scope.limits;
    const lateMs = now - this.#bodySince - bodyGraceMs;
    const isExcused = this.#pauses !== 0 || this.#isAwaitingContinue || lateMs <= 0;
    if (isExcused || this.#bodyBytes >= (lateMs / 1000) * bodyBytesPerSecond) {
      this.#setPhaseDeadline(now + Math.min(1000, bodyGraceMs));
      return;
    }
    this.#setPhaseDeadline(NEVER);
    this.#exchange?.refuse('request_timeout', 'the body comes too slowly');
  }
}
