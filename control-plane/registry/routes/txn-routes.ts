// /v1/txn: several key-value operations, all or none, under one index.

import { decode } from '../decode.ts';
import type { Answer, Call, Route } from '../http.ts';
import { json, text } from '../http.ts';
import type { KvEntry, Result } from '../state/model.ts';
import { refused } from '../state/model.ts';
import type { Store } from '../state/store.ts';
import { describeEntry, type KvRoutesOptions, refuseSession } from './kv-routes.ts';

const MAX_OPERATIONS = 64;
const KV_SHAPE = {
  Verb: 'string',
  Key: 'string',
  Value: 'string',
  Flags: 'int',
  Index: 'int',
  Session: 'string',
  Namespace: 'string',
} as const;

interface Operation {
  readonly verb: string;
  readonly key: string;
  readonly value: Buffer;
  readonly flags: number;
  readonly index: number;
  readonly session: string;
}

interface TxnError {
  readonly OpIndex: number;
  readonly What: string;
}

export function txnRoutes(options: KvRoutesOptions): Route[] {
  return [{ path: '/v1/txn', PUT: (call) => run(options, call) }];
}

function run(options: KvRoutesOptions, call: Call): Answer {
  const operations = readOperations(call.body);
  if (!operations.ok) return text(400, `Failed to parse body: ${operations.error}`);
  if (operations.value.length > MAX_OPERATIONS) {
    return text(413, `Transaction contains too many operations (${operations.value.length} > ${MAX_OPERATIONS})`);
  }
  const isRead = operations.value.every(({ verb }) => !WRITES.has(verb));
  const meta = isRead ? { Index: 0, LastContact: 0, KnownLeader: true, ConsistencyLevel: '' } : {};
  const outcome = options.store.writeAll((index) => apply(options, index, operations.value));
  if (outcome.ok) {
    return json({ Results: outcome.value.map((entry) => ({ KV: entry })), Errors: null, ...meta });
  }
  return { ...json({ Results: null, Errors: outcome.error, ...meta }), status: 409 };
}

const WRITES: ReadonlySet<string> = new Set(['set', 'cas', 'lock', 'unlock', 'delete', 'delete-tree', 'delete-cas']);

function apply(
  options: KvRoutesOptions,
  index: number,
  operations: readonly Operation[],
): { ok: true; value: unknown[] } | { ok: false; error: TxnError[] } {
  const results: unknown[] = [];
  const errors: TxnError[] = [];
  for (const [OpIndex, operation] of operations.entries()) {
    const done = applyOne(options, index, operation);
    if (done.ok) results.push(...done.value);
    else errors.push({ OpIndex, What: done.error });
  }
  return errors.length === 0 ? { ok: true, value: results } : { ok: false, error: errors };
}

function applyOne({ store, now }: KvRoutesOptions, index: number, operation: Operation): Result<unknown[]> {
  const { kv } = store;
  const { verb, key } = operation;
  const quoted = JSON.stringify(key);
  const entry = kv.get(key);
  switch (verb) {
    case 'set':
      return written(kv.set(index, operation), '');
    case 'cas':
      return written(kv.setIf(index, operation, operation.index), `failed to set key ${quoted}, index is stale`);
    case 'lock': {
      const refusal = refuseSession(store, operation.session);
      if (refusal !== null) return refused(refusal);
      const held = kv.isLockDelayed(key, now()) ? null : kv.acquire(index, operation, operation.session);
      return written(held, `failed to lock key ${quoted}, lock is already held`);
    }
    case 'unlock':
      return written(
        kv.release(index, operation, operation.session),
        `failed to unlock key ${quoted}, lock isn't held, or is held by another session`,
      );
    case 'delete':
      kv.delete(index, key);
      return { ok: true, value: [] };
    case 'delete-cas':
      if (kv.deleteIf(index, key, operation.index)) return { ok: true, value: [] };
      return refused(`failed to delete key ${quoted}, index is stale`);
    case 'delete-tree':
      kv.deleteTree(index, key);
      return { ok: true, value: [] };
    default:
      return readOne(store, operation, entry);
  }
}

function readOne(store: Store, { verb, key, index, session }: Operation, entry: KvEntry | null): Result<unknown[]> {
  const quoted = JSON.stringify(key);
  switch (verb) {
    case 'get-tree':
      return { ok: true, value: store.kv.list(key).map(describeEntry) };
    case 'check-not-exists':
      return entry === null ? { ok: true, value: [] } : refused(`key ${quoted} exists`);
    case 'get':
    case 'check-index':
    case 'check-session':
      break;
    default:
      return refused(`unknown KV verb ${JSON.stringify(verb)}`);
  }
  if (entry === null) return refused(`key ${quoted} doesn't exist`);
  if (verb === 'get') return { ok: true, value: [describeEntry(entry)] };
  const isMatch = verb === 'check-index' ? entry.ModifyIndex === index : entry.Session === session;
  if (isMatch) return { ok: true, value: [{ ...describeEntry(entry), Value: null }] };
  return refused(`current ${verb === 'check-index' ? 'modify index' : 'session'} for key ${quoted} doesn't match`);
}

/** A write answers with its entry but without the value. */
function written(entry: KvEntry | null, otherwise: string): Result<unknown[]> {
  return entry === null ? refused(otherwise) : { ok: true, value: [{ ...describeEntry(entry), Value: null }] };
}

function readOperations(body: Buffer): Result<Operation[]> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch (error) {
    return refused(error instanceof Error ? error.message : String(error));
  }
  if (!Array.isArray(parsed)) return refused('expected an array of operations');
  const operations: Operation[] = [];
  for (const item of parsed) {
    const outer = decode(item, { KV: 'object' });
    if (!outer.ok) return outer;
    if (outer.value.KV === undefined) return refused('the embedded registry runs KV operations only');
    const inner = decode(outer.value.KV, KV_SHAPE);
    if (!inner.ok) return inner;
    const { Verb = '', Key = '', Value = '', Flags = 0, Index = 0, Session = '' } = inner.value;
    const value = Buffer.from(Value, 'base64');
    operations.push({ verb: Verb.toLowerCase(), key: Key, value, flags: Flags, index: Index, session: Session });
  }
  return { ok: true, value: operations };
}
