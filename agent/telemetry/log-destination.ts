// Where log lines go. Owns the promise that a reader who stands still costs lines and never time: neither while running nor
// at exit. Knows nothing of what a line says. (sonic-boom, pino's own, keeps the first half of that promise only: its flush
// at exit repeats every error for ever, so a stalled reader or a full disk would keep the process from ending.)

import { closeSync, constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** Pause before a full pipe is tried again. */
const RETRY_MS = 100;
/** Tries of the last flush against a full pipe, RETRY_MS apart. */
const FINAL_TRIES = 3;

export class LogDestination {
  readonly #target: { readonly fd: number; readonly release: () => void };
  readonly #maxBytes: number;
  readonly #onExit = () => this.flushSync();
  /** Lines not yet handed to the system, and the chunk that is. */
  #lines: string[] = [];
  #linesBytes = 0;
  #chunk: Buffer | null = null;
  #chunkLines = 0;
  #dropped = 0;
  #isWriting = false;
  #isBroken = false;
  #isClosed = false;
  #hasExitListener = false;
  #retry: NodeJS.Timeout | null = null;
  #onIdle: (() => void) | null = null;

  /**
   * @param fd        descriptor of a pipe, socket, terminal or file
   * @param maxBytes  bytes kept while the reader stands still; a line that would exceed it is dropped
   */
  constructor(fd: number, maxBytes: number) {
    this.#target = nonBlocking(fd);
    this.#maxBytes = maxBytes;
  }

  get droppedLines(): number {
    return this.#dropped;
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    const kept = this.#linesBytes + (this.#chunk?.length ?? 0);
    if (this.#isClosed || this.#isBroken || kept + bytes > this.#maxBytes) {
      this.#dropped++;
      return;
    }
    if (!this.#hasExitListener) {
      this.#hasExitListener = true;
      process.once('exit', this.#onExit);
    }
    this.#lines.push(line);
    this.#linesBytes += bytes;
    if (this.#chunk === null) this.#writeChunk();
  }

  /** One bounded try to write everything now, for the end of the process; what the reader does not take is lost. */
  flushSync(): void {
    let rest = Buffer.from(this.#lines.join(''));
    const waiting = this.#chunk;
    // A chunk between two tries is ours to write; one that is with the system is being written already.
    if (waiting !== null && !this.#isWriting) rest = Buffer.concat([waiting, rest]);
    this.#lines = [];
    this.#linesBytes = 0;
    let triesLeft = FINAL_TRIES;
    while (rest.length > 0 && triesLeft > 0) {
      try {
        rest = rest.subarray(writeSync(this.#target.fd, rest));
      } catch (error) {
        if (!isWait(error)) break;
        triesLeft--;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      }
    }
    if (rest.length > 0) this.#dropped++;
  }

  /** Waits for a slow reader no longer than `deadlineMs`. Later lines are dropped and counted. */
  async close(deadlineMs: number): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#chunk !== null) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadlineMs);
        this.#onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.#retry !== null) clearTimeout(this.#retry);
    process.off('exit', this.#onExit);
    if (!this.#isWriting) this.#target.release();
  }

  #writeChunk(): void {
    if (this.#chunk === null) {
      this.#chunk = Buffer.from(this.#lines.join(''));
      this.#chunkLines = this.#lines.length;
      this.#lines = [];
      this.#linesBytes = 0;
    }
    this.#isWriting = true;
    write(this.#target.fd, this.#chunk, (error, written) => this.#written(error, written));
  }

  #written(error: NodeJS.ErrnoException | null, written: number): void {
    this.#isWriting = false;
    if (error !== null && isWait(error)) {
      // Not unref'd would keep a finished process alive for its log reader; the exit listener has the last try instead.
      this.#retry = setTimeout(() => this.#writeChunk(), RETRY_MS).unref();
      return;
    }
    if (error !== null) {
      // A full disk may recover and costs this chunk; a closed pipe never does.
      this.#dropped += this.#chunkLines;
      this.#isBroken = error.code === 'EPIPE';
      this.#chunk = null;
    } else {
      const rest = this.#chunk?.subarray(written) ?? null;
      this.#chunk = rest !== null && rest.length > 0 ? rest : null;
    }
    if (this.#isBroken) this.#dropRest();
    if (this.#chunk !== null || this.#lines.length > 0) this.#writeChunk();
    else this.#onIdle?.();
  }

  #dropRest(): void {
    this.#dropped += this.#lines.length;
    this.#lines = [];
    this.#linesBytes = 0;
  }
}

function isWait(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EAGAIN' || error.code === 'EBUSY');
}

/**
 * A descriptor whose writes return EAGAIN instead of waiting.
 *
 * A blocking write to a full pipe holds one of libuv's four threads, and Node joins them at exit: the process would hang as
 * long as its log reader does. Opening the pipe anew gives a description of our own, so a process that shares our standard
 * output keeps its blocking mode. Where that is refused (a socket, or a pipe that belongs to another user, as in a container),
 * the flag is set on the shared description: a `Socket` does that when it is made, and is kept only for that.
 */
function nonBlocking(fd: number): { fd: number; release: () => void } {
  const stat = fstatSync(fd);
  if (stat.isFIFO() || stat.isCharacterDevice()) {
    try {
      const own = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
      return { fd: own, release: () => closeSync(own) };
    } catch {
      // Refused or no /proc: the ways below are what is left, so the error says nothing that matters.
    }
  }
  if (!stat.isFIFO() && !stat.isSocket()) return { fd, release() {} };
  const flagHolder = new Socket({ fd, readable: false, writable: true }).unref();
  return { fd, release: () => void flagHolder.unref() };
}
