// A small file that survives crashes: checksum, atomic rename, two generations. What does not prove itself is never used.
// Knows nothing of what it keeps. Loading is synchronous, because it happens before anything is served.

import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Newest format this software reads and the one it writes. A file of a newer format is left alone and not used. */
const FORMAT = 1;
/** Nothing this software writes comes near it. */
const MAX_BYTES = 64 * 1024 * 1024;
/** A write takes milliseconds; what is left of one this old belongs to a process that died. */
const ABANDONED_AFTER_MS = 60_000;

export interface SavedState {
  readonly payload: unknown;
  readonly savedAtEpochMs: number;
  readonly generation: 'current' | 'former';
}

export interface LoadedState {
  /** Valid generations, newest first; at most two. */
  readonly saved: readonly SavedState[];
  /** Why a file that exists was not used; one sentence each. */
  readonly faults: readonly string[];
}

export interface StateFile {
  readonly path: string;
  load(): LoadedState;
  /** Replaces the current generation; the former one is kept. Rejects when the disk refuses; the old file then stands. */
  save(payload: unknown, savedAtEpochMs: number): Promise<void>;
}

/**
 * @param path  `…/endpoints.json`; the former generation is `…/endpoints.json.former`
 * @param kind  what the file holds; a file of another kind is refused
 */
export function createStateFile(path: string, kind: string): StateFile {
  const formerPath = `${path}.former`;
  /** Only a current file that proved itself may become the former generation: damage must not push out the good one. */
  let isCurrentGood: boolean | null = null;
  let isSweptOnce = false;

  function load(): LoadedState {
    const saved: SavedState[] = [];
    const faults: string[] = [];
    for (const generation of ['current', 'former'] as const) {
      const result = readGeneration(generation === 'current' ? path : formerPath, kind);
      if (typeof result === 'string') faults.push(result);
      else if (result !== null) saved.push({ ...result, generation });
      if (generation === 'current') isCurrentGood = result !== null && typeof result !== 'string';
    }
    return { saved, faults };
  }

  async function save(payload: unknown, savedAtEpochMs: number): Promise<void> {
    if (isCurrentGood === null) load();
    if (!isSweptOnce) await removeAbandoned(path);
    isSweptOnce = true;
    // A name of its own: during a restart with overlap two processes write.
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    const text = JSON.stringify({
      kind,
      format: FORMAT,
      savedAtEpochMs,
      sha256: digest(kind, savedAtEpochMs, payload),
      payload,
    });
    await mkdir(dirname(path), { recursive: true });
    try {
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      if (isCurrentGood === true) await rename(path, formerPath).catch(ignoreMissing);
      await rename(temporary, path);
      isCurrentGood = true;
    } catch (error) {
      isCurrentGood = null;
      // The half-written file may be what fills the disk; a failure here adds nothing to the first one.
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  return { path, load, save };
}

/** The other process of an overlap may have moved it a moment ago. */
function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/** Removes what processes that died in the midst of a write left behind. A fault here is no reason not to write. */
async function removeAbandoned(path: string): Promise<void> {
  const folder = dirname(path);
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (!name.startsWith(`${basename(path)}.`) || !name.endsWith('.tmp')) continue;
    const file = join(folder, name);
    const isOld = await stat(file).then(
      ({ mtimeMs }) => Date.now() - mtimeMs > ABANDONED_AFTER_MS,
      () => false,
    );
    if (isOld) await rm(file, { force: true }).catch(() => undefined);
  }
}

/** The state, null when there is no file, or a sentence when it cannot be trusted. */
function readGeneration(path: string, kind: string): Omit<SavedState, 'generation'> | string | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : 'unknown';
    return code === 'ENOENT' ? null : `${path} could not be read (${String(code)})`;
  }
  if (text.length > MAX_BYTES) return `${path} is larger than ${MAX_BYTES} bytes`;
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return `${path} is empty, cut off or damaged`;
  }
  if (typeof file !== 'object' || file === null || !('format' in file) || !('kind' in file)) {
    return `${path} is not a state file`;
  }
  if (file.kind !== kind) return `${path} holds ${String(file.kind)}, expected ${kind}`;
  if (file.format !== FORMAT) return `${path} has format ${String(file.format)}, this software reads ${FORMAT}`;
  const { savedAtEpochMs, sha256, payload } = { savedAtEpochMs: null, sha256: null, payload: null, ...file };
  if (typeof savedAtEpochMs !== 'number' || digest(kind, savedAtEpochMs, payload) !== sha256) {
    return `${path} does not match its checksum`;
  }
  return { payload, savedAtEpochMs };
}

function digest(kind: string, savedAtEpochMs: number, payload: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify([kind, FORMAT, savedAtEpochMs, payload]))
    .digest('hex');
}
