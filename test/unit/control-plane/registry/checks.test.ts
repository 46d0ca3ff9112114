// Checks, sessions and waits in virtual time: when they run, what ends them, what they leave behind.

import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { CheckSchedule } from '../../../../control-plane/registry/check-schedule.ts';
import { buildCheck, buildService, type CheckDefinition } from '../../../../control-plane/registry/definitions.ts';
import { blocking, createHttp, json, refuseFilter } from '../../../../control-plane/registry/http.ts';
import { LocalAgent } from '../../../../control-plane/registry/local-agent.ts';
import { type ProbeResult, runProbe } from '../../../../control-plane/registry/probe.ts';
import { SessionExpiry } from '../../../../control-plane/registry/routes/session-routes.ts';
import { Store } from '../../../../control-plane/registry/state/store.ts';
import { parseGoDuration } from '../../../../control-plane/registry/time.ts';
import { Waiters, waitWithJitter } from '../../../../control-plane/registry/waiters.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function define(given: Parameters<typeof buildCheck>[0]): CheckDefinition {
  const built = buildCheck(given);
  if (!built.ok) throw new Error(built.error);
  return built.value;
}

/** An agent in virtual time whose probes answer what `next` says and note when they ran. */
function createRoom(random = 0.5) {
  const clock = new VirtualClock();
  const after = clock.after.bind(clock);
  const store = new Store(() => clock.now());
  const next: { result: ProbeResult } = { result: { status: 'passing', output: 'ok' } };
  const ranAt: number[] = [];
  const schedule: CheckSchedule = new CheckSchedule({
    after,
    random: () => random,
    run: async () => {
      ranAt.push(clock.now());
      return next.result;
    },
    report: (id, status, output) => agent.report(id, status, output),
  });
  const node = { ID: '', Node: 'n1', Address: '127.0.0.1', Datacenter: 'dc1', TaggedAddresses: null, Meta: null };
  const agent: LocalAgent = new LocalAgent({ node, store, after, random: () => random, schedule });
  const register = (id: string, checks: readonly CheckDefinition[]): void =>
    agent.registerService(
      {
        ID: id,
        Service: 'web',
        Tags: [],
        Address: '',
        Meta: null,
        Port: 1,
        Weights: { Passing: 1, Warning: 1 },
        EnableTagOverride: false,
        Proxy: {},
        Connect: {},
      },
      checks,
      false,
    );
  const status = (id: string): unknown => store.catalog.checks().find(({ CheckID }) => CheckID === id)?.Status;
  /** Advances in steps, letting each probe's promise settle before the next timer. */
  const advance = async (ms: number): Promise<void> => {
    for (let done = 0; done < ms; done += 100) {
      clock.advance(100);
      await turn();
    }
  };
  return { clock, after, store, next, ranAt, schedule, agent, register, status, advance };
}

t.test('a TTL turns critical exactly when it runs out; each sign of life starts it anew', async (t) => {
  const room = createRoom();
  room.register('w1', [define({ TTL: 10_000 })]);
  room.agent.beat('service:w1', 'passing', 'alive');
  room.clock.advance(9_999);
  t.equal(room.status('service:w1'), 'passing');
  room.agent.beat('service:w1', 'warning', '');
  room.clock.advance(9_999);
  t.equal(room.status('service:w1'), 'warning');
  room.clock.advance(1);
  t.equal(room.status('service:w1'), 'critical');
  t.match(room.agent.checks()[0], { Output: 'TTL expired' });
});

t.test('a probe starts at a random point of its interval, then runs once an interval', async (t) => {
  const room = createRoom(0.5);
  room.register('w1', [define({ HTTP: 'http://127.0.0.1:1/', Interval: 2000 })]);
  await room.advance(7000);
  t.same(room.ranAt, [1000, 3000, 5000, 7000]);
  t.equal(room.status('service:w1'), 'passing');
  room.agent.deregisterService('w1');
  await room.advance(4000);
  t.equal(room.ranAt.length, 4, 'a check that is gone does not run');
  t.equal(room.schedule.count, 0);
});

t.test('thresholds count consecutive results, and the other kind starts the count again', async (t) => {
  const room = createRoom(0);
  const thresholds = { SuccessBeforePassing: 2, FailuresBeforeCritical: 3 };
  room.register('w1', [define({ TCP: '127.0.0.1:1', Interval: 1000, ...thresholds })]);
  const seen: unknown[] = [];
  for (const result of ['passing', 'passing', 'critical', 'critical', 'passing', 'critical', 'critical', 'critical']) {
    room.next.result = { status: result === 'passing' ? 'passing' : 'critical', output: result };
    await room.advance(1000);
    seen.push(room.status('service:w1'));
  }
  const [first, ...rest] = seen;
  t.equal(first, 'critical', 'one success is not enough');
  t.same(rest, ['passing', 'passing', 'passing', 'passing', 'passing', 'passing', 'critical']);
});

t.test('intervals below a second are a second, and the time to deregister at least a minute', async (t) => {
  t.match(define({ HTTP: 'http://a/', Interval: 1 }).probe, { intervalMs: 1000, timeoutMs: 10_000 });
  t.equal(define({ TTL: 1000, DeregisterCriticalServiceAfter: 1 }).deregisterAfterMs, 60_000);
});

t.test('a service that stays critical for its time is deregistered; recovery stops the clock', async (t) => {
  const room = createRoom();
  room.register('w1', [define({ TTL: 600_000, DeregisterCriticalServiceAfter: 90_000 })]);
  room.clock.advance(80_000);
  room.agent.beat('service:w1', 'passing', '');
  room.clock.advance(80_000);
  t.equal(room.store.catalog.instances('web').length, 1);
  room.agent.beat('service:w1', 'critical', '');
  room.clock.advance(89_999);
  room.agent.beat('service:w1', 'critical', 'still');
  t.equal(room.store.catalog.instances('web').length, 1);
  room.clock.advance(1);
  t.equal(room.store.catalog.instances('web').length, 0);
  t.same(room.agent.services(), []);
});

t.test('a new output under the same status reaches the catalog late and once', async (t) => {
  const room = createRoom(0.5);
  room.register('w1', [define({ TTL: 3_600_000, Status: 'passing' })]);
  const before = room.store.catalog.serviceIndex('web', true);
  room.agent.beat('service:w1', 'passing', 'one');
  room.agent.beat('service:w1', 'passing', 'two');
  room.clock.advance(299_999);
  t.equal(room.store.catalog.serviceIndex('web', true), before);
  room.clock.advance(1);
  t.ok(room.store.catalog.serviceIndex('web', true) > before);
  t.match(room.store.catalog.checksOf('n1'), [{}, { Output: 'two' }]);
});

t.test('a session ends after twice its TTL unless it is renewed', async (t) => {
  const { clock, after, store } = createRoom();
  const expiry = new SessionExpiry(store, after);
  const session = { ID: 's', Name: '', Node: 'n1', LockDelay: 0, Behavior: 'release', TTL: '10s' } as const;
  store.write((index) => store.createSession(index, { ...session, NodeChecks: [], ServiceChecks: null }));
  expiry.arm(session);
  clock.advance(19_999);
  expiry.arm(session);
  clock.advance(19_999);
  t.ok(store.session('s'));
  clock.advance(1);
  t.equal(store.session('s'), null);
});

t.test('a wait: default and ceiling, and up to a sixteenth more', async (t) => {
  t.equal(
    waitWithJitter(0, () => 0),
    300_000,
  );
  t.equal(
    waitWithJitter(3_600_000, () => 0),
    600_000,
  );
  t.equal(
    waitWithJitter(16_000, () => 0.5),
    16_500,
  );
});

t.test(
  'a waiter leaves when fresh, when time is up, when its client goes, and at the end; and leaves nothing behind',
  async (t) => {
    const { clock, after, store } = createRoom();
    const waiters = new Waiters(store, after, () => 0);
    const ended: string[] = [];
    let index = 1;
    const gone = new AbortController();
    const enter = (name: string, given: number, waitMs: number, signal = new AbortController().signal): void => {
      void waiters
        .wait({ isFresh: () => index > given, concerns: ({ table }) => table === 'kv', waitMs, signal })
        .then(() => ended.push(name));
    };
    const put = (key: string): void => {
      store.write((at) => store.kv.set(at, { key, value: Buffer.from(String(at)), flags: 0 }));
    };
    enter('fresh already', 0, 1000);
    enter('woken', 1, 5000);
    enter('ahead', 50, 5000);
    enter('client', 50, 5000, gone.signal);
    enter('closed', 50, 600_000);
    await turn();
    t.same([ended, waiters.count], [['fresh already'], 4]);
    put('a');
    await turn();
    t.equal(waiters.count, 4, 'a change without a larger index wakes nobody');
    index = 2;
    put('b');
    gone.abort();
    await turn();
    t.same(ended, ['fresh already', 'woken', 'client']);
    clock.advance(5000);
    await turn();
    t.same([ended.at(-1), waiters.count], ['ahead', 1]);
    waiters.close();
    await turn();
    t.same([ended.at(-1), waiters.count], ['closed', 0]);
    enter('late', 50, 5000);
    await turn();
    t.equal(ended.at(-1), 'late', 'nobody waits for a closed registry');
  },
);

t.test('a client that hangs up takes its waiter along', async (t) => {
  const { after, store } = createRoom();
  const waiters = new Waiters(store, after, () => 0);
  const query = { concerns: () => true, index: () => 1, answer: () => json([]) };
  const http = createHttp([{ path: '/q', GET: (call) => blocking(waiters, call, 'dc1', query) }], (error) => {
    t.fail(String(error));
  });
  t.teardown(() => http.close());
  await http.listen({ host: '127.0.0.1', port: 0 });
  const { port } = http.server.address() as AddressInfo;
  const outgoing = get(`http://127.0.0.1:${port}/q?index=1`);
  outgoing.on('error', () => {});
  for (let i = 0; i < 200 && waiters.count === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(waiters.count, 1);
  outgoing.destroy();
  for (let i = 0; i < 200 && waiters.count > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(waiters.count, 0);
});

t.test('a probe reads a bounded body, does not follow redirects, gives up in time', async (t) => {
  const server = createServer((request, response) => {
    if (request.url === '/moved') response.writeHead(302, { location: '/big' }).end();
    else if (request.url === '/big') response.end('x'.repeat(100_000));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  t.teardown(() => server.closeAllConnections());
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const run = (path: string): Promise<ProbeResult> => {
    const { probe } = define({ HTTP: base + path, Interval: 1000, Timeout: 150 });
    if (probe.kind === 'ttl') throw new Error('not a probe');
    return runProbe(probe, 100, new AbortController().signal);
  };
  const big = await run('/big');
  t.equal(big.status, 'passing');
  t.equal(big.output, `HTTP GET ${base}/big: 200 OK Output: ${'x'.repeat(100)}`);
  t.match(await run('/moved'), { status: 'critical', output: /302/ });
  t.match(await run('/silent'), { status: 'critical', output: /no answer within the timeout/ });
});

t.test('durations are read as Go reads them', async (t) => {
  const table: readonly [string, number | null][] = [
    ['1m30s', 90_000],
    ['250ms', 250],
    ['1.5h', 5_400_000],
    ['0', 0],
    ['100us', 0.1],
    ['-1s', -1000],
    ['5', null],
    ['', null],
    ['1 s', null],
    ['1d', null],
    ['s', null],
  ];
  for (const [text, ms] of table) t.equal(parseGoDuration(text), ms, JSON.stringify(text));
});

t.test('what Consul could do and this registry cannot is refused, not ignored', async (t) => {
  t.match(buildCheck({ GRPC: '127.0.0.1:1', Interval: 1000 }), { ok: false, status: 400, error: /TTL, HTTP and TCP/ });
  t.match(buildCheck({ AliasService: 'web' }), { ok: false, status: 400, error: /TTL, HTTP and TCP/ });
  t.match(buildCheck({ HTTP: 'ftp://a/', Interval: 1000 }), { ok: false, status: 400, error: /http or https URL/ });
  t.match(buildCheck({ TCP: 'no-port', Interval: 1000 }), { ok: false, status: 400, error: /HOST:PORT/ });
  t.match(buildService({ Name: 'a', Connect: { SidecarService: {} } }), { ok: false, status: 400 });
  t.match(buildService({ Name: 'a'.repeat(1025) }), { ok: false, status: 400 });
  const call = { method: 'GET', name: '', body: Buffer.alloc(0), signal: new AbortController().signal };
  t.match(refuseFilter({ ...call, query: new URLSearchParams('filter=a==b') }), { status: 400, body: /not supported/ });
  t.equal(refuseFilter({ ...call, query: new URLSearchParams() }), null);
});
