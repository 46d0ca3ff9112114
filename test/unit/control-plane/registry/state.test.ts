// The registry's index arithmetic: which index each write moves and which it leaves alone.

import t from 'tap';
import type {
  CheckInput,
  NodeInput,
  ServiceInput,
  SessionRow,
} from '../../../../control-plane/registry/state/model.ts';
import { Store } from '../../../../control-plane/registry/state/store.ts';

const node = (name: string, address = '127.0.0.1'): NodeInput => ({
  ID: '',
  Node: name,
  Address: address,
  Datacenter: 'dc1',
  TaggedAddresses: null,
  Meta: null,
});

const service = (name: string, id: string, port = 1): ServiceInput => ({
  ID: id,
  Service: name,
  Tags: [],
  Address: '',
  Meta: null,
  Port: port,
  Weights: { Passing: 1, Warning: 1 },
  EnableTagOverride: false,
  Proxy: {},
  Connect: {},
});

const check = (id: string, serviceId: string, status: CheckInput['Status'] = 'passing'): CheckInput => ({
  Node: 'n1',
  CheckID: id,
  Name: id,
  Status: status,
  Notes: '',
  Output: '',
  ServiceID: serviceId,
  ServiceName: '',
  ServiceTags: [],
  Type: '',
  Definition: {},
});

const session = (id: string, more: Partial<SessionRow> = {}): Omit<SessionRow, 'CreateIndex' | 'ModifyIndex'> => ({
  ID: id,
  Name: '',
  Node: 'n1',
  LockDelay: 0,
  Behavior: 'release',
  TTL: '',
  NodeChecks: [],
  ServiceChecks: null,
  ...more,
});

function createStore(): { store: Store; time: { now: number } } {
  const time = { now: 0 };
  const store = new Store(() => time.now);
  store.write((index) => store.catalog.ensureNode(index, node('n1')));
  return { store, time };
}

const put = (store: Store, key: string, value = 'x'): number =>
  store.write((index) => store.kv.set(index, { key, value: Buffer.from(value), flags: 0 })).ModifyIndex;

t.test('the index of a service moves with its instances and checks and with nothing else', async (t) => {
  const { store } = createStore();
  const { catalog } = store;
  const index = (name: string): number => catalog.serviceIndex(name, true);
  store.write((at) => catalog.ensureService(at, 'n1', service('a', 'a1')));
  store.write((at) => catalog.ensureService(at, 'n1', service('b', 'b1')));
  t.same([index('a'), index('b')], [2, 3]);
  store.write((at) => catalog.ensureService(at, 'n1', service('a', 'a1')));
  t.equal(index('a'), 2, 'an identical registration');
  store.write((at) => catalog.ensureService(at, 'n1', service('A', 'a2')));
  t.same([index('a'), index('b')], [5, 3], 'another instance, whatever the case of its name');
  store.write((at) => catalog.ensureCheck(at, check('c', 'b1')));
  t.same([index('a'), index('b')], [5, 6], 'a check of an instance');
  store.write((at) => catalog.ensureCheck(at, check('c', 'b1')));
  t.equal(index('b'), 6, 'an identical check');
  store.write((at) => catalog.ensureCheck(at, check('of-node', '')));
  t.same([index('a'), index('b')], [8, 8], 'a check of the node reaches every service on it');
  store.write((at) => catalog.ensureNode(at, node('n1', '10.0.0.1')));
  t.same([index('a'), index('b')], [9, 9], 'so does the node itself');
  store.write((at) => catalog.deleteCheck(at, 'n1', 'c'));
  t.same([index('a'), index('b')], [9, 10]);
  t.same([catalog.tableIndex('nodes'), catalog.tableIndex('services'), catalog.tableIndex('checks')], [9, 5, 10]);
});

t.test('a service without instances has the catalog index before, and the last extinction after', async (t) => {
  const { store } = createStore();
  const { catalog } = store;
  t.equal(catalog.serviceIndex('none', true), 1);
  store.write((at) => catalog.ensureService(at, 'n1', service('a', 'a1')));
  store.write((at) => catalog.ensureService(at, 'n1', service('a', 'a2')));
  t.equal(catalog.serviceIndex('none', true), 3, 'no extinction yet');
  store.write((at) => catalog.deleteService(at, 'n1', 'a1'));
  t.equal(catalog.serviceIndex('a', true), 4, 'one of two instances left');
  store.write((at) => catalog.deleteService(at, 'n1', 'a2'));
  t.equal(catalog.serviceIndex('a', true), 5, 'the last one left');
  store.write((at) => catalog.ensureService(at, 'n1', service('b', 'b1')));
  t.same([catalog.serviceIndex('a', true), catalog.serviceIndex('none', true)], [5, 5], 'a birth elsewhere is no news');
  store.write((at) => catalog.ensureService(at, 'n1', service('c', 'b1')));
  t.same([catalog.serviceIndex('b', true), catalog.serviceIndex('c', true)], [7, 7], 'an id that changes its service');
});

t.test('rows keep their create index; unknown nodes and services are refused', async (t) => {
  const { store } = createStore();
  const { catalog } = store;
  store.write((at) => catalog.ensureService(at, 'n1', service('a', 'a1')));
  store.write((at) => catalog.ensureService(at, 'n1', service('a', 'a1', 2)));
  t.match(catalog.instances('a')[0]?.service, { CreateIndex: 2, ModifyIndex: 3, Port: 2 });
  t.match(catalog.ensureService(9, 'n9', service('a', 'a1')), { ok: false, error: 'Missing node registration' });
  t.match(catalog.ensureCheck(9, check('c', 'zz')), { ok: false, error: 'Missing service registration' });
});

t.test('a node that leaves takes services, checks and sessions along', async (t) => {
  const { store } = createStore();
  store.write((at) => store.catalog.ensureService(at, 'n1', service('a', 'a1')));
  store.write((at) => store.catalog.ensureCheck(at, check('c', 'a1')));
  t.ok(store.write((at) => store.createSession(at, session('s'))).ok);
  store.write((at) => store.catalog.deleteNode(at, 'n1'));
  t.same(
    [store.catalog.nodes(), store.catalog.instances('a'), store.catalog.checks(), store.sessions()],
    [[], [], [], []],
  );
});

t.test('key and prefix indexes: own change, deletions under the prefix, else the table', async (t) => {
  const { store } = createStore();
  const { kv } = store;
  t.equal(kv.keyIndex('a'), 0);
  const [a, b, c] = [put(store, 'p/a'), put(store, 'p/b'), put(store, 'q/c')];
  t.same([kv.keyIndex('p/a'), kv.prefixIndex('p/'), kv.prefixIndex('q/'), kv.prefixIndex('')], [a, b, c, c]);
  t.equal(kv.keyIndex('none'), c, 'a missing key has the index of the table');
  t.equal(put(store, 'p/a'), a, 'the same value again');
  store.write((at) => kv.delete(at, 'p/a'));
  const deleted = kv.prefixIndex('p/');
  t.ok(deleted > c, 'the deletion moved the prefix');
  t.equal(kv.prefixIndex('q/'), c, 'and only that prefix');
  store.write((at) => kv.delete(at, 'p/none'));
  t.equal(kv.prefixIndex('p/'), deleted, 'deleting nothing');
  store.write((at) => kv.deleteTree(at, 'q/'));
  t.ok(kv.prefixIndex('q/') > deleted);
});

t.test('forgotten deletions may only raise the index of a prefix, never lower it', async (t) => {
  const { store } = createStore();
  const { kv } = store;
  put(store, 'p/keep');
  put(store, 'p/gone');
  store.write((at) => kv.delete(at, 'p/gone'));
  const before = kv.prefixIndex('p/');
  for (let i = 0; i < 5000; i++) {
    put(store, `noise/${i}`);
    store.write((at) => kv.delete(at, `noise/${i}`));
  }
  t.ok(kv.prefixIndex('p/') >= before);
});

t.test('listeners hear what a write touched, once, and nothing of writes that change nothing', async (t) => {
  const { store } = createStore();
  const heard: string[] = [];
  const stop = store.onChange((changes) => heard.push(changes.map(({ table }) => table).join('+')));
  put(store, 'k');
  put(store, 'k');
  store.write((at) => store.catalog.ensureNode(at, node('n1')));
  store.write((at) => store.catalog.ensureService(at, 'n1', service('a', 'a1')));
  stop();
  put(store, 'other');
  t.same(heard, ['kv', 'catalog']);
});

t.test('a refused transaction leaves no trace', async (t) => {
  const { store } = createStore();
  const before = put(store, 'k');
  const heard: unknown[] = [];
  store.onChange((changes) => heard.push(changes));
  store.writeAll((at) => {
    store.kv.set(at, { key: 'k', value: Buffer.from('new'), flags: 0 });
    store.kv.delete(at, 'k');
    return { ok: false, error: 'no' };
  });
  t.equal(String(store.kv.get('k')?.Value), 'x');
  t.same([store.kv.prefixIndex('k'), heard], [before, []]);
});

t.test('the end of a session: lock released, key kept or deleted, delay counted in monotonic time', async (t) => {
  const { store, time } = createStore();
  const { kv } = store;
  const lock = (key: string, id: string): boolean =>
    store.write((at) => kv.acquire(at, { key, value: Buffer.from('v'), flags: 0 }, id)) !== null;
  store.write((at) => store.createSession(at, session('s1', { LockDelay: 15e9 })));
  store.write((at) => store.createSession(at, session('s2', { Behavior: 'delete' })));
  t.same([lock('a', 's1'), lock('a', 's2'), lock('b', 's2')], [true, false, true]);
  store.write((at) => store.destroySession(at, 's1'));
  t.match(kv.get('a'), { Session: '', LockIndex: 1 });
  t.ok(kv.isLockDelayed('a', time.now));
  time.now = 14_999;
  t.ok(kv.isLockDelayed('a', time.now));
  time.now = 15_000;
  t.notOk(kv.isLockDelayed('a', time.now));
  store.write((at) => store.destroySession(at, 's2'));
  t.equal(kv.get('b'), null);
  t.notOk(kv.isLockDelayed('b', time.now), 'no delay was asked for');
});

t.test('a session ends with a check that turns critical or goes, and cannot begin on a critical one', async (t) => {
  const { store } = createStore();
  store.write((at) => store.catalog.ensureCheck(at, check('c', '')));
  const bound = session('s', { NodeChecks: ['c'] });
  t.ok(store.write((at) => store.createSession(at, bound)).ok);
  store.write((at) => store.catalog.ensureCheck(at, check('c', '', 'warning')));
  t.ok(store.session('s'), 'a warning is not the end');
  store.write((at) => store.catalog.ensureCheck(at, check('c', '', 'critical')));
  t.equal(store.session('s'), null);
  t.match(
    store.write((at) => store.createSession(at, bound)),
    { ok: false, error: /critical/ },
  );
  store.write((at) => store.catalog.ensureCheck(at, check('c', '')));
  t.ok(store.write((at) => store.createSession(at, bound)).ok);
  store.write((at) => store.catalog.deleteCheck(at, 'n1', 'c'));
  t.equal(store.session('s'), null);
});
