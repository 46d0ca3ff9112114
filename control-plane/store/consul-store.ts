// Policies in Consul's key-value store, for several control planes at once. Every change is one transaction that compares and
// swaps the index, so changes have one order for all replicas, and a change is there whole or not at all. A blocking query shows
// each replica what the others wrote. While Consul is away the last known set is served and nothing is acknowledged.

import { randomUUID } from 'node:crypto';
import type { PolicyDocument, PolicyId } from '#contract/policy/policy.ts';
import type { Rollout } from '../core/rollout.ts';
import { readConsulBackup, writeConsulBackup } from './consul-backup.ts';
import type { ConsulKv, KvOperation, KvRead } from './consul-kv.ts';
import {
  digestOf,
  documentFrom,
  Layout,
  newGeneration,
  policyFrom,
  type RevisionRecord,
  revisionFrom,
  type Snapshot,
} from './consul-layout.ts';
import { find, type Known, NOTHING, setOf, withPolicy } from './known-set.ts';
import { type Deadline, Patience } from './patience.ts';
import {
  type Backup,
  HISTORY_LIMIT,
  type PolicyRevision,
  type PolicySet,
  policyIdOf,
  type RolloutWriteResult,
  type Store,
  type StoredPolicy,
  StoreError,
  type WriteOptions,
  type WriteResult,
} from './store.ts';
import { type Change, decideWrite } from './write-decision.ts';

export interface ConsulStoreOptions {
  readonly kv: ConsulKv;
  /** With its slash at the end: `outrigger/`. */
  readonly prefix: string;
  readonly epochMs: () => number;
  readonly now: () => number;
  readonly random: () => number;
  /** Told in a sentence what an operator must know: Consul away and back, the index lost, versions that went back. */
  readonly onNotice: (text: string) => void;
  /** How long a write is tried, ms; default 5000: longer than an election takes. */
  readonly writeDeadlineMs?: number;
  /** How long the first read is tried, ms; default 30000. */
  readonly startDeadlineMs?: number;
}

const WRITE_DEADLINE_MS = 5_000;
const START_DEADLINE_MS = 30_000;
/** Short, because Consul 1.8 does not wake a query when a whole tree is deleted: then the loss is seen at its end. */
const WAIT_MS = 10_000;
/** Answers of the blocking query are at least this far apart, so that a busy store costs ten reads a second and no more. */
const ANSWER_GAP_MS = 100;

/** Opens the store and follows it. @throws StoreError when Consul cannot be read until the start's deadline, or holds damage */
export async function createConsulStore(options: ConsulStoreOptions): Promise<Store> {
  const store = new ConsulStore(options);
  await store.start();
  return store;
}

class ConsulStore implements Store {
  readonly #options: ConsulStoreOptions;
  readonly #kv: ConsulKv;
  readonly #layout: Layout;
  readonly #listeners = new Set<(set: PolicySet) => void>();
  readonly #stop = new AbortController();
  readonly #patience: Patience;
  /** Texts of the documents in force by key; the key names the content, so they are never out of date. */
  #documents = new Map<string, PolicyDocument>();
  #known: Known = NOTHING;
  /** Counts announcements: a read during which there was one may be older than what it announced. */
  #announcements = 0;
  /** Why Consul cannot be used, or null; while there is a reason, writes are refused at once. */
  #failure: StoreError | null = null;
  /** Ends the blocking query that is under way, so that it is asked anew. */
  #poll = new AbortController();
  #watching: Promise<void> = Promise.resolve();
  #writing: Promise<unknown> = Promise.resolve();

  constructor(options: ConsulStoreOptions) {
    this.#options = options;
    this.#kv = options.kv;
    this.#layout = new Layout(options.prefix);
    this.#patience = new Patience({ now: options.now, random: options.random, signal: this.#stop.signal });
  }

  async start(): Promise<void> {
    const { startDeadlineMs = START_DEADLINE_MS } = this.#options;
    await this.#patience.until(this.#patience.deadline(startDeadlineMs), () => this.#refresh());
    this.#watching = this.#watch();
  }

  async list(): Promise<PolicySet> {
    // Reads go on without Consul: what is in force is known, and it is what the agents have.
    if (this.#failure === null) await this.#refresh().catch((error: unknown) => this.#failOutside(error));
    return setOf(this.#known);
  }

  async get(id: PolicyId): Promise<StoredPolicy | null> {
    return find(await this.list(), id);
  }

  async version(): Promise<number> {
    await this.#refresh();
    return this.#known.version;
  }

  async history(id: PolicyId): Promise<readonly PolicyRevision[]> {
    const [history, documents] = await Promise.all([
      this.#kv.read(this.#layout.history(id)),
      this.#kv.read(this.#layout.documents(id)),
    ]);
    const texts = new Map(documents.entries.map(({ key, value }) => [key, value]));
    const records = this.#layout.revisions(history.entries).reverse().slice(0, HISTORY_LIMIT);
    return records.map((record) => {
      if (record.sha256 === null) return revisionFrom(null, record);
      const key = this.#layout.document(id, record.revision, record.sha256);
      const text = texts.get(key);
      // The two reads are of two moments; the oldest revision may have gone between them.
      if (text === undefined)
        throw new StoreError('unavailable', `${id} changed while its history was read; read it again`);
      return revisionFrom(documentFrom(key, text, record.sha256), record);
    });
  }

  put(document: PolicyDocument, options: WriteOptions): Promise<WriteResult> {
    const change = { kind: document.kind, name: document.metadata.name, document: JSON.stringify(document) };
    return this.#inTurn((deadline) => this.#write(policyIdOf(document), change, options, deadline));
  }

  remove(id: PolicyId, options: WriteOptions): Promise<WriteResult> {
    const slash = id.indexOf('/');
    const change = { kind: id.slice(0, slash), name: id.slice(slash + 1), document: null };
    return this.#inTurn((deadline) => this.#write(id, change, options, deadline));
  }

  putRollout(rollout: Rollout, { ifVersion }: { ifVersion: number }): Promise<RolloutWriteResult> {
    return this.#inTurn(async (deadline) => {
      const snapshot = await this.#refresh(deadline.signal);
      const { version } = this.#known;
      if (version !== ifVersion) return { kind: 'moved', version };
      const commit = randomUUID();
      const generation = snapshot.generation ?? newGeneration();
      const operations = [
        this.#layout.indexTo(version + 1, commit, snapshot),
        this.#layout.generationTo(generation),
        this.#layout.rolloutTo(rollout),
      ];
      // The index keeps the name of the last commit only; a later one hides ours, and then the caller looks again anyway.
      const isOurs = async (): Promise<boolean> => (await this.#refresh(deadline.signal)).index?.commit === commit;
      if (!(await this.#commit(operations, isOurs, deadline))) return { kind: 'moved', version: this.#known.version };
      this.#take({ ...this.#known, version: version + 1, generation, rollout, commit }, true);
      return { kind: 'written', version: version + 1 };
    });
  }

  onChange(listener: (set: PolicySet) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  backup(): Promise<Backup> {
    const { writeDeadlineMs = WRITE_DEADLINE_MS } = this.#options;
    return this.#patience.until(this.#patience.deadline(writeDeadlineMs), async () => {
      await this.#refresh();
      return readConsulBackup(this.#kv, this.#layout, setOf(this.#known));
    });
  }

  async restore(backup: Backup): Promise<void> {
    await this.#inTurn(() => writeConsulBackup(this.#kv, this.#layout, backup));
    await this.#refresh();
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    this.#stop.abort();
    await Promise.all([this.#watching, this.#writing]);
    this.#kv.close();
  }

  /** One write at a time: two of one replica could only make each other fail. The wait for the turn is part of its time. */
  #inTurn<T>(write: (deadline: Deadline) => Promise<T>): Promise<T> {
    const { writeDeadlineMs = WRITE_DEADLINE_MS } = this.#options;
    const deadline = this.#patience.deadline(writeDeadlineMs);
    const turn = this.#writing.then(() => {
      if (this.#failure !== null) throw new StoreError(this.#failure.kind, this.#failure.message);
      return write(deadline);
    });
    this.#writing = turn.catch((error: unknown) => {
      if (error instanceof StoreError && error.kind === 'unavailable') this.#failOutside(error);
      // What was in doubt is no news for the next write; that Consul is silent is.
      if (error instanceof StoreError && error.kind === 'unknown') {
        this.#failOutside(new StoreError('unavailable', 'policy store in Consul does not answer', { cause: error }));
      }
    });
    return turn;
  }

  async #write(id: PolicyId, change: Change, options: WriteOptions, deadline: Deadline): Promise<WriteResult> {
    const { signal } = deadline;
    const snapshot = await this.#refresh(signal);
    const before = this.#known;
    const current = find(before, id);
    const decided = decideWrite(change, current, before.version, options);
    if (decided !== null) return decided;
    const version = before.version + 1;
    const revision = (current?.revision ?? (await this.#lastRevision(id, signal))) + 1;
    const { author, message = '', rollout } = options;
    const sha256 = change.document === null ? null : digestOf(change.document);
    const record = { revision, version, author, message, at: this.#options.epochMs() };
    if (change.document !== null && sha256 !== null) {
      // After the index was read: should the text be swept away as a leftover, then by a commit that makes ours fail.
      await this.#kv.put(this.#layout.document(id, revision, sha256), change.document, signal);
    }
    const commit = randomUUID();
    const generation = snapshot.generation ?? newGeneration();
    const entry: RevisionRecord = { ...record, sha256, action: sha256 === null ? 'remove' : 'put', commit };
    const operations: KvOperation[] = [
      this.#layout.indexTo(version, commit, snapshot),
      this.#layout.generationTo(generation),
      sha256 === null
        ? { verb: 'delete', key: this.#layout.policy(id) }
        : { verb: 'set', key: this.#layout.policy(id), value: JSON.stringify({ ...record, sha256 }) },
      { verb: 'set', key: this.#layout.historyOf(id, revision), value: JSON.stringify(entry) },
      ...(rollout === undefined ? [] : [this.#layout.rolloutTo(rollout)]),
      ...this.#layout.expire(id, revision - HISTORY_LIMIT),
    ];
    const isOurs = async (): Promise<boolean> => {
      const history = await this.#kv.read(this.#layout.historyOf(id, revision), null, signal);
      return this.#layout.revisions(history.entries).some((one) => one.commit === commit);
    };
    if (!(await this.#commit(operations, isOurs, deadline))) {
      await this.#refresh(signal);
      return { kind: 'moved', version: this.#known.version };
    }
    const policy =
      change.document === null || sha256 === null
        ? null
        : policyFrom(JSON.parse(change.document) as PolicyDocument, { ...record, sha256 });
    const set = { ...withPolicy(before, id, policy), version, generation, rollout: rollout ?? before.rollout };
    this.#take({ ...set, commit }, true);
    return { kind: 'written', revision, version, isChanged: true, isCreated: current === null };
  }

  /**
   * Tries until it is known what became of the transaction. It may be sent again after a fault, because it can happen at most
   * once: the second time the index is another one.
   *
   * @param isOurs  whether the transaction is what stands in the store
   * @returns false when another change came first
   * @throws StoreError of kind `unknown` when that cannot be found out before the deadline
   */
  async #commit(
    operations: readonly KvOperation[],
    isOurs: () => Promise<boolean>,
    deadline: Deadline,
  ): Promise<boolean> {
    let sent = 0;
    return this.#patience.until(deadline, async () => {
      sent++;
      if (await this.#kv.transact(operations, deadline.signal)) return true;
      return sent > 1 && (await isOurs());
    });
  }

  async #lastRevision(id: string, signal: AbortSignal): Promise<number> {
    const { entries } = await this.#kv.read(this.#layout.history(id), null, signal);
    return Math.max(0, ...this.#layout.revisions(entries).map(({ revision }) => revision));
  }

  /** Reads the set as of now and announces what is new in it. */
  async #refresh(signal: AbortSignal | null = null): Promise<Snapshot> {
    const before = this.#announcements;
    const snapshot = await this.#judged(await this.#kv.read(this.#layout.set, null, signal));
    this.#take(await this.#complete(snapshot), before === this.#announcements);
    this.#recover();
    return snapshot;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop;
    let index: number | null = null;
    let failures = 0;
    while (!signal.aborted) {
      const startedAt = this.#options.now();
      try {
        const before = this.#announcements;
        const blocking = index === null ? null : { index, waitMs: WAIT_MS };
        this.#poll = new AbortController();
        const either = AbortSignal.any([signal, this.#poll.signal]);
        const read: KvRead = await this.#kv.read(this.#layout.set, blocking, either);
        const known = await this.#complete(await this.#judged(read));
        const isCurrent = this.#take(known, before === this.#announcements);
        // An index that went backwards belongs to a restored Consul, one of 0 would never block (Consul's own rules).
        index = !isCurrent || read.index < (index ?? 0) ? null : Math.max(1, read.index);
        failures = 0;
        this.#recover();
        await this.#patience.pause(ANSWER_GAP_MS - (this.#options.now() - startedAt));
      } catch (error) {
        if (signal.aborted) break;
        // Consul may have restarted with other state: ask without an index first.
        index = null;
        failures++;
        this.#fail(error);
        await this.#patience.afterFailure(failures);
      }
    }
  }

  /** A snapshot that can be believed; rebuilds the index when only that is lost. */
  async #judged(read: KvRead): Promise<Snapshot> {
    const snapshot = this.#layout.snapshot(read.entries);
    if (snapshot.index !== null) return snapshot;
    if (snapshot.policies.size === 0) {
      if (this.#known.version === 0) return snapshot;
      const what = `the policies in Consul under ${this.#options.prefix} are gone, version ${this.#known.version} was there`;
      const text = `${what}; it stays in force; restore them, or restart every control plane to begin with none`;
      throw new StoreError('unavailable', text);
    }
    const history = await this.#kv.read(this.#layout.histories());
    const versions = [...snapshot.policies.values(), ...this.#layout.revisions(history.entries)];
    const highest = Math.max(this.#known.version, ...versions.map(({ version }) => version));
    const operation = this.#layout.indexTo(highest + 1, randomUUID(), snapshot);
    // False: another replica was quicker, and what it wrote is read now.
    if (await this.#kv.transact([operation])) {
      this.#options.onNotice(
        `The index of the policies in Consul was lost; it begins again at version ${highest + 1}.`,
      );
    }
    return this.#judged(await this.#kv.read(this.#layout.set));
  }

  /** Fetches the texts that are not known yet. */
  async #complete({ index, generation, policies, rollout }: Snapshot): Promise<Known> {
    const keyed = [...policies].map(([id, record]) => {
      return { id, record, key: this.#layout.document(id, record.revision, record.sha256) };
    });
    const missing = keyed.filter(({ key }) => !this.#documents.has(key));
    const texts = await this.#kv.values(missing.map(({ key }) => key));
    const documents = new Map<string, PolicyDocument>();
    const stored = keyed.map(({ key, record }) => {
      const document = this.#documents.get(key) ?? documentFrom(key, texts.get(key) ?? '', record.sha256);
      documents.set(key, document);
      return policyFrom(document, record);
    });
    this.#documents = documents;
    stored.sort((a, b) => (policyIdOf(a.document) < policyIdOf(b.document) ? -1 : 1));
    const { version, commit } = index ?? { version: 0, commit: '' };
    return { version, generation: generation ?? '', commit, policies: stored, rollout };
  }

  /**
   * Makes a set the known one when it is news.
   *
   * @param isUndisturbed  nothing was announced since the read began, so an older set means that Consul was restored
   * @returns whether the set is the known one now
   */
  #take(next: Known, isUndisturbed: boolean): boolean {
    const { version, commit } = this.#known;
    if (next.version === version && next.commit === commit) return true;
    if (next.version <= version && !isUndisturbed) return false;
    if (next.version <= version) {
      this.#options.onNotice(`The policies in Consul went back from version ${version} to ${next.version}: restored.`);
    }
    this.#known = next;
    this.#announcements++;
    for (const listener of this.#listeners) listener(setOf(next));
    return true;
  }

  /** The watch may be waiting for an answer that never comes; it is what will notice that Consul is back. */
  #failOutside(error: unknown): void {
    this.#fail(error);
    this.#poll.abort();
  }

  #fail(error: unknown): void {
    const failure =
      error instanceof StoreError ? error : new StoreError('unavailable', String(error), { cause: error });
    if (this.#failure === null) {
      this.#options.onNotice(
        `${failure.message}; version ${this.#known.version} stays in force and nothing can be written.`,
      );
    }
    this.#failure = failure;
  }

  #recover(): void {
    if (this.#failure !== null) this.#options.onNotice('The policy store in Consul answers again.');
    this.#failure = null;
  }
}
