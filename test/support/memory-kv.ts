// The key-value calls of ConsulKv in memory, with the faults that a test asks for: refused, done without an answer, lost without one.

import type { KvEntry, KvOperation, KvRead } from '../../control-plane/store/consul-kv.ts';
import { StoreError } from '../../control-plane/store/store.ts';

export type Fault = 'refused' | 'done-unanswered' | 'lost-unanswered' | null;

export class MemoryKv {
  readonly #entries: Map<string, KvEntry>;
  /** Asked before each call. */
  readonly #faultOf: () => Fault;
  readonly #index: { value: number };

  /** @param other  shares its keys */
  constructor(faultOf: () => Fault = () => null, other: MemoryKv | null = null) {
    this.#entries = other === null ? new Map() : other.#entries;
    this.#index = other === null ? { value: 1 } : other.#index;
    this.#faultOf = faultOf;
  }

  async read(prefix: string): Promise<KvRead> {
    if (this.#faultOf() !== null) throw new StoreError('unavailable', 'read');
    return {
      index: this.#index.value,
      entries: [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix)),
    };
  }

  async values(keys: readonly string[]): Promise<Map<string, string>> {
    if (this.#faultOf() !== null) throw new StoreError('unavailable', 'values');
    return new Map(keys.flatMap((key) => (this.#entries.has(key) ? [[key, this.#entries.get(key)?.value ?? '']] : [])));
  }

  async put(key: string, value: string): Promise<void> {
    const fault = this.#faultOf();
    if (fault === null || fault === 'done-unanswered') this.#set(key, value, ++this.#index.value);
    if (fault !== null) throw new StoreError('unavailable', 'put');
  }

  async transact(operations: readonly KvOperation[]): Promise<boolean> {
    const fault = this.#faultOf();
    if (fault === 'refused') throw new StoreError('unavailable', 'transact');
    if (fault === 'lost-unanswered') throw new StoreError('unknown', 'transact');
    const isMet = operations.every((operation) => {
      return !('index' in operation) || (this.#entries.get(operation.key)?.modifyIndex ?? 0) === operation.index;
    });
    if (isMet) this.#apply(operations);
    if (fault === 'done-unanswered') throw new StoreError('unknown', 'transact');
    return isMet;
  }

  close(): void {}

  #apply(operations: readonly KvOperation[]): void {
    const index = ++this.#index.value;
    for (const operation of operations) {
      if ('value' in operation) this.#set(operation.key, operation.value, index);
      else if (operation.verb === 'delete-tree') {
        for (const key of this.#entries.keys()) if (key.startsWith(operation.key)) this.#entries.delete(key);
      } else this.#entries.delete(operation.key);
    }
  }

  #set(key: string, value: string, modifyIndex: number): void {
    this.#entries.set(key, { key, value, modifyIndex, session: null });
  }
}
