// What comes out of a byte stream, a frame and a folder of documents.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { backOffMs } from '../../../../agent/core/back-off.ts';
import { decodeFrame } from '../../../../agent/sync/frame.ts';
import { createLastGoodPolicies, type StateStore } from '../../../../agent/sync/last-good-policies.ts';
import { loadLocalPolicies } from '../../../../agent/sync/local-policies.ts';
import { type ServerSentEvent, SseParser } from '../../../../agent/sync/sse-parser.ts';
import { temporaryFolder } from '../../../support/processes.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const STREAM =
  '\uFEFF: hello\r\nid: 7\r\nevent: policies\r\ndata: {"a":1,\r\ndata:  "é🚣"}\r\n\r\n' +
  ':\n\nevent: policies\rdata:x\r\rdata\n\nretry: 10\nunknown: y\ndata: last\nid: 8\0\n\nevent: empty\n\ndata: cut off';

const EXPECTED: readonly ServerSentEvent[] = [
  { event: 'policies', data: '{"a":1,\n "é🚣"}', id: '7' },
  { event: 'policies', data: 'x', id: '7' },
  { event: 'message', data: '', id: '7' },
  { event: 'message', data: 'last', id: '7' },
];

t.test('SseParser reads CRLF, LF and CR, comments, ids, joined data and an event that is cut off', async (t) => {
  t.same(new SseParser().push(Buffer.from(STREAM)), EXPECTED);
});

t.test('SseParser gives the same events whatever way the bytes are cut', async (t) => {
  const bytes = Buffer.from(STREAM);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const parser = new SseParser();
    t.same([...parser.push(bytes.subarray(0, cut)), ...parser.push(bytes.subarray(cut))], EXPECTED, `cut at ${cut}`);
  }
  const random = seededRandom(11);
  for (let round = 0; round < 50; round++) {
    const parser = new SseParser();
    const events: ServerSentEvent[] = [];
    for (let at = 0; at < bytes.length; ) {
      const next = at + 1 + Math.floor(random() * 5);
      events.push(...parser.push(bytes.subarray(at, next)));
      at = next;
    }
    t.same(events, EXPECTED, `round ${round}`);
  }
});

t.test('SseParser stops keeping what is larger than the limit, in one line or in many', async (t) => {
  const oneLine = new SseParser(1_000);
  for (let i = 0; i < 20; i++) t.same(oneLine.push(Buffer.from('data: '.padEnd(100, 'x'))), []);
  t.equal(oneLine.isOverflowing, true);
  const many = new SseParser(1_000);
  for (let i = 0; i < 20; i++) many.push(Buffer.from(`data: ${'x'.repeat(90)}\n`));
  t.equal(many.isOverflowing, true);
  t.same(many.push(Buffer.from('\n\ndata: y\n\n')), [], 'nothing comes after an overflow');
  const fits = new SseParser(1_000);
  for (let i = 0; i < 50; i++) t.equal(fits.push(Buffer.from(`data: ${'x'.repeat(90)}\n\n`)).length, 1);
  t.equal(fits.isOverflowing, false, 'the limit is per event');
});

t.test('decodeFrame() tells a push from what can be refused and from what cannot be answered', async (t) => {
  t.same(decodeFrame('{"version":3,"nonce":"n","documents":[],"more":1}'), {
    kind: 'push',
    push: { version: 3, nonce: 'n', documents: [] },
  });
  t.match(decodeFrame('{"version":3,"nonce":"n","documents":{}}'), { kind: 'refused', version: 3, nonce: 'n' });
  for (const bad of [
    '',
    'x',
    'null',
    '[]',
    '{"version":-1,"nonce":"n"}',
    '{"version":1.5,"nonce":"n"}',
    '{"version":1}',
  ]) {
    t.equal(decodeFrame(bad).kind, 'unreadable', bad);
  }
  t.equal(decodeFrame('{"version":1,"nonce":"","documents":[]}').kind, 'unreadable');
});

t.test('backOffMs() stays within half of 0.1 s doubling to 5 s', async (t) => {
  const random = seededRandom(3);
  for (const [failures, full] of [
    [1, 100],
    [2, 200],
    [6, 3_200],
    [7, 5_000],
    [99, 5_000],
  ] as const) {
    const ms = backOffMs(failures, random, { baseMs: 100, capMs: 5_000 });
    t.ok(ms >= full / 2 && ms <= full, `${ms} after ${failures}`);
  }
});

const DOCUMENT = (name: string): string =>
  `apiVersion: outrigger.dev/v1\nkind: ServicePolicy\nmetadata: { name: ${name} }\nspec: { retries: { attempts: 2 } }\n`;

t.test('loadLocalPolicies() reads a file or the YAML and JSON of a folder', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'b.yaml'), `${DOCUMENT('payments')}---\n${DOCUMENT('orders')}`);
  const json = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name: 'users' }, spec: {} };
  writeFileSync(join(folder, 'a.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'README.md'), 'not a policy');
  mkdirSync(join(folder, 'sub.yaml'));
  const all = loadLocalPolicies(folder);
  t.same(all.ok && all.value.map(({ metadata }) => metadata.name), ['users', 'payments', 'orders']);
  const one = loadLocalPolicies(join(folder, 'a.json'));
  t.equal(one.ok && one.value.length, 1);
});

t.test('loadLocalPolicies() finds every problem of every file, with its place', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'a.yaml'), DOCUMENT('payments').replace('attempts: 2', 'attempts: 99'));
  writeFileSync(join(folder, 'b.yaml'), 'a: [');
  const bad = loadLocalPolicies(folder);
  t.equal(bad.ok, false);
  if (bad.ok) return;
  t.match(bad.problems[0], { code: 'OTR_RANGE', file: join(folder, 'a.yaml'), line: 4, path: 'spec.retries.attempts' });
  t.match(bad.problems[1], { code: 'OTR_SYNTAX', file: join(folder, 'b.yaml') });
  const missing = loadLocalPolicies(join(folder, 'nowhere'));
  t.match(!missing.ok && missing.problems, [{ code: 'OTR_FILE' }]);
});

t.test('last good policies are written latest only, and a disk that refuses is one event', async (t) => {
  const saved: unknown[] = [];
  const events: string[] = [];
  const disk = { isFull: false };
  const store: StateStore = {
    path: 'policies.json',
    load: () => ({
      saved: [
        { payload: { version: 'x' }, savedAtEpochMs: 1 },
        { payload: { version: 4, documents: [] }, savedAtEpochMs: 2 },
      ],
      faults: ['policies.json is damaged'],
    }),
    save: async (payload) => {
      if (disk.isFull) throw new Error('ENOSPC');
      saved.push(payload);
    },
  };
  const policies = createLastGoodPolicies({
    store,
    clock: new VirtualClock(),
    onEvent: ({ reason }) => events.push(reason),
  });
  t.match(policies.load(), [{ push: { version: 4, documents: [] }, savedAtEpochMs: 2 }]);
  t.same(events, ['state_unusable', 'state_unusable']);
  for (const version of [5, 6, 7]) policies.save({ version, nonce: 'n', documents: [] });
  await policies.flush();
  t.same(saved, [{ version: 7, documents: [] }], 'no nonce: it names one delivery');
  disk.isFull = true;
  for (const version of [8, 9]) {
    policies.save({ version, nonce: 'n', documents: [] });
    await policies.flush();
  }
  disk.isFull = false;
  policies.save({ version: 10, nonce: 'n', documents: [] });
  await policies.flush();
  t.same(events.slice(2), ['state_not_written', 'state_written']);
});
