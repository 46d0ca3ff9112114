// Endpoint sets on disk: written shortly after every change, read at every start. A disk that refuses is an event, never a
// reason to stop serving.

import type { MeshEvent } from '#contract/frames.ts';
import type { Clock } from '../clock.ts';
import type { Endpoint } from '../core/endpoint.ts';
import type { StateFile } from '../state-file.ts';

export interface KnownSet {
  readonly service: string;
  readonly endpoints: readonly Endpoint[];
  /** When the source last said so. */
  readonly confirmedAtEpochMs: number;
}

export interface LastKnownGood {
  /** Every set of the newest generation that proves itself; empty when there is none. Never throws. */
  load(): ReadonlyMap<string, KnownSet>;
  /** Notes a set to be written within `debounceMs`. Sets without endpoints are forgotten. */
  record(set: KnownSet): void;
  /** Writes what is pending; resolves when the disk has it or refused. */
  flush(): Promise<void>;
}

export interface LastKnownGoodOptions {
  readonly file: StateFile;
  readonly clock: Clock;
  onEvent(event: MeshEvent): void;
  /** Changes within this time are written once; default 1 s. */
  readonly debounceMs?: number;
  /** A set that is merely confirmed again is written again after this long, so that its age stays true; default 5 min. */
  readonly refreshMs?: number;
}

/** More services than any agent watches (declared ones plus 32); the longest unconfirmed go first. */
const MAX_SERVICES = 1_000;

export function createLastKnownGood(options: LastKnownGoodOptions): LastKnownGood {
  const { file, clock, onEvent, debounceMs = 1_000, refreshMs = 300_000 } = options;
  const sets = new Map<string, KnownSet>();
  let timer: NodeJS.Timeout | null = null;
  let writing: Promise<void> = Promise.resolve();
  let isDirty = false;
  let isDiskRefusing = false;

  const report = (reason: string, text: string): void =>
    onEvent({ atEpochMs: clock.epochMs(), kind: 'discovery', service: null, endpoint: null, reason, text });

  function load(): ReadonlyMap<string, KnownSet> {
    const { saved, faults } = file.load();
    for (const fault of faults) report('state_unusable', `The last known endpoints were not used: ${fault}.`);
    for (const { payload } of saved) {
      const decoded = decodeSets(payload);
      if (decoded === null) {
        report('state_unusable', `The last known endpoints in ${file.path} do not have the expected form.`);
        continue;
      }
      for (const set of decoded) sets.set(set.service, set);
      break;
    }
    return new Map(sets);
  }

  function record(set: KnownSet): void {
    const former = sets.get(set.service);
    if (set.endpoints.length === 0) {
      if (!sets.delete(set.service)) return;
    } else {
      // The wall clock may have jumped back since, so the distance counts, not the order.
      const isFresh = Math.abs(set.confirmedAtEpochMs - (former?.confirmedAtEpochMs ?? 0)) < refreshMs;
      const isNews = former === undefined || !isFresh || !hasSameEndpoints(former, set);
      if (!isNews && !isDirty) return;
      sets.delete(set.service);
      sets.set(set.service, set);
      forgetOldest();
    }
    isDirty = true;
    timer ??= setTimeout(() => {
      timer = null;
      void flush();
    }, debounceMs).unref();
  }

  /** In order of confirmation: services that are gone for long make room for those that are there. */
  function forgetOldest(): void {
    for (const service of sets.keys()) {
      if (sets.size <= MAX_SERVICES) return;
      sets.delete(service);
    }
  }

  function flush(): Promise<void> {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    // One write at a time, in order; each takes the newest sets when its turn comes.
    writing = writing.then(write);
    return writing;
  }

  async function write(): Promise<void> {
    if (!isDirty) return;
    isDirty = false;
    try {
      await file.save({ services: [...sets.values()] }, clock.epochMs());
      if (isDiskRefusing) report('state_written', `The last known endpoints can be written to ${file.path} again.`);
      isDiskRefusing = false;
    } catch (error) {
      isDirty = true;
      if (!isDiskRefusing)
        report('state_not_written', `The last known endpoints could not be written: ${String(error)}.`);
      isDiskRefusing = true;
    }
  }

  return { load, record, flush };
}

function hasSameEndpoints(a: KnownSet, b: KnownSet): boolean {
  return a.endpoints === b.endpoints || JSON.stringify(a.endpoints) === JSON.stringify(b.endpoints);
}

function decodeSets(payload: unknown): KnownSet[] | null {
  if (typeof payload !== 'object' || payload === null || !('services' in payload)) return null;
  if (!Array.isArray(payload.services)) return null;
  return payload.services.every(isKnownSet) ? payload.services : null;
}

function isKnownSet(value: unknown): value is KnownSet {
  if (typeof value !== 'object' || value === null) return false;
  const set: Partial<Record<keyof KnownSet, unknown>> = value;
  return (
    typeof set.service === 'string' &&
    typeof set.confirmedAtEpochMs === 'number' &&
    Array.isArray(set.endpoints) &&
    set.endpoints.every(isEndpoint)
  );
}

function isEndpoint(value: unknown): value is Endpoint {
  if (typeof value !== 'object' || value === null) return false;
  const endpoint: Partial<Record<keyof Endpoint, unknown>> = value;
  return (
    typeof endpoint.id === 'string' &&
    typeof endpoint.address === 'string' &&
    isWithin(endpoint.port, 1, 65_535) &&
    isWithin(endpoint.weight, 1, 65_535) &&
    (endpoint.zone === null || typeof endpoint.zone === 'string') &&
    Array.isArray(endpoint.tags) &&
    endpoint.tags.every((tag) => typeof tag === 'string') &&
    typeof endpoint.meta === 'object' &&
    endpoint.meta !== null &&
    Object.values(endpoint.meta).every((item) => typeof item === 'string')
  );
}

function isWithin(value: unknown, low: number, high: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high;
}
