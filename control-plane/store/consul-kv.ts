// Consul's key-value calls for the store and the lock: one client, a deadline on every call, every failure a StoreError.
// The `consul` package makes the calls; what it leaves out (cancelling by signal, an end to answers that break off, a type for
// values without a key) is added here.

import { EventEmitter } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type Consul from 'consul';
import { StoreError } from './store.ts';

/** Where Consul is and how to be let in. */
export interface ConsulAccess {
  readonly url: string;
  readonly token: string | null;
  /** Re-read before every call, so that a rotated token is used at once. Wins over `token`. */
  readonly tokenFile: string | null;
  readonly datacenter: string | null;
}

export interface KvEntry {
  readonly key: string;
  readonly value: string;
  readonly modifyIndex: number;
  /** Session that holds the key as a lock, or null. */
  readonly session: string | null;
}

export interface KvRead {
  /** X-Consul-Index of the answer. */
  readonly index: number;
  readonly entries: readonly KvEntry[];
}

export type KvOperation =
  | { readonly verb: 'cas'; readonly key: string; readonly value: string; readonly index: number }
  | { readonly verb: 'set'; readonly key: string; readonly value: string }
  | { readonly verb: 'delete-cas'; readonly key: string; readonly index: number }
  | { readonly verb: 'delete' | 'delete-tree'; readonly key: string };

/** Waits for a change after `index`, at most `waitMs`. */
export interface Blocking {
  readonly index: number;
  readonly waitMs: number;
}

/** `limits.kv_max_value_size` of a Consul that was not told otherwise, bytes; a transaction may not be larger either. */
export const VALUE_LIMIT_BYTES = 512 * 1024;
const CALL_TIMEOUT_MS = 2_000;
const READS_AT_ONCE = 16;
const NEVER_CONNECTED: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN']);

/** A `write` may be done in part or twice without harm; of a `commit` it must be known whether it was done. */
type Call = 'read' | 'write' | 'commit';

export class ConsulKv {
  readonly #client: Consul;
  readonly #access: ConsulAccess;

  private constructor(client: Consul, access: ConsulAccess) {
    this.#client = client;
    this.#access = access;
  }

  /** The package is loaded only where Consul is used. */
  static async open(access: ConsulAccess): Promise<ConsulKv> {
    const { default: Client } = await import('consul');
    // The option exists at run time and is missing in the package's types.
    const options: Record<string, unknown> = { baseUrl: `${access.url.replace(/\/$/, '')}/v1` };
    return new ConsulKv(new Client(options), access);
  }

  /** Everything under `prefix` as of one moment, confirmed by a quorum. */
  async read(prefix: string, blocking: Blocking | null = null, signal: AbortSignal | null = null): Promise<KvRead> {
    const query =
      blocking === null ? {} : { index: String(blocking.index), wait: `${Math.ceil(blocking.waitMs / 1000)}s` };
    // Consul adds up to a sixteenth to the time that it was asked to wait.
    const timeout = CALL_TIMEOUT_MS + (blocking === null ? 0 : (blocking.waitMs * 17) / 16);
    const [response, items] = (await this.#call('read', signal, (common) =>
      this.#client.kv.get({ ...common, key: prefix, recurse: true, consistent: true, ...query, timeout } as object),
    )) as unknown as [IncomingMessage, readonly RawEntry[] | undefined];
    const index = Number(response.headers['x-consul-index']);
    if (!Number.isSafeInteger(index)) throw unavailable('read', 'an answer without X-Consul-Index; is it a Consul?');
    return { index, entries: (items ?? []).map(entryOf) };
  }

  /** The values of these keys; a key that is not there is missing in the map. */
  async values(keys: readonly string[], signal: AbortSignal | null = null): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    const waiting = [...keys];
    const work = async (): Promise<void> => {
      for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
        const asked = key;
        const [, item] = (await this.#call('read', signal, (common) =>
          this.#client.kv.get({ ...common, key: asked, consistent: true, timeout: CALL_TIMEOUT_MS } as object),
        )) as unknown as [IncomingMessage, RawEntry | undefined];
        if (item !== undefined) found.set(asked, item.Value ?? '');
      }
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, work));
    return found;
  }

  async put(key: string, value: string, signal: AbortSignal | null = null): Promise<void> {
    refuseLarge(key, value);
    await this.#call('write', signal, (common) =>
      this.#client.kv.set({ ...common, key, value, timeout: CALL_TIMEOUT_MS } as { key: string; value: string }),
    );
  }

  /**
   * All operations or none.
   *
   * @returns false when one of them did not find what it needs
   * @throws StoreError of kind `unknown` when they were sent and no answer says what became of them
   */
  async transact(operations: readonly KvOperation[], signal: AbortSignal | null = null): Promise<boolean> {
    for (const operation of operations) if ('value' in operation) refuseLarge(operation.key, operation.value);
    const body = operations.map((operation) => ({
      KV: {
        Verb: operation.verb,
        Key: operation.key,
        ...('value' in operation ? { Value: Buffer.from(operation.value).toString('base64') } : {}),
        ...('index' in operation ? { Index: operation.index } : {}),
      },
    }));
    try {
      await this.#call('commit', signal, (common) =>
        this.#client.transaction.create(body as never, { ...common, timeout: CALL_TIMEOUT_MS } as never),
      );
      return true;
    } catch (error) {
      if (error instanceof StoreError && statusOf(error.cause) === 409) return false;
      throw error;
    }
  }

  /** Takes `key` for a session. @returns false while another session holds it */
  async acquire(key: string, value: string, session: string): Promise<boolean> {
    const [, isHeld] = (await this.#call('write', null, (common) =>
      this.#client.kv.set({ ...common, key, value, acquire: session, timeout: CALL_TIMEOUT_MS } as never),
    )) as unknown as [IncomingMessage, boolean | undefined];
    // The package turns false into undefined.
    return isHeld === true;
  }

  /** A session that ends `ttlMs` after its last renewal, at the latest twice that, and then lets go of its keys. */
  async createSession(name: string, ttlMs: number): Promise<string> {
    const options = { name, ttl: `${Math.ceil(ttlMs / 1000)}s`, behavior: 'release', lockdelay: '1s' };
    const [, { ID }] = (await this.#call('write', null, (common) =>
      this.#client.session.create({ ...common, ...options, timeout: CALL_TIMEOUT_MS } as never),
    )) as unknown as [IncomingMessage, { ID: string }];
    return ID;
  }

  /** @returns false when the session is over */
  async renewSession(id: string): Promise<boolean> {
    try {
      await this.#call('write', null, (common) =>
        this.#client.session.renew({ ...common, id, timeout: CALL_TIMEOUT_MS } as never),
      );
      return true;
    } catch (error) {
      if (error instanceof StoreError && statusOf(error.cause) === 404) return false;
      throw error;
    }
  }

  async destroySession(id: string): Promise<void> {
    await this.#call('write', null, (common) =>
      this.#client.session.destroy({ ...common, id, timeout: CALL_TIMEOUT_MS } as never),
    );
  }

  close(): void {
    this.#client.destroy();
  }

  async #call<T>(what: Call, signal: AbortSignal | null, run: (common: object) => Promise<T>): Promise<T> {
    // The package is cancelled through an emitter; `includeResponse` gives the headers with the body.
    const context = Object.assign(new EventEmitter(), { includeResponse: true });
    const cancel = (): void => void context.emit('cancel');
    let isSent = false;
    try {
      const token = await this.#token();
      signal?.throwIfAborted();
      signal?.addEventListener('abort', cancel, { once: true });
      isSent = true;
      const dc = this.#access.datacenter;
      return await run({ ctx: context, ...(token === null ? {} : { token }), ...(dc === null ? {} : { dc }) });
    } catch (error) {
      throw explain(what === 'commit' && !isSent ? 'write' : what, error);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  async #token(): Promise<string | null> {
    const { token, tokenFile } = this.#access;
    if (tokenFile === null) return token;
    return (await readFile(tokenFile, 'utf8')).trim();
  }
}

interface RawEntry {
  readonly Key: string;
  readonly Value: string | null;
  readonly ModifyIndex: number;
  readonly Session?: string;
}

function entryOf({ Key, Value, ModifyIndex, Session }: RawEntry): KvEntry {
  return { key: Key, value: Value ?? '', modifyIndex: ModifyIndex, session: Session ?? null };
}

function refuseLarge(key: string, value: string): void {
  const bytes = Buffer.byteLength(value);
  if (bytes <= VALUE_LIMIT_BYTES) return;
  const text = `${key} has ${bytes} bytes as JSON, Consul keeps at most ${VALUE_LIMIT_BYTES} per key; split the document`;
  throw new StoreError('too_large', text);
}

function explain(what: Call, raw: unknown): StoreError {
  const status = statusOf(raw);
  const text = raw instanceof Error ? raw.message : String(raw);
  // The package's errors hang on the whole request, token included; no log may get hold of that.
  const error = Object.assign(new Error(text), { statusCode: status });
  if (status === 413) {
    const hint = 'the document is larger than limits.kv_max_value_size of this Consul';
    return new StoreError('too_large', `${hint} (${text})`, { cause: error });
  }
  if (status === 403) {
    const text403 = `Consul refuses to ${what === 'read' ? 'read' : 'write'} (${text}); the token needs key_prefix write, key_prefix read and session write`;
    return new StoreError('unavailable', text403, { cause: error });
  }
  if (what === 'commit' && mayHaveHappened(raw, status, text)) {
    const told = `Consul did not say whether the change was stored (${text})`;
    return new StoreError('unknown', `${told}; read it again before it is repeated`, { cause: error });
  }
  return unavailable(what, text, error);
}

/** Not when there was nobody to send it to, nor when what came back says that nothing was begun. */
function mayHaveHappened(raw: unknown, status: number, text: string): boolean {
  if (status >= 500) return !text.includes('No cluster leader');
  const code = raw instanceof Error && 'code' in raw ? String(raw.code) : '';
  return status === 0 && !NEVER_CONNECTED.has(code);
}

function unavailable(what: string, text: string, cause?: unknown): StoreError {
  return new StoreError(
    'unavailable',
    `policy store in Consul cannot be ${what === 'read' ? 'read' : 'written'} (${text})`,
    {
      cause,
    },
  );
}

function statusOf(error: unknown): number {
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : null;
  return typeof status === 'number' ? status : 0;
}
