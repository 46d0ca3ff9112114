// State on disk: what is damaged is never applied, and a disk that refuses never stops anything (A10, A11).

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import type { Endpoint } from '../../../../agent/core/endpoint.ts';
import { createLastKnownGood } from '../../../../agent/discovery/last-known-good.ts';
import { createStateFile } from '../../../../agent/state-file.ts';
import { temporaryFolder } from '../../../support/processes.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const endpoint = (port: number): Endpoint => ({
  id: `payments@p${port}@127.0.0.1:${port}`,
  address: '127.0.0.1',
  port,
  weight: 1,
  zone: null,
  tags: [],
  meta: {},
});

t.test('a state file gives back what was saved, newest generation first', async (t) => {
  const path = join(temporaryFolder(t), 'deep', 'state', 'x.json');
  const file = createStateFile(path, 'things');
  t.same(file.load(), { saved: [], faults: [] }, 'nothing yet is no fault');
  await file.save({ n: 1 }, 10);
  await file.save({ n: 2, '1': 'é' }, 20);
  t.same(createStateFile(path, 'things').load(), {
    saved: [
      { payload: { n: 2, '1': 'é' }, savedAtEpochMs: 20, generation: 'current' },
      { payload: { n: 1 }, savedAtEpochMs: 10, generation: 'former' },
    ],
    faults: [],
  });
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.same(readdirSync(dirname(path)).sort(), ['x.json', 'x.json.former'], 'nothing half-written is left');
});

t.test('two lives write the same state file at once: each generation is whole, and leftovers go', async (t) => {
  const path = join(temporaryFolder(t), 'x.json');
  const abandoned = `${path}.0123.tmp`;
  writeFileSync(abandoned, 'half');
  utimesSync(abandoned, 1, 1);
  const lives = ['a', 'b'].map((name) => ({ name, file: createStateFile(path, 'things') }));
  for (let n = 0; n < 20; n++) {
    await Promise.all(lives.map(({ name, file }) => file.save({ name, n, text: 'x'.repeat(n * 1_000) }, n)));
    const { saved, faults } = createStateFile(path, 'things').load();
    t.same(faults, []);
    t.match(saved[0]?.payload, { n });
  }
  t.same(readdirSync(dirname(path)).sort(), ['x.json', 'x.json.former']);
});

t.test('a damaged, empty, foreign or newer current generation falls back to the former one', async (t) => {
  const path = join(temporaryFolder(t), 'x.json');
  const file = createStateFile(path, 'things');
  await file.save({ n: 1 }, 10);
  await file.save({ n: 2 }, 20);
  const good = readFileSync(path, 'utf8');
  const damages: Record<string, string> = {
    empty: '',
    truncated: good.slice(0, good.length / 2),
    'bit flip': good.replace('"n":2', '"n":3'),
    'other time': good.replace('20', '21'),
    newer: good.replace('"format":1', '"format":2'),
    foreign: good.replace('things', 'others'),
    garbage: '\u0000\u0001{]',
    'not an object': '7',
  };
  for (const [name, text] of Object.entries(damages)) {
    writeFileSync(path, text);
    const loaded = createStateFile(path, 'things').load();
    t.same(
      loaded.saved.map(({ payload }) => payload),
      [{ n: 1 }],
      name,
    );
    t.equal(loaded.faults.length, 1, name);
    // Saving over a damaged file must not push the good former generation out.
    const next = createStateFile(path, 'things');
    await next.save({ n: 4 }, 30);
    t.same(
      next.load().saved.map(({ payload }) => payload),
      [{ n: 4 }, { n: 1 }],
      `${name}, after the next save`,
    );
  }
  writeFileSync(path, 'x');
  copyFileSync(path, `${path}.former`);
  t.same(createStateFile(path, 'things').load().saved, [], 'both damaged: nothing is applied');
});

t.test('last known good endpoints come back after a restart; sets that became empty do not', async (t) => {
  const path = join(temporaryFolder(t), 'endpoints.json');
  const clock = new VirtualClock();
  const create = () =>
    createLastKnownGood({ file: createStateFile(path, 'endpoints'), clock, onEvent: (e) => t.fail(e.text) });
  const first = create();
  t.equal(first.load().size, 0);
  first.record({ service: 'payments', endpoints: [endpoint(1), endpoint(2)], confirmedAtEpochMs: 5 });
  first.record({ service: 'gone', endpoints: [endpoint(3)], confirmedAtEpochMs: 5 });
  first.record({ service: 'gone', endpoints: [], confirmedAtEpochMs: 6 });
  await first.flush();
  const second = create().load();
  t.same([...second.values()], [{ service: 'payments', endpoints: [endpoint(1), endpoint(2)], confirmedAtEpochMs: 5 }]);
});

t.test('last known good ignores a payload of the wrong form even with a right checksum', async (t) => {
  const path = join(temporaryFolder(t), 'endpoints.json');
  const file = createStateFile(path, 'endpoints');
  const good = { services: [{ service: 'payments', endpoints: [endpoint(1)], confirmedAtEpochMs: 5 }] };
  await file.save(good, 1);
  const events: MeshEvent[] = [];
  for (const bad of [
    { services: 7 },
    [],
    { services: [{ service: 'p', endpoints: [{ ...endpoint(1), port: 70_000 }], confirmedAtEpochMs: 1 }] },
    { services: [{ service: 'p', endpoints: [{ ...endpoint(1), weight: 0 }], confirmedAtEpochMs: 1 }] },
  ]) {
    await file.save(good, 1);
    await file.save(bad, 2);
    const loaded = createLastKnownGood({
      file: createStateFile(path, 'endpoints'),
      clock: new VirtualClock(),
      onEvent: (event) => events.push(event),
    }).load();
    t.same([...loaded.keys()], ['payments'], 'the former generation');
  }
  t.same(
    events.map(({ reason }) => reason),
    Array(4).fill('state_unusable'),
  );
});

t.test('a disk that refuses is one event, and one more when it takes writes again', async (t) => {
  const folder = join(temporaryFolder(t), 'state');
  const events: string[] = [];
  // A file where the folder should be refuses everybody, root included.
  writeFileSync(folder, '');
  const known = createLastKnownGood({
    file: createStateFile(join(folder, 'endpoints.json'), 'endpoints'),
    clock: new VirtualClock(),
    onEvent: ({ reason }) => events.push(reason),
  });
  known.load();
  events.length = 0;
  known.record({ service: 'a', endpoints: [endpoint(1)], confirmedAtEpochMs: 1 });
  await known.flush();
  known.record({ service: 'a', endpoints: [endpoint(2)], confirmedAtEpochMs: 2 });
  await known.flush();
  t.same(events, ['state_not_written']);
  rmSync(folder);
  mkdirSync(folder);
  await known.flush();
  t.same(events, ['state_not_written', 'state_written']);
  t.equal(existsSync(join(folder, 'endpoints.json')), true, 'what was pending is written then');
});

t.test('what was confirmed longest ago makes room, whatever the wall clock did', async (t) => {
  const path = join(temporaryFolder(t), 'endpoints.json');
  const create = () =>
    createLastKnownGood({ file: createStateFile(path, 'endpoints'), clock: new VirtualClock(), onEvent: () => {} });
  const known = create();
  known.load();
  for (let n = 0; n < 1_000; n++) {
    known.record({ service: `s${n}`, endpoints: [endpoint(1)], confirmedAtEpochMs: 1_000_000 });
  }
  // Set back by a quarter of an hour, which is more than the five minutes after which a confirmation is written again.
  known.record({ service: 's0', endpoints: [endpoint(1)], confirmedAtEpochMs: 100_000 });
  known.record({ service: 'newcomer', endpoints: [endpoint(1)], confirmedAtEpochMs: 100_000 });
  await known.flush();
  const loaded = create().load();
  t.equal(loaded.size, 1_000);
  t.equal(loaded.get('s0')?.confirmedAtEpochMs, 100_000);
  t.ok(loaded.has('newcomer'));
  t.notOk(loaded.has('s1'), 'the longest unconfirmed one');
});
