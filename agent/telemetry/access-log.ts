// One line for each request that ended, as JSON. Owns which requests are written and what is kept out of a line; must not
// decide anything about the request.

import type { RequestResult } from '../core/reason.ts';
import type { Logger } from './log.ts';

/** One request, ended. Times in ms, sizes in bytes of body. */
export interface AccessRecord {
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  readonly method: string;
  /** Request target as it came; the query string is removed before writing. */
  readonly path: string;
  /** Status sent downstream; 0 when nothing was sent. */
  readonly status: number;
  readonly result: RequestResult;
  readonly durationMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Address of the endpoint that answered, or null. */
  readonly endpoint: string | null;
  readonly attempts: number;
  readonly requestId: string;
  readonly retryReason: string | null;
}

export type AccessLogMode = 'off' | 'failures' | 'all';

export interface AccessLog {
  write(record: AccessRecord): void;
}

export interface AccessLogOptions {
  readonly mode: AccessLogMode;
  /** Query strings carry tokens and names; they are written only when this is true. Default false. */
  readonly isQueryKept?: boolean;
}

/** Longest text value in a line, bytes of UTF-8 before JSON escaping. */
export const MAX_VALUE_BYTES = 256;

export function createAccessLog(log: Logger, mode: AccessLogMode | AccessLogOptions): AccessLog {
  const options = typeof mode === 'string' ? { mode } : mode;
  const child = log.child({ log: 'access' });
  return {
    write(record) {
      if (options.mode === 'off') return;
      if (options.mode === 'failures' && record.result === 'ok' && record.status < 500) return;
      child.info(record);
    },
  };
}
