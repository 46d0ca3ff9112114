// The agent's log: JSON lines on standard output. Owns the destination that would rather lose lines than stop the event
// loop. What is logged, and in which words, belongs to the callers.

import { type Logger as PinoLogger, pino, destination as pinoDestination } from 'pino';

export type Logger = PinoLogger;
export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';

export interface LogOptions {
  readonly level: LogLevel;
  readonly name: string;
  /** File descriptor to write to; standard output by default. */
  readonly fd?: number;
  /** Bytes kept while the reader stands still; a line that would exceed it is dropped and counted. */
  readonly maxBufferBytes?: number;
}

/** A logger together with what only its owner may do. */
export interface Log {
  readonly logger: Logger;
  /** Lines lost so far because the reader was too slow. */
  droppedLines(): number;
  /** Level of the logger and of every child made from it. */
  setLevel(level: LogLevel): void;
  level(): LogLevel;
  /** Writes what is buffered, waiting for a slow reader no longer than `deadlineMs`. */
  close(deadlineMs: number): Promise<void>;
}

const DEFAULT_MAX_BUFFER_BYTES = 4 * 1024 * 1024;

export function openLog(options: LogOptions): Log {
  const stream = pinoDestination({
    dest: options.fd ?? 1,
    sync: false,
    maxLength: options.maxBufferBytes ?? DEFAULT_MAX_BUFFER_BYTES,
  });
  let dropped = 0;
  stream.on('drop', () => dropped++);
  const children = new Set<WeakRef<Logger>>();
  const logger = pino({ name: options.name, level: options.level }, stream);
  logger.onChild = (child) => children.add(new WeakRef(child as unknown as Logger));
  return {
    logger,
    droppedLines: () => dropped,
    level: () => logger.level as LogLevel,
    setLevel(level) {
      logger.level = level;
      for (const reference of children) {
        const child = reference.deref();
        if (child === undefined) children.delete(reference);
        else child.level = level;
      }
    },
    close: (deadlineMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, deadlineMs);
        stream.once('close', () => {
          clearTimeout(timer);
          resolve();
        });
        stream.end();
      }),
  };
}

/** For callers that need no more than a logger. */
export function createLog(options: LogOptions): Logger {
  return openLog(options).logger;
}
