// The Consul store when Consul is not as it was left: away, emptied, set back, written to by hand, and when a token may not write.

import t, { type Test } from 'tap';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { createConsulStore } from '../../control-plane/store/consul-store.ts';
import { type Store, StoreError } from '../../control-plane/store/store.ts';
import { until } from '../support/processes.ts';
import { consulOrFail, type RealConsul, startConsul } from '../support/real-consul.ts';
import { document, on } from './store-conformance/cases.ts';

const PREFIX = 'outrigger/';

interface World {
  readonly consul: RealConsul;
  readonly notices: string[];
  open(): Promise<Store>;
}

async function createWorld(t: Test): Promise<World> {
  const consul = await startConsul(t);
  const notices: string[] = [];
  return {
    consul,
    notices,
    open: async () => {
      const store = await createConsulStore({
        kv: await ConsulKv.open({ url: consul.url, token: null, tokenFile: null, datacenter: null }),
        prefix: PREFIX,
        epochMs: () => 0,
        now: () => performance.now(),
        random: Math.random,
        onNotice: (text) => notices.push(text),
        writeDeadlineMs: 1_000,
        startDeadlineMs: 500,
      });
      t.teardown(() => store.close());
      return store;
    },
  };
}

async function raw(consul: RealConsul, method: 'PUT' | 'DELETE', key: string, value?: string): Promise<void> {
  const body = value === undefined ? {} : { body: value };
  const answer = await fetch(`${consul.url}/v1/kv/${PREFIX}${key}`, { method, ...body });
  if (!answer.ok) throw new Error(`${method} ${key}: ${answer.status}`);
}

async function kindOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'nothing';
  } catch (error) {
    if (error instanceof StoreError) return error.kind;
    throw error;
  }
}

t.test(
  'Consul away: reads go on, writes are refused and later possible, and the others are heard of again',
  { timeout: 90_000 },
  async (t) => {
    if (consulOrFail(t) === null) return;
    const { consul, notices, open } = await createWorld(t);
    const store = await open();
    const other = await open();
    await store.put(document('a'), on(0));
    await until(
      async () => (await other.list()).version === 1,
      10_000,
      () => notices.join(' | '),
    );
    await consul.kill('SIGKILL');
    t.equal((await store.list()).version, 1, 'the last known set');
    t.match(await store.get('ServicePolicy/a'), { revision: 1 });
    t.equal(await kindOf(store.version()), 'unavailable');
    t.equal(await kindOf(store.put(document('b'), on(1))), 'unavailable');
    await until(
      () => notices.some((text) => /version 1 stays in force and nothing can be written/.test(text)),
      10_000,
      () => notices.join(' | '),
    );
    t.equal(await kindOf(open()), 'unavailable', 'a new one does not start on nothing');
    const heard: number[] = [];
    other.onChange(({ version }) => heard.push(version));
    await consul.restart();
    await until(async () => (await kindOf(store.put(document('b'), on(1)))) === 'nothing', 20_000);
    await until(
      () => heard.includes(2),
      10_000,
      () => notices.join(' | '),
    );
    t.ok(notices.some((text) => /answers again/.test(text)));
  },
);

t.test(
  'the index lost by hand is rebuilt above everything; a set lost by hand stays in force; a snapshot is followed back',
  { timeout: 90_000 },
  async (t) => {
    if (consulOrFail(t) === null) return;
    const { consul, notices, open } = await createWorld(t);
    const store = await open();
    await store.put(document('a'), on(0));
    await store.put(document('b'), on(1));
    await store.remove('ServicePolicy/b', on(2));
    const snapshot = await fetch(`${consul.url}/v1/snapshot`).then((answer) => answer.arrayBuffer());
    await raw(consul, 'DELETE', 'set/index');
    await until(
      () => notices.some((text) => /begins again at version 4/.test(text)),
      10_000,
      () => notices.join(' | '),
    );
    t.match(await store.list(), { version: 4, policies: [{ revision: 1 }] });
    t.match(await store.put(document('c'), on(4)), { version: 5 });

    const heard: number[] = [];
    store.onChange(({ version, policies }) => heard.push(version, policies.length));
    await raw(consul, 'DELETE', 'set?recurse');
    await until(
      () => notices.some((text) => /are gone, version 5 was there/.test(text)),
      25_000,
      () => notices.join(' | '),
    );
    t.match(await store.list(), { version: 5, policies: [{}, {}] });
    t.equal(await kindOf(store.put(document('d'), on(5))), 'unavailable');
    t.same(heard, [], 'nobody is sent an empty set');

    const answer = await fetch(`${consul.url}/v1/snapshot`, { method: 'PUT', body: snapshot });
    t.equal(answer.status, 200);
    await until(() => heard.length > 0, 30_000);
    t.same(heard.slice(0, 2), [3, 1], 'what was restored is in force');
    t.ok(notices.some((text) => /went back from version 5 to 3/.test(text)));
    t.match(await store.put(document('d'), on(3)), { version: 4 });
  },
);

t.test('what a hand wrote is refused with its key, and the set before it stays', { timeout: 60_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const { consul, notices, open } = await createWorld(t);
  const store = await open();
  await store.put(document('a'), on(0));
  for (const [key, value, why] of [
    ['set/policies/ServicePolicy/x', 'not json', /set\/policies\/ServicePolicy\/x has no revision/],
    [
      'set/policies/ServicePolicy/x',
      '{"revision":1,"version":1,"sha256":"0","author":"","message":"","at":0}',
      /documents\/ServicePolicy\/x\/000000000001\/0 does not have the checksum/,
    ],
    ['set/index', '[]', /set\/index has no version/],
  ] as const) {
    notices.length = 0;
    await raw(consul, 'PUT', key, value);
    await until(
      () => notices.some((text) => why.test(text)),
      10_000,
      () => `${key}: ${notices.join(' | ')}`,
    );
    t.match(await store.list(), { version: 1, policies: [{ revision: 1 }] });
    t.equal(await kindOf(store.put(document('b'), on(1))), 'unusable');
    t.equal(await kindOf(open()), 'unusable');
    if (key === 'set/index') break;
    await raw(consul, 'DELETE', key);
    await until(() => notices.some((text) => /answers again/.test(text)), 15_000);
  }
});

t.test(
  'a document above the limit of a key is too large, not unavailable, and no secret is in any error',
  { timeout: 60_000 },
  async (t) => {
    if (consulOrFail(t) === null) return;
    const { consul, open } = await createWorld(t);
    const store = await open();
    const large = { ...document('a'), spec: { note: 'x'.repeat(530_000) } };
    await t.rejects(store.put(large, on(0)), {
      kind: 'too_large',
      message: /has \d+ bytes as JSON, Consul keeps at most 524288/,
    });
    t.equal(await store.version(), 0);
    await consul.kill('SIGKILL');
    const token = 'a-secret-that-nobody-may-see';
    const kv = await ConsulKv.open({ url: consul.url, token, tokenFile: null, datacenter: null });
    t.teardown(() => kv.close());
    const error: unknown = await kv.read(PREFIX).catch((thrown: unknown) => thrown);
    t.match(error, { kind: 'unavailable' });
    t.notMatch(JSON.stringify(error, Object.getOwnPropertyNames(error)), token);
    t.equal((error as StoreError).cause instanceof Error, true);
    t.same(Object.keys((error as StoreError).cause as Error), ['statusCode']);
  },
);
