// Where replicas leave word for each other about things that need not last: how their agents do. One note per replica and subject,
// replaced by the next, ignored once it is old.

import type { ConsulKv } from './consul-kv.ts';

export interface Board {
  /** There are no other replicas and never will be. */
  readonly isAlone: boolean;
  /** Replaces this replica's note. Rejects with StoreError while nothing can be written. */
  post(subject: string, value: unknown): Promise<void>;
  /** The notes of the other replicas that are younger than `maxAgeMs`, by replica. */
  others(subject: string, maxAgeMs: number): Promise<ReadonlyMap<string, unknown>>;
  close(): Promise<void>;
}

/** There is nobody to tell. */
export function createLoneBoard(): Board {
  return { isAlone: true, post: async () => undefined, others: async () => new Map(), close: async () => undefined };
}

export interface ConsulBoardOptions {
  readonly kv: ConsulKv;
  /** With its slash at the end. */
  readonly prefix: string;
  /** Unlike that of every other replica and every earlier life. */
  readonly replica: string;
  readonly epochMs: () => number;
  /** Told in a sentence of a note that nobody can read. */
  readonly onNotice: (text: string) => void;
}

/** Ages are by the clocks of the replicas: what goes wrong with clocks apart is that a note counts too long or not at all. */
export function createConsulBoard({ kv, prefix, replica, epochMs, onNotice }: ConsulBoardOptions): Board {
  const subjects = new Set<string>();
  const folder = (subject: string): string => `${prefix}board/${subject}/`;
  const told = new Set<string>();
  return {
    isAlone: false,
    async post(subject, value) {
      subjects.add(subject);
      await kv.put(folder(subject) + replica, JSON.stringify({ atEpochMs: epochMs(), value }));
    },
    async others(subject, maxAgeMs) {
      const notes = new Map<string, unknown>();
      const { entries } = await kv.read(folder(subject));
      for (const { key, value } of entries) {
        const from = key.slice(folder(subject).length);
        if (from === replica) continue;
        const note = noteOf(value);
        if (note === null && !told.has(key)) {
          told.add(key);
          onNotice(`the note ${key} in Consul was not written by a control plane; delete it`);
        }
        if (note !== null && epochMs() - note.atEpochMs <= maxAgeMs) notes.set(from, note.value);
      }
      return notes;
    },
    async close() {
      // What cannot be taken down now is too old soon.
      const down = [...subjects].map((subject) => ({ verb: 'delete' as const, key: folder(subject) + replica }));
      if (down.length > 0) await kv.transact(down).catch(() => undefined);
      kv.close();
    },
  };
}

function noteOf(text: string): { readonly atEpochMs: number; readonly value: unknown } | null {
  try {
    const note: unknown = JSON.parse(text);
    if (typeof note === 'object' && note !== null && 'atEpochMs' in note && 'value' in note) {
      return { atEpochMs: Number(note.atEpochMs), value: note.value };
    }
  } catch {
    // Not JSON is the same mistake as JSON of another shape.
  }
  return null;
}
