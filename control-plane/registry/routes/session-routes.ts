// /v1/session/…: sessions on the registry's own node or on registered ones, and the timers that end those with a TTL.

import { randomUUID } from 'node:crypto';
import { decodeBody } from '../decode.ts';
import type { Answer, Call, Handler, Route } from '../http.ts';
import { blocking, json, text } from '../http.ts';
import type { SessionRow } from '../state/model.ts';
import type { Store } from '../state/store.ts';
import { type After, parseGoDuration } from '../time.ts';
import type { StoreRoutesOptions } from './health-routes.ts';
import { malformedSessionId } from './kv-routes.ts';

const SHAPE = {
  Name: 'string',
  Node: 'string',
  Behavior: 'string',
  TTL: 'string',
  LockDelay: 'duration',
  Checks: 'strings',
  NodeChecks: 'strings',
  ServiceChecks: 'objects',
  Namespace: 'string',
} as const;
const MIN_TTL_MS = 10_000;
const MAX_TTL_MS = 86_400_000;
const DEFAULT_LOCK_DELAY_MS = 15_000;
/** Consul ends a session only after twice its TTL: the TTL is a lower bound, and a leader change must not shorten it. */
const TTL_GRACE = 2;
const NS_PER_MS = 1e6;

/** The deadlines of sessions with a TTL; a renewed session gets a new one. */
export class SessionExpiry {
  readonly #store: Store;
  readonly #after: After;
  readonly #cancels = new Map<string, () => void>();

  constructor(store: Store, after: After) {
    this.#store = store;
    this.#after = after;
    // A session that ends in another way takes its timer along.
    store.onChange((changes) => {
      if (!changes.some(({ table }) => table === 'sessions')) return;
      for (const id of [...this.#cancels.keys()]) if (store.session(id) === null) this.#disarm(id);
    });
  }

  arm(session: Pick<SessionRow, 'ID' | 'TTL'>): void {
    this.#disarm(session.ID);
    const ttlMs = session.TTL === '' ? 0 : (parseGoDuration(session.TTL) ?? 0);
    if (ttlMs <= 0) return;
    const end = (): void => this.#store.write((index) => this.#store.destroySession(index, session.ID));
    this.#cancels.set(session.ID, this.#after(ttlMs * TTL_GRACE, end));
  }

  close(): void {
    for (const id of [...this.#cancels.keys()]) this.#disarm(id);
  }

  #disarm(id: string): void {
    this.#cancels.get(id)?.();
    this.#cancels.delete(id);
  }
}

export function sessionRoutes(
  options: StoreRoutesOptions & { readonly node: string; readonly expiry: SessionExpiry },
): Route[] {
  const { store, waiters, datacenter, expiry } = options;
  const list =
    (missing: string | null, pick: (session: SessionRow, name: string) => boolean): Handler =>
    (call) => {
      if (missing !== null && call.name === '') return text(400, missing);
      return blocking(waiters, call, datacenter, {
        concerns: ({ table }) => table === 'sessions',
        index: () => store.sessionIndex,
        answer: () => json(store.sessions().filter((session) => pick(session, call.name))),
      });
    };
  const info = list('Missing session', (session, id) => session.ID === id);
  return [
    { path: '/v1/session/create', PUT: (call) => create(store, expiry, options.node, call) },
    { path: '/v1/session/list', GET: list(null, () => true) },
    { path: '/v1/session/node/', GET: list('Missing node name', (session, node) => session.Node === node) },
    {
      path: '/v1/session/info/',
      GET: (call) => {
        const malformed = call.name === '' ? null : malformedSessionId(call.name);
        return malformed === null ? info(call) : { ...text(500, malformed), headers: { 'x-consul-index': '1' } };
      },
    },
    { path: '/v1/session/renew/', PUT: (call) => renew(store, expiry, call) },
    { path: '/v1/session/destroy/', PUT: (call) => destroy(store, call) },
  ];
}

function create(store: Store, expiry: SessionExpiry, node: string, call: Call): Answer {
  const decoded = call.body.length === 0 ? { ok: true as const, value: {} } : decodeSession(call.body);
  if (!decoded.ok) return text(400, decoded.error);
  const session = buildSession(decoded.value, node);
  if (typeof session === 'string') return text(500, session);
  const created = store.write((index) => store.createSession(index, session));
  if (!created.ok) return text(500, created.error);
  expiry.arm(session);
  return json({ ID: session.ID });
}

function decodeSession(body: Buffer): ReturnType<typeof decodeBody<typeof SHAPE>> {
  return decodeBody(body, SHAPE);
}

type Given = Extract<ReturnType<typeof decodeSession>, { ok: true }>['value'];

/** The session, or the sentence that refuses it. */
function buildSession(given: Given, node: string): Omit<SessionRow, 'CreateIndex' | 'ModifyIndex'> | string {
  const behavior = given.Behavior || 'release';
  if (behavior !== 'release' && behavior !== 'delete') return `Invalid Behavior setting '${behavior}'`;
  const ttl = given.TTL ?? '';
  if (ttl !== '') {
    const ttlMs = parseGoDuration(ttl);
    if (ttlMs === null) return `Session TTL '${ttl}' invalid: time: invalid duration ${JSON.stringify(ttl)}`;
    if (ttlMs !== 0 && (ttlMs < MIN_TTL_MS || ttlMs > MAX_TTL_MS)) {
      return `Invalid Session TTL '${ttlMs * NS_PER_MS}', must be between [10s=24h0m0s]`;
    }
  }
  const serviceChecks = (given.ServiceChecks ?? []).map((raw) => {
    const id = typeof raw === 'object' && raw !== null && 'ID' in raw ? String(raw.ID) : '';
    return { ID: id, Namespace: '' };
  });
  return {
    ID: randomUUID(),
    Name: given.Name ?? '',
    Node: given.Node || node,
    LockDelay: readLockDelay(given.LockDelay),
    Behavior: behavior,
    TTL: ttl,
    NodeChecks: given.NodeChecks ?? given.Checks ?? ['serfHealth'],
    ServiceChecks: serviceChecks.length === 0 ? null : serviceChecks,
  };
}

/** Nanoseconds. A bare number below 1000 means seconds: Consul's own courtesy to hand-written requests. */
function readLockDelay(ms: number | undefined): number {
  if (ms === undefined) return DEFAULT_LOCK_DELAY_MS * NS_PER_MS;
  const ns = Math.round(ms * NS_PER_MS);
  return ns > 0 && ns < 1000 ? ns * 1000 * NS_PER_MS : Math.max(0, ns);
}

function renew(store: Store, expiry: SessionExpiry, call: Call): Answer {
  if (call.name === '') return text(400, 'Missing session');
  const malformed = malformedSessionId(call.name);
  if (malformed !== null) return text(500, malformed);
  const session = store.session(call.name);
  if (session === null) return text(404, `Session id '${call.name}' not found`);
  expiry.arm(session);
  return json([session]);
}

function destroy(store: Store, call: Call): Answer {
  if (call.name === '') return text(400, 'Missing session');
  const malformed = malformedSessionId(call.name);
  if (malformed !== null) return text(500, malformed);
  store.write((index) => store.destroySession(index, call.name));
  return json(true);
}
