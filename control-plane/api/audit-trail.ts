// Writes the audit log: every change, whatever became of it, and every attempt that was not permitted. An entry is durable
// before its answer goes out. When one cannot be written, the next change is refused until it is: so at most the changes
// that were under way at that moment are answered before they are in the log.

import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AuditDraft } from '../core/audit.ts';
import type { AccessStore } from '../store/access-store.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `off` for methods that change nothing an operator decides: dry runs, verdicts, reports. */
    audit?: 'off';
  }
  interface FastifyRequest {
    /** What a change made, for the audit log. */
    made: string | null;
    /** Code of the problem that was answered. */
    refusal: string | null;
    /** Address of the peer as it was when the request came: a socket that is gone has none. */
    peer: string;
  }
}

/** Denied attempts that are written per window; guesses without end must not fill the store, after which no change could be made. */
export const DENIED_WINDOWS = [
  { lengthMs: 60_000, limit: 60 },
  { lengthMs: 86_400_000, limit: 2_000 },
] as const;
/** Entries that wait for a store that cannot be written; only denied attempts are dropped beyond it. */
const WAITING_LIMIT = 1_000;
/** How long an answer waits for its entry, its own work included, but at least SHORTEST_MS: longer than an election takes. */
const ANSWER_WITHIN_MS = 5_000;
const SHORTEST_MS = 2_000;
/** Of an entry that waits, and of one about a change that failed: what kept the change from its store keeps this from it too. */
const AGAIN_WITHIN_MS = 1_500;
const AGAIN_EVERY_MS = 2_000;
const LONGEST_PATH = 300;
const DENIED = new Set([401, 403, 429]);

export interface AuditOptions {
  readonly store: AccessStore;
  readonly now: () => number;
  readonly epochMs: () => number;
  readonly log: FastifyBaseLogger;
}

/** Records for every route of `app` that is added after it. */
export function registerAudit(app: FastifyInstance, options: AuditOptions): void {
  const trail = new AuditTrail(options);
  app.decorateRequest('made', null);
  app.decorateRequest('refusal', null);
  app.decorateRequest('peer', 'unknown');
  app.addHook('onRequest', async (request) => {
    request.peer = (request.ip as string | undefined) ?? 'unknown';
  });
  app.addHook('preHandler', async (request) => {
    if (isChange(request)) await trail.flush();
  });
  app.addHook('onSend', async (request, reply) => {
    if (isChange(request) || DENIED.has(reply.statusCode)) await trail.record(request, reply);
  });
  app.addHook('onClose', () => trail.close());
}

function isChange({ method, routeOptions }: FastifyRequest): boolean {
  const isRead = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
  return !isRead && routeOptions.url !== undefined && routeOptions.config.audit !== 'off';
}

interface Waiting {
  readonly draft: AuditDraft;
  readonly withinMs: number;
}

class AuditTrail {
  readonly #options: AuditOptions;
  /** In the order of the log; the first is the one that is being written. */
  readonly #waiting: Waiting[] = [];
  /** Why the first of them could not be written; null while nothing stands in the way. */
  #obstacle: unknown = null;
  /** One at a time for all requests: each trying for itself, the last of many would wait for the failures of all. */
  #writing: Promise<void> | null = null;
  #again: NodeJS.Timeout | undefined;
  readonly #windows = DENIED_WINDOWS.map((window) => ({ ...window, since: Number.NEGATIVE_INFINITY, written: 0 }));
  /** Denied attempts since the last one that was written. */
  #left = 0;

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  /** Tries once more what could not be written. @throws StoreError when it still cannot be */
  async flush(): Promise<void> {
    if (this.#obstacle === null) return;
    await this.#write();
    if (this.#obstacle !== null) throw this.#obstacle;
  }

  async record(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const isDenied = DENIED.has(reply.statusCode);
    const left = isDenied ? this.#deniedBefore() : 0;
    if (left === null) return;
    if (isDenied && this.#obstacle !== null && this.#waiting.length >= WAITING_LIMIT) return;
    const leftMs = Math.max(SHORTEST_MS, ANSWER_WITHIN_MS - reply.elapsedTime);
    const draft = draftOf(request, reply, this.#options.epochMs(), left);
    this.#waiting.push({ draft, withinMs: reply.statusCode >= 500 ? AGAIN_WITHIN_MS : leftMs });
    if (this.#obstacle === null) await this.#write();
  }

  /** Tries a last time. */
  async close(): Promise<void> {
    await this.#write();
    clearTimeout(this.#again);
  }

  /** Settles when nothing waits any more, or the first of what waits could not be written. */
  #write(): Promise<void> {
    if (this.#waiting.length === 0) return Promise.resolve();
    this.#writing ??= this.#writeWaiting();
    return this.#writing;
  }

  async #writeWaiting(): Promise<void> {
    clearTimeout(this.#again);
    try {
      for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
        await this.#options.store.append(next.draft, this.#obstacle === null ? next.withinMs : AGAIN_WITHIN_MS);
        this.#waiting.shift();
        this.#obstacle = null;
      }
    } catch (error) {
      if (this.#obstacle === null) {
        this.#options.log.error({ err: error }, 'the audit log cannot be written; changes are refused until it can');
      }
      this.#obstacle = error;
      this.#again = setTimeout(() => void this.#write(), AGAIN_EVERY_MS);
      this.#again.unref();
    } finally {
      this.#writing = null;
    }
  }

  /** How many denied attempts were left out since the last one that was written; null when this one is left out too. */
  #deniedBefore(): number | null {
    const now = this.#options.now();
    for (const window of this.#windows) {
      if (now - window.since >= window.lengthMs) Object.assign(window, { since: now, written: 0 });
    }
    if (this.#windows.some(({ written, limit }) => written >= limit)) {
      this.#left++;
      return null;
    }
    for (const window of this.#windows) window.written++;
    const left = this.#left;
    this.#left = 0;
    return left;
  }
}

function draftOf(request: FastifyRequest, reply: FastifyReply, atEpochMs: number, left: number): AuditDraft {
  const { statusCode: status } = reply;
  const isDenied = DENIED.has(status);
  const etag = reply.getHeader('etag');
  const revision = typeof etag === 'string' && status < 300 ? `revision ${etag.replaceAll('"', '')}` : null;
  return {
    atEpochMs,
    actor: status === 401 ? null : request.operator,
    tokenId: request.token?.id ?? null,
    role: request.token?.role ?? null,
    from: request.peer,
    method: request.method,
    path: pathOf(request.url, isDenied),
    verdict: isDenied ? 'denied' : status >= 400 ? 'refused' : 'allowed',
    status,
    code: request.refusal,
    result: left > 0 ? `${left} denied attempts before this one were not written` : resultOf(request, revision),
  };
}

/** What was made of it. Force is said here too: the path is cut, and a long message in front of it would hide it. */
function resultOf({ made, query }: FastifyRequest, revision: string | null): string | null {
  const isForced = (query as { readonly force?: unknown }).force === 'true';
  const said = [made ?? revision, isForced ? 'by force' : null].filter((part) => part !== null);
  return said.length === 0 ? null : said.join(', ');
}

/** A change with its query, which says what was asked of an agent; whoever was denied may have put a secret there. */
function pathOf(url: string, isDenied: boolean): string {
  const path = isDenied ? (url.split('?', 1)[0] ?? '') : url;
  return path.replace(/otr_[a-z0-9]{16}_[\w-]+/g, 'otr_…').slice(0, LONGEST_PATH);
}
