// The last policies that this agent accepted, on disk: loaded at every start before anything else, written on ACK only. A
// disk that refuses is an event, never a reason to refuse a policy.

import { isGeneration } from '#contract/event-id.ts';
import type { MeshEvent, PolicyPush } from '#contract/frames.ts';
import type { Clock } from '../clock.ts';

/** What is needed of the state file; the composition root hands one in. */
export interface StateStore {
  readonly path: string;
  load(): {
    readonly saved: readonly { readonly payload: unknown; readonly savedAtEpochMs: number }[];
    readonly faults: readonly string[];
  };
  save(payload: unknown, savedAtEpochMs: number): Promise<void>;
}

export interface LastGoodPolicies {
  /** Sets that prove themselves, newest first, at most two. Never throws. */
  load(): readonly { readonly push: PolicyPush; readonly savedAtEpochMs: number }[];
  /** Notes an accepted set; written in the background, latest only. */
  save(push: PolicyPush): void;
  /** Resolves when everything noted is written or was refused. */
  flush(): Promise<void>;
}

export function createLastGoodPolicies(options: {
  readonly store: StateStore;
  readonly clock: Clock;
  onEvent(event: MeshEvent): void;
}): LastGoodPolicies {
  const { store, clock, onEvent } = options;
  let pending: PolicyPush | null = null;
  let writing: Promise<void> = Promise.resolve();
  let isDiskRefusing = false;

  const report = (reason: string, text: string): void =>
    onEvent({ atEpochMs: clock.epochMs(), kind: 'policy', service: null, endpoint: null, reason, text });

  function load(): { push: PolicyPush; savedAtEpochMs: number }[] {
    const { saved, faults } = store.load();
    for (const fault of faults) report('state_unusable', `The last good policies were not used: ${fault}.`);
    return saved.flatMap(({ payload, savedAtEpochMs }) => {
      const push = decode(payload);
      if (push !== null) return [{ push, savedAtEpochMs }];
      report('state_unusable', `The last good policies in ${store.path} do not have the expected form.`);
      return [];
    });
  }

  function save(push: PolicyPush): void {
    pending = push;
    writing = writing.then(write);
  }

  async function write(): Promise<void> {
    if (pending === null) return;
    const push = pending;
    pending = null;
    try {
      const { version, generation, documents } = push;
      await store.save({ version, ...(generation === undefined ? {} : { generation }), documents }, clock.epochMs());
      if (isDiskRefusing) report('state_written', `The last good policies can be written to ${store.path} again.`);
      isDiskRefusing = false;
    } catch (error) {
      // Tried again with the next set, and once more at the end.
      pending ??= push;
      if (!isDiskRefusing)
        report('state_not_written', `The last good policies could not be written: ${String(error)}.`);
      isDiskRefusing = true;
    }
  }

  function flush(): Promise<void> {
    writing = writing.then(write);
    return writing;
  }

  return { load, save, flush };
}

/** The nonce belongs to one delivery and is not kept. */
function decode(payload: unknown): PolicyPush | null {
  if (typeof payload !== 'object' || payload === null) return null;
  const { version, generation, documents }: Partial<Record<keyof PolicyPush, unknown>> = payload;
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || !Array.isArray(documents)) return null;
  const named = isGeneration(generation) ? { generation } : {};
  return { version, ...named, nonce: 'last-good', documents };
}
