// Keeps the counts behind error budgets in Consul, each control plane under a name of its own:
//
//   slo/heads/NAME            what NAME kept: the keys of its pieces, which are never changed
//   slo/pieces/NAME/P.N       services whose names fall to piece P, as of the Nth writing, packed
//   slo/alerts                what fires, written by whoever leads
//
// The head is the commit: pieces are written first, then the head is swapped against the index that was last seen of it. Taking over
// the part of one that ended is one transaction, too: the own head gets its keys, its head goes. Whoever finds its head gone was taken
// for dead, and what it had kept is counted elsewhere. So no count is ever in two parts.

import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { hashOf } from '../core/hash.ts';
import type { ConsulKv, KvEntry, KvOperation } from './consul-kv.ts';
import type { OtherPart, SaveResult, SloStore } from './slo-store.ts';
import { StoreError } from './store.ts';

/** A service and its neighbours in the piece are written anew when one of them changed. */
const PIECES = 64;

interface Head {
  readonly writings: number;
  readonly atEpochMs: number;
  readonly isEnded: boolean;
  readonly keys: readonly string[];
}

/** A head that was read, with the index that says it is still the same. */
interface SeenHead extends Head {
  readonly index: number;
}

export interface ConsulSloStoreOptions {
  readonly kv: Pick<ConsulKv, 'read' | 'values' | 'put' | 'transact' | 'close'>;
  /** With its slash at the end. */
  readonly prefix: string;
  readonly replica: string;
  readonly epochMs: () => number;
}

export function createConsulSloStore(options: ConsulSloStoreOptions): SloStore {
  return new ConsulSloStore(options);
}

const pack = promisify(gzip);
const unpack = promisify(gunzip);

class ConsulSloStore implements SloStore {
  readonly isAlone = false;
  readonly #options: ConsulSloStoreOptions;
  readonly #headsAt: string;
  readonly #piecesAt: string;
  /** Under this name it keeps its part; another one once the part was taken, so that what is left under the old one can go. */
  #name: string;
  #lives = 1;
  /** Own head as it was seen last; null before, and after it was taken. */
  #head: SeenHead | null = null;
  #writings = 0;
  /** Key and text of each own piece. */
  #pieces = new Map<number, { readonly key: string; readonly text: string }>();
  /** Keys of others in the own head whose services are counted here by now. */
  #absorbed = new Set<string>();
  /** Heads of the others as `others` saw them. */
  #others = new Map<string, SeenHead>();
  /** Services by key of a piece, for the keys that are in use. */
  #read = new Map<string, readonly unknown[]>();

  constructor(options: ConsulSloStoreOptions) {
    this.#options = options;
    this.#name = options.replica;
    this.#headsAt = `${options.prefix}slo/heads/`;
    this.#piecesAt = `${options.prefix}slo/pieces/`;
  }

  /** An earlier life has another name: it is one of the others until its part is taken over. */
  async load(): Promise<null> {
    return null;
  }

  async save(services: readonly unknown[], isEnd: boolean): Promise<SaveResult> {
    const pieces = await this.#writePieces(services);
    const own = [...pieces.values()].map(({ key }) => key);
    let result = await this.#commit([...own, ...this.#carried()], isEnd, null);
    // A writing that nobody answered for was done after all.
    if (result === 'moved') result = await this.#commit([...own, ...this.#carried()], isEnd, null);
    if (result === 'moved') throw new StoreError('unavailable', 'the counts in Consul were changed by somebody else');
    if (result === 'taken') {
      this.#name = `${this.#options.replica}.${++this.#lives}`;
      this.#pieces.clear();
      this.#absorbed.clear();
      return 'taken';
    }
    const old = [...this.#pieces.values()].map(({ key }) => key).filter((key) => !own.includes(key));
    this.#pieces = pieces;
    await this.#drop(old);
    return 'saved';
  }

  async others(): Promise<ReadonlyMap<string, OtherPart>> {
    const heads = await this.#heads();
    heads.delete(this.#name);
    const carried = this.#carried();
    const wanted = [...new Set([...heads.values()].flatMap(({ keys }) => keys)), ...carried];
    const texts = await this.#options.kv.values(wanted.filter((key) => !this.#read.has(key)));
    const read = new Map<string, readonly unknown[]>();
    for (const key of wanted) {
      const text = texts.get(key);
      const services = this.#read.get(key) ?? (text === undefined ? null : await servicesOf(key, text));
      if (services !== null) read.set(key, services);
    }
    this.#read = read;
    const servicesIn = (keys: readonly string[]): unknown[] => keys.flatMap((key) => read.get(key) ?? []);
    const parts = new Map<string, OtherPart>();
    for (const [name, { writings, atEpochMs, isEnded, keys }] of heads) {
      // A piece that went between the two reads was replaced: the next look has the head that says so.
      if (keys.every((key) => read.has(key)))
        parts.set(name, { services: servicesIn(keys), writings, atEpochMs, isEnded });
      else heads.delete(name);
    }
    this.#others = heads;
    if (carried.length > 0 && this.#head !== null) {
      const { writings, atEpochMs } = this.#head;
      parts.set(this.#name, { services: servicesIn(carried), writings, atEpochMs, isEnded: true });
    }
    return parts;
  }

  async adopt(other: string): Promise<boolean> {
    const head = this.#head;
    if (head === null) return false;
    if (other !== this.#name) {
      const theirs = this.#others.get(other);
      if (theirs === undefined) return false;
      const keys = [...head.keys, ...theirs.keys];
      if ((await this.#commit(keys, false, { name: other, index: theirs.index })) !== 'done') return false;
      for (const key of theirs.keys) this.#absorbed.add(key);
      return true;
    }
    for (const key of this.#carried()) this.#absorbed.add(key);
    return true;
  }

  async alerts(): Promise<unknown> {
    const text = (await this.#options.kv.values([this.#alertsAt])).get(this.#alertsAt);
    return text === undefined ? null : JSON.parse(text);
  }

  async saveAlerts(alerts: readonly unknown[]): Promise<void> {
    await this.#options.kv.put(this.#alertsAt, JSON.stringify(alerts));
  }

  close(): void {
    this.#options.kv.close();
  }

  get #alertsAt(): string {
    return `${this.#options.prefix}slo/alerts`;
  }

  /** Keys that the own head took over and whose services nobody has counted here yet. */
  #carried(): string[] {
    const own = `${this.#piecesAt}${this.#name}/`;
    return (this.#head?.keys ?? []).filter((key) => !key.startsWith(own) && !this.#absorbed.has(key));
  }

  async #writePieces(services: readonly unknown[]): Promise<Map<number, { key: string; text: string }>> {
    const pieces = new Map(this.#pieces);
    const nth = this.#writings + 1;
    for (const [piece, text] of textsOf(services)) {
      if (pieces.get(piece)?.text === text) continue;
      const key = `${this.#piecesAt}${this.#name}/${piece}.${nth}`;
      await this.#options.kv.put(key, (await pack(text)).toString('base64'));
      pieces.set(piece, { key, text });
    }
    return pieces;
  }

  /** @returns `taken`: the own head is gone; `moved`: it, or the one to be taken over, is not as it was seen */
  async #commit(
    keys: readonly string[],
    isEnded: boolean,
    taken: { readonly name: string; readonly index: number } | null,
  ): Promise<'done' | 'taken' | 'moved'> {
    const { kv, epochMs } = this.#options;
    const before = this.#head;
    const writings = ++this.#writings;
    const value = JSON.stringify({ writings, atEpochMs: epochMs(), isEnded, keys } satisfies Head);
    const operations: KvOperation[] = [
      { verb: 'cas', key: `${this.#headsAt}${this.#name}`, value, index: before?.index ?? 0 },
    ];
    if (taken !== null) {
      operations.push({ verb: 'delete-cas', key: `${this.#headsAt}${taken.name}`, index: taken.index });
    }
    try {
      await kv.transact(operations);
    } catch (error) {
      // Whether it was done is seen below, or when the head is read next.
      if (!(error instanceof StoreError) || error.kind !== 'unknown') throw error;
    }
    // Its index is needed in any case, and the package does not give what a transaction answers.
    this.#head = (await this.#heads()).get(this.#name) ?? null;
    if (this.#head?.writings === writings) return 'done';
    return this.#head === null && before !== null ? 'taken' : 'moved';
  }

  async #heads(): Promise<Map<string, SeenHead>> {
    const { entries } = await this.#options.kv.read(this.#headsAt);
    return new Map(entries.map((entry) => [entry.key.slice(this.#headsAt.length), headOf(entry)]));
  }

  /** What stays behind costs a little room and is never read. */
  async #drop(keys: readonly string[]): Promise<void> {
    const kept = new Set(this.#head?.keys);
    const names = new Set<string>();
    for (const key of this.#absorbed) {
      if (kept.has(key)) continue;
      this.#absorbed.delete(key);
      names.add(key.slice(0, key.lastIndexOf('/') + 1));
    }
    const operations: KvOperation[] = [
      ...keys.map((key) => ({ verb: 'delete' as const, key })),
      ...[...names].map((key) => ({ verb: 'delete-tree' as const, key })),
    ];
    for (let at = 0; at < operations.length; at += PIECES) {
      await this.#options.kv.transact(operations.slice(at, at + PIECES)).catch(() => undefined);
    }
  }
}

/** JSON of the services of each piece that has any. */
function textsOf(services: readonly unknown[]): Map<number, string> {
  const byPiece = new Map<number, unknown[]>();
  for (const one of services) {
    const piece = hashOf((one as { readonly service: string }).service) % PIECES;
    byPiece.set(piece, [...(byPiece.get(piece) ?? []), one]);
  }
  return new Map([...byPiece].map(([piece, some]) => [piece, JSON.stringify(some)]));
}

async function servicesOf(key: string, text: string): Promise<readonly unknown[]> {
  try {
    const services: unknown = JSON.parse((await unpack(Buffer.from(text, 'base64'))).toString());
    if (Array.isArray(services)) return services;
  } catch {
    // What cannot be unpacked is the same mistake as JSON of another shape.
  }
  throw foreign(key);
}

function headOf({ key, value, modifyIndex }: KvEntry): SeenHead {
  try {
    const head = JSON.parse(value) as Head;
    if (Number.isSafeInteger(head.writings) && Array.isArray(head.keys)) return { ...head, index: modifyIndex };
  } catch {
    // As above.
  }
  throw foreign(key);
}

function foreign(key: string): StoreError {
  return new StoreError('unusable', `${key} in Consul was not written by a control plane; delete it`);
}
