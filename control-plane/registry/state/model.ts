// The records of the registry, in the spelling Consul puts on the wire. Records are replaced, never changed in place.

export type CheckStatus = 'passing' | 'warning' | 'critical';

export interface Weights {
  readonly Passing: number;
  readonly Warning: number;
}

/** Every row carries the index of the write that made it and of the last one that changed it. */
export interface Indexed {
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
}

export interface NodeInput {
  readonly ID: string;
  readonly Node: string;
  readonly Address: string;
  readonly Datacenter: string;
  readonly TaggedAddresses: Readonly<Record<string, string>> | null;
  readonly Meta: Readonly<Record<string, string>> | null;
}
export type NodeRow = NodeInput & Indexed;

export interface ServiceAddress {
  readonly Address: string;
  readonly Port: number;
}

export interface ServiceInput {
  readonly ID: string;
  readonly Service: string;
  readonly Kind?: string;
  readonly Tags: readonly string[];
  readonly Address: string;
  readonly TaggedAddresses?: Readonly<Record<string, ServiceAddress>>;
  readonly Meta: Readonly<Record<string, string>> | null;
  readonly Port: number;
  readonly Weights: Weights;
  readonly EnableTagOverride: boolean;
  /** Kept and given back as it came; the registry does not act on it. */
  readonly Proxy: unknown;
  readonly Connect: unknown;
}
export type ServiceRow = ServiceInput & Indexed & { readonly Node: string };

export interface CheckInput {
  readonly Node: string;
  readonly CheckID: string;
  readonly Name: string;
  readonly Status: CheckStatus;
  readonly Notes: string;
  readonly Output: string;
  readonly ServiceID: string;
  readonly ServiceName: string;
  readonly ServiceTags: readonly string[];
  readonly Type: string;
  readonly Definition: Readonly<Record<string, never>>;
}
export type CheckRow = CheckInput & Indexed;

export interface KvEntry extends Indexed {
  readonly LockIndex: number;
  readonly Key: string;
  /** Unsigned 64 bits on the wire; exact up to 2^53 here. */
  readonly Flags: number;
  readonly Value: Buffer;
  readonly Session: string;
}

export interface SessionRow extends Indexed {
  readonly ID: string;
  readonly Name: string;
  readonly Node: string;
  /** Nanoseconds, as Consul shows it. */
  readonly LockDelay: number;
  readonly Behavior: 'release' | 'delete';
  readonly TTL: string;
  readonly NodeChecks: readonly string[];
  readonly ServiceChecks: readonly { readonly ID: string; readonly Namespace: string }[] | null;
}

/** What a write touched: enough for a waiter to know whether to look again. */
export type Change =
  | { readonly table: 'catalog' }
  | { readonly table: 'sessions' }
  | { readonly table: 'kv'; readonly key: string; readonly isTree: boolean }
  | { readonly table: 'agent' };

export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

export function refused(error: string): { readonly ok: false; readonly error: string } {
  return { ok: false, error };
}
