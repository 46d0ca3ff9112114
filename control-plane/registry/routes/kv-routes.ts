// /v1/kv/… : reads with indexes, writes with check-and-set and locks.

import type { Answer, Call, Route } from '../http.ts';
import { blocking, json, text } from '../http.ts';
import { parseUint } from '../state/kv.ts';
import type { KvEntry } from '../state/model.ts';
import type { Store } from '../state/store.ts';
import type { StoreRoutesOptions } from './health-routes.ts';

export interface KvRoutesOptions extends StoreRoutesOptions {
  /** Monotonic ms, for lock delays. */
  readonly now: () => number;
}

export function kvRoutes(options: KvRoutesOptions): Route[] {
  return [
    {
      path: '/v1/kv/',
      GET: (call) => read(options, call),
      PUT: (call) => write(options, call),
      DELETE: (call) => remove(options.store, call),
    },
  ];
}

function read(options: KvRoutesOptions, call: Call): Answer | Promise<Answer> {
  const { store, waiters, datacenter } = options;
  const { kv } = store;
  const key = call.name;
  const isTree = call.query.has('keys') || call.query.has('recurse');
  if (key === '' && !isTree) return text(400, 'Missing key name');
  const missing: Answer = { status: 404 };
  return blocking(waiters, call, datacenter, {
    concerns: (change) =>
      change.table === 'kv' && (isTree || change.isTree ? overlaps(key, change.key) : change.key === key),
    index: () => (isTree ? kv.prefixIndex(key) : kv.keyIndex(key)),
    answer: () => {
      if (call.query.has('keys')) {
        const keys = kv.keys(key, call.query.get('separator') ?? '');
        return keys.length === 0 && key !== '' ? missing : json(keys);
      }
      const entry = kv.get(key);
      const entries = isTree ? kv.list(key) : entry === null ? [] : [entry];
      const [first] = entries;
      if (first === undefined) return missing;
      return call.query.has('raw') && !isTree ? raw(first) : json(entries.map(describeEntry));
    },
  });
}

/** Either could be inside the other. */
function overlaps(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}

function raw(entry: KvEntry): Answer {
  const headers = {
    'content-type': 'text/plain',
    'content-security-policy': 'sandbox',
    'x-content-type-options': 'nosniff',
  };
  return { status: 200, headers, body: entry.Value };
}

export function describeEntry(entry: KvEntry): Record<string, unknown> {
  const { LockIndex, Key, Flags, Value, Session, CreateIndex, ModifyIndex } = entry;
  return {
    LockIndex,
    Key,
    Flags,
    Value: Value.length === 0 ? null : Value.toString('base64'),
    ...(Session === '' ? {} : { Session }),
    CreateIndex,
    ModifyIndex,
  };
}

function write({ store, now }: KvRoutesOptions, call: Call): Answer {
  const { query, name: key } = call;
  if (key === '') return text(400, 'Missing key name');
  const conflict = conflicting(query, ['acquire', 'cas', 'release']);
  if (conflict !== null) return text(400, conflict);
  const flags = parseUint(query.get('flags') || '0');
  if (!flags.ok) return text(500, flags.error);
  const change = { key, value: call.body, flags: flags.value };
  const cas = query.get('cas');
  if (cas !== null) {
    const expected = parseUint(cas);
    if (!expected.ok) return text(500, expected.error);
    return json(store.write((index) => store.kv.setIf(index, change, expected.value)) !== null);
  }
  const acquire = query.get('acquire');
  if (acquire !== null) {
    const refusal = refuseSession(store, acquire);
    if (refusal !== null) return text(500, refusal);
    if (store.kv.isLockDelayed(key, now())) return json(false);
    return json(store.write((index) => store.kv.acquire(index, change, acquire)) !== null);
  }
  const release = query.get('release');
  if (release === '') return text(500, 'missing session');
  if (release !== null) return json(store.write((index) => store.kv.release(index, change, release)) !== null);
  store.write((index) => store.kv.set(index, change));
  return json(true);
}

/** Why a lock cannot be taken under this session id; null when it can. */
export function refuseSession(store: Store, id: string): string | null {
  if (id === '') return 'missing session';
  const malformed = malformedSessionId(id);
  if (malformed !== null) return malformed;
  return store.session(id) === null ? `invalid session ${JSON.stringify(id)}` : null;
}

export function malformedSessionId(id: string): string | null {
  return id.length === 36 ? null : 'failed session lookup: index error: UUID must be 36 characters';
}

function remove(store: Store, call: Call): Answer {
  const { query, name: key } = call;
  const isTree = query.has('recurse');
  if (key === '' && !isTree) return text(400, 'Missing key name');
  const conflict = conflicting(query, ['cas', 'recurse']);
  if (conflict !== null) return text(400, conflict);
  const cas = query.get('cas');
  if (cas !== null) {
    const expected = parseUint(cas);
    if (!expected.ok) return text(500, expected.error);
    return json(store.write((index) => store.kv.deleteIf(index, key, expected.value)));
  }
  store.write((index) => (isTree ? store.kv.deleteTree(index, key) : store.kv.delete(index, key)));
  return json(true);
}

function conflicting(query: URLSearchParams, names: readonly string[]): string | null {
  const given = names.filter((name) => query.has(name));
  return given.length < 2 ? null : `Conflicting flags: ${given.map((name) => `${name}=${query.get(name)}`).join('&')}`;
}
