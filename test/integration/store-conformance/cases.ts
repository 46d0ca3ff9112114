// What every store promises, as cases that know no store. Each runs in a place of its own.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { Rollout } from '../../../control-plane/core/rollout.ts';
import { readBackup, writeBackup } from '../../../control-plane/store/backup.ts';
import { HISTORY_LIMIT, type Store, type WriteOptions } from '../../../control-plane/store/store.ts';

export interface Place {
  /** Opens a handle on the place; where only one process may have it, the former must be closed first. */
  open(): Promise<Store>;
  /** A handle on another place, in which nothing was written. */
  another(): Promise<Store>;
  /** Whether several handles may be open at once. */
  readonly isShared: boolean;
}

export interface StoreCase {
  readonly name: string;
  run(t: Test, place: Place): Promise<void>;
}

export function document(name: string, attempts = 1): PolicyDocument {
  return { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name }, spec: { retries: { attempts } } };
}

export function on(ifVersion: number, changes: Partial<WriteOptions> = {}): WriteOptions {
  return { ifMatch: { kind: 'any' }, ifVersion, author: 'ann', ...changes };
}

export function rollout(id: string, changes: Partial<Rollout> = {}): Rollout {
  return {
    id,
    policy: 'ServicePolicy/payments',
    stableDocument: null,
    version: 1,
    author: 'ann',
    state: 'running',
    stage: 0,
    firstAgents: [],
    soakMs: 1000,
    startedAtEpochMs: 0,
    stageSinceEpochMs: 0,
    baseline: null,
    reason: '',
    ...changes,
  };
}

export const CASES: readonly StoreCase[] = [
  {
    name: 'each accepted change makes one version; a write that changes nothing makes none',
    async run(t, place) {
      let store = await place.open();
      t.match(await store.list(), { version: 0, policies: [], rollout: null });
      await store.put(document('payments'), on(0));
      await store.put(document('payments', 2), on(1, { message: 'twice' }));
      await store.put(document('orders'), on(2, { author: 'bob' }));
      const heard: number[] = [];
      const stop = store.onChange(({ version }) => heard.push(version));
      const same = await store.put(document('payments', 2), on(3));
      t.same(same, { kind: 'written', revision: 2, version: 3, isChanged: false, isCreated: false });
      const changed = await store.put(document('payments', 3), on(3));
      t.match(changed, { revision: 3, version: 4, isChanged: true, isCreated: false });
      t.match(await store.remove('ServicePolicy/payments', on(4)), { revision: 4, version: 5 });
      const again = await store.put(document('payments'), on(5));
      t.match(again, { revision: 5, version: 6, isCreated: true }, 'revisions are never reused');
      stop();
      await store.remove('ServicePolicy/payments', on(6));
      t.same(heard, [4, 5, 6]);
      await store.close();

      store = await place.open();
      t.equal(await store.version(), 7);
      const { policies } = await store.list();
      t.same(
        policies.map(({ document: { metadata }, revision, version, author }) => [
          metadata.name,
          revision,
          version,
          author,
        ]),
        [['orders', 1, 3, 'bob']],
      );
      const history = await store.history('ServicePolicy/payments');
      t.same(
        history.map(({ revision, version, action, message }) => `${revision} ${version} ${action} ${message}`),
        ['6 7 remove ', '5 6 put ', '4 5 remove ', '3 4 put ', '2 2 put twice', '1 1 put '],
      );
      t.same(history[4]?.document, document('payments', 2));
      t.equal(history[0]?.document, null);
      t.equal(await store.get('ServicePolicy/payments'), null);
      t.same(await store.history('ServicePolicy/none'), []);
      await store.close();
    },
  },
  {
    name: 'a store has a generation of its own, over changes and restarts, and another one after a backup was restored',
    async run(t, place) {
      const store = await place.open();
      await store.put(document('a'), on(0));
      const { generation } = await store.list();
      t.match(generation, /^[A-Za-z0-9]{8,64}$/);
      await store.put(document('a', 2), on(1));
      const heard: string[] = [];
      store.onChange((set) => heard.push(set.generation));
      await store.putRollout(rollout('r'), { ifVersion: 2 });
      t.same(heard, [generation]);
      const backup = await store.backup();
      await store.close();
      const again = await place.open();
      t.equal((await again.list()).generation, generation);
      await again.close();
      const restored = await place.another();
      await restored.restore(backup);
      const set = await restored.list();
      t.equal(set.version, 3);
      t.match(set.generation, /^[A-Za-z0-9]{8,64}$/);
      t.not(set.generation, generation);
      await restored.close();
    },
  },
  {
    name: 'conditions are judged before anything is written',
    async run(t, place) {
      const store = await place.open();
      const absent = await store.put(document('a'), on(0, { ifMatch: { kind: 'exists' } }));
      t.same(absent, { kind: 'stale', revision: null });
      const created = await store.put(document('a'), on(0, { ifMatch: { kind: 'absent' } }));
      t.match(created, { kind: 'written', isCreated: true });
      const present = await store.put(document('a', 2), on(1, { ifMatch: { kind: 'absent' } }));
      t.same(present, { kind: 'stale', revision: 1 });
      const over = (revision: number) => on(1, { ifMatch: { kind: 'revision', revision } });
      t.same(await store.put(document('a', 2), over(2)), { kind: 'stale', revision: 1 });
      t.match(await store.put(document('a', 2), over(1)), { kind: 'written', revision: 2 });
      t.same(await store.put(document('b'), on(1)), { kind: 'moved', version: 2 }, 'the judged set is not in force');
      t.same(await store.remove('ServicePolicy/none', on(2)), { kind: 'missing' });
      t.equal(await store.version(), 2);
      await store.close();
    },
  },
  {
    name: 'history is bounded and revisions go on counting',
    async run(t, place) {
      const store = await place.open();
      for (let index = 0; index < HISTORY_LIMIT + 5; index++) await store.put(document('a', index), on(index));
      const history = await store.history('ServicePolicy/a');
      t.equal(history.length, HISTORY_LIMIT);
      t.equal(history[0]?.revision, HISTORY_LIMIT + 5);
      t.equal(history.at(-1)?.revision, 6);
      t.same(history.at(-1)?.document, document('a', 5));
      await store.close();
    },
  },
  {
    name: 'any text that a document may hold comes back as it was',
    async run(t, place) {
      const store = await place.open();
      const note = `\u0000\u001f"\\ / % + é 🛶 ${'x'.repeat(200_000)}`;
      const large = { ...document('name-with.dots_and-dashes'), spec: { note } };
      t.match(await store.put(large, on(0)), { kind: 'written' });
      t.same((await store.get('ServicePolicy/name-with.dots_and-dashes'))?.document, large);
      await store.close();
      const later = await place.open();
      t.same((await later.list()).policies[0]?.document, large, 'also when it was read anew');
      await later.close();
    },
  },
  {
    name: 'the state of a rollout is kept in the commit of its change, and as versions of its own',
    async run(t, place) {
      let store = await place.open();
      const heard: string[] = [];
      store.onChange(({ version, rollout: heardRollout }) => heard.push(`${version} ${heardRollout?.state}`));
      await store.put(document('payments'), on(0, { rollout: rollout('r1') }));
      const halted = rollout('r1', { state: 'halted', reason: 'because' });
      t.same(await store.putRollout(halted, { ifVersion: 0 }), { kind: 'moved', version: 1 });
      t.same(await store.putRollout(halted, { ifVersion: 1 }), { kind: 'written', version: 2 });
      await store.put(document('payments', 2), on(2));
      t.same(heard, ['1 running', '2 halted', '3 halted'], 'other writes leave it as it is');
      await store.close();
      store = await place.open();
      t.match(await store.list(), { version: 3, rollout: halted });
      await store.close();
    },
  },
  {
    name: 'a backup holds everything, and an empty store takes it, and no other',
    async run(t, place) {
      const store = await place.open();
      await store.put(document('payments'), on(0, { message: 'first' }));
      await store.put(document('orders', 3), on(1, { author: 'bob', rollout: rollout('r1') }));
      await store.put(document('payments', 2), on(2));
      await store.remove('ServicePolicy/orders', on(3));
      const backup = await store.backup();
      t.equal(backup.revisions.length, 4);
      const again = readBackup(writeBackup(backup, 0));
      t.same(again, backup);
      await t.rejects(store.restore(again), { kind: 'unusable', message: /at version 4/ });
      await store.close();

      const empty = await place.another();
      const heard: number[] = [];
      empty.onChange(({ version }) => heard.push(version));
      await empty.restore(again);
      t.same(heard, [4]);
      const { generation: _former, ...content } = backup;
      t.match(await empty.backup(), content);
      t.same(Object.keys(await empty.backup()).sort(), Object.keys(backup).sort());
      t.match(await empty.put(document('orders'), on(4)), { revision: 3, version: 5 }, 'numbers go on');
      await empty.close();
    },
  },
  {
    name: 'of writers that all hold the same revision exactly one wins, round after round',
    async run(t, place) {
      const first = await place.open();
      const handles = place.isShared ? [first, await place.open(), await place.open()] : [first];
      await first.put(document('a', 0), on(0));
      const ROUNDS = 10;
      for (let round = 1; round <= ROUNDS; round++) {
        const options = on(round, { ifMatch: { kind: 'revision', revision: round } });
        const writes = Array.from({ length: 9 }, (_, writer) =>
          handles[writer % handles.length]?.put(document('a', round * 100 + writer), options),
        );
        const results = await Promise.all(writes);
        const winners = results.filter((result) => result?.kind === 'written');
        t.equal(winners.length, 1, `round ${round}`);
        t.match(winners[0], { revision: round + 1, version: round + 1 });
        for (const result of results) t.match(result?.kind, /^(written|stale|moved)$/);
      }
      for (const handle of handles) {
        t.equal(await handle.version(), ROUNDS + 1);
        t.equal((await handle.get('ServicePolicy/a'))?.revision, ROUNDS + 1);
      }
      t.same(
        (await first.history('ServicePolicy/a')).map(({ version }) => version),
        Array.from({ length: ROUNDS + 1 }, (_, back) => ROUNDS + 1 - back),
        'no version is missing and none is there twice',
      );
      for (const handle of handles) await handle.close();
    },
  },
  {
    name: 'writers without conditions all get through by judging again, and every version is heard of in order',
    async run(t, place) {
      const first = await place.open();
      const handles = place.isShared ? [first, await place.open()] : [first];
      const heard = handles.map((handle) => {
        const versions: number[] = [];
        handle.onChange(({ version }) => versions.push(version));
        return versions;
      });
      const EACH = 10;
      const write = async (handle: Store, writer: number): Promise<void> => {
        for (let index = 0; index < EACH; ) {
          const { version } = await handle.list();
          const result = await handle.put(document(`w${writer}`, index), on(version));
          if (result.kind === 'written') index++;
        }
      };
      await Promise.all([0, 1, 2, 3].map((writer) => write(handles[writer % handles.length] ?? first, writer)));
      const last = 4 * EACH;
      for (let tries = 0; tries < 500 && heard.some((versions) => versions.at(-1) !== last); tries++) await sleep(10);
      for (const versions of heard) {
        t.equal(versions.at(-1), last);
        t.same(
          versions,
          [...new Set(versions)].sort((a, b) => a - b),
          'growing, none twice',
        );
      }
      for (const handle of handles) t.equal(await handle.version(), last);
      for (const handle of handles) await handle.close();
    },
  },
];
