// The agent's log: JSON lines on standard output. Owns levels and what is never written (redaction); the destination is
// log-destination.ts. What is logged, and in which words, belongs to the callers.

import { type Logger as PinoLogger, pino } from 'pino';
import { LogDestination } from './log-destination.ts';

export type Logger = PinoLogger;
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  readonly name: string;
  /** File descriptor to write to; standard output by default. */
  readonly fd?: number;
  /** Bytes kept while the reader stands still; a line that would exceed it is dropped and counted. Default 4 MiB. */
  readonly maxBufferBytes?: number;
}

/** A logger together with what only its owner may do. */
export interface Log {
  readonly logger: Logger;
  /** Lines lost so far because the reader was too slow or gone. */
  droppedLines(): number;
  level(): LogLevel;
  /** Changes the logger and every child made from it: pino alone would leave children as they are. */
  setLevel(level: LogLevel): void;
  /** Writes what is buffered, waits for a slow reader no longer than `deadlineMs`, and drops every later line. */
  close(deadlineMs: number): Promise<void>;
}

const DEFAULT_MAX_BUFFER_BYTES = 4 * 1024 * 1024;
const SECRET_KEYS = [
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-consul-token',
  'token',
  'password',
];

/** Redacted wherever they stand at the top of a line or one level below (`headers.cookie`, `config.token`). */
export const REDACTED_PATHS: readonly string[] = SECRET_KEYS.flatMap((key) => [`["${key}"]`, `*["${key}"]`]);

export function openLog(options: LogOptions): Log {
  const destination = new LogDestination(options.fd ?? 1, options.maxBufferBytes ?? DEFAULT_MAX_BUFFER_BYTES);
  const children = new Set<WeakRef<{ level: string }>>();
  const logger = pino(
    {
      name: options.name,
      level: options.level,
      redact: { paths: [...REDACTED_PATHS], censor: '[redacted]' },
      onChild: (child) => children.add(new WeakRef(child)),
    },
    destination,
  );
  let level = options.level;
  return {
    logger,
    droppedLines: () => destination.droppedLines,
    level: () => level,
    setLevel(next) {
      level = next;
      logger.level = next;
      for (const reference of children) {
        const child = reference.deref();
        if (child === undefined) children.delete(reference);
        else child.level = next;
      }
    },
    close: (deadlineMs) => destination.close(deadlineMs),
  };
}

/** For callers that need no more than a logger. */
export function createLog(options: LogOptions): Logger {
  return openLog(options).logger;
}
