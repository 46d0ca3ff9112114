// The pure decisions of discovery: what an answer means, how much of it is believed, how soon Consul is asked again.

import fc from 'fast-check';
import t from 'tap';
import { Pacer, stepIndex } from '#contract/consul/blocking.ts';
import { decodeHealth } from '#contract/consul/health.ts';
import { backOffMs } from '../../../../agent/core/back-off.ts';
import type { Endpoint } from '../../../../agent/core/endpoint.ts';
import { type Answer, DEFAULT_GUARD, decideAnswer, INITIAL_GUARD } from '../../../../agent/discovery/guard.ts';
import { RecentServices } from '../../../../agent/discovery/recent.ts';
import {
  advertisedAddress,
  registerPayload,
  type ServiceConfig,
} from '../../../../agent/discovery/register-payload.ts';
import { healthEntry } from '../../../support/scripted-consul.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const portsOf = (endpoints: readonly Endpoint[]): number[] => endpoints.map(({ port }) => port).sort();

t.test('decodeHealth() keeps id, zone, tags, meta and the weight of the health', async (t) => {
  const decoded = decodeHealth(
    [
      healthEntry('p1', 7001, { service: { Weights: { Passing: 5, Warning: 2 } } }),
      healthEntry('p2', 7002, { status: 'warning', service: { Weights: { Passing: 5, Warning: 2 } } }),
      healthEntry('p3', 7003, { service: { Address: '', Weights: undefined }, nodeAddress: '10.0.0.9' }),
      healthEntry('p4', 7004, { service: { Weights: { Passing: 1e9 } } }),
    ],
    'payments',
  );
  t.same(
    decoded?.endpoints.map(({ id, weight, zone }) => [id, weight, zone]),
    [
      ['payments@p1@127.0.0.1:7001', 5, 'a'],
      ['payments@p2@127.0.0.1:7002', 2, 'a'],
      ['payments@p3@10.0.0.9:7003', 1, 'a'],
      ['payments@p4@127.0.0.1:7004', 65_535, 'a'],
    ],
  );
  t.same(decoded?.endpoints[0]?.tags, ['v1']);
  t.equal(decoded?.isPanicSet, false);
});

t.test('decodeHealth() drops bad entries one by one and counts them (C14)', async (t) => {
  const decoded = decodeHealth(
    [
      healthEntry('good', 7001),
      healthEntry('good', 7001),
      healthEntry('p0', 0),
      healthEntry('p-string', 1, { service: { Port: '7001' } }),
      healthEntry('nowhere', 7002, { service: { Address: '' }, nodeAddress: '' }),
      healthEntry('weightless', 7003, { service: { Weights: { Passing: 0 } } }),
      healthEntry('nan', 7004, { service: { Weights: { Passing: 'x' } } }),
      { Service: null },
      null,
      7,
    ],
    'payments',
  );
  t.same(portsOf(decoded?.endpoints ?? []), [7001]);
  t.same(decoded?.dropped, { duplicate: 1, bad_port: 2, bad_address: 1, bad_weight: 2, malformed: 3 });
});

t.test(
  'decodeHealth() leaves critical entries and sick nodes out, keeps all when all are critical (C12)',
  async (t) => {
    const sick = healthEntry('p2', 7002, { status: 'critical' });
    const nodeDown = healthEntry('p3', 7003, { checkId: 'serfHealth', status: 'critical' });
    const mixed = decodeHealth([healthEntry('p1', 7001), sick, nodeDown], 'payments');
    t.same(portsOf(mixed?.endpoints ?? []), [7001]);
    t.equal(mixed?.criticalCount, 2);

    const panic = decodeHealth([sick, nodeDown], 'payments');
    t.same(portsOf(panic?.endpoints ?? []), [7002, 7003]);
    t.equal(panic?.isPanicSet, true);

    const off = healthEntry('p4', 7004, { checkId: '_service_maintenance:p4', status: 'critical' });
    const nodeOff = healthEntry('p5', 7005, { checkId: '_node_maintenance', status: 'critical' });
    t.same(portsOf(decodeHealth([sick, off, nodeOff], 'payments')?.endpoints ?? []), [7002], 'maintenance is obeyed');
    t.equal(decodeHealth([off], 'payments')?.maintenanceCount, 1);
  },
);

t.test('decodeHealth() refuses what is not a list and keeps hostile meta keys harmless', async (t) => {
  for (const body of [null, {}, 'x', 7]) t.equal(decodeHealth(body, 'payments'), null);
  const meta: unknown = JSON.parse('{"__proto__": "x", "zone": "b", "n": 7}');
  const decoded = decodeHealth([healthEntry('p1', 7001, { service: { Meta: meta } })], 'payments');
  t.equal(decoded?.endpoints[0]?.zone, 'b');
  t.same(Object.keys(decoded?.endpoints[0]?.meta ?? {}).sort(), ['__proto__', 'zone']);
});

t.test('stepIndex() treats doubtful indexes as 1 and forgets one that went backwards (C9, C10)', async (t) => {
  t.same(stepIndex(null, '12'), { index: 12n, wentBackwards: false });
  t.same(stepIndex(12n, '12'), { index: 12n, wentBackwards: false });
  t.same(stepIndex(12n, '11'), { index: 11n, wentBackwards: true });
  for (const header of ['0', 'abc', '-4', '', '1e9', ' 5']) {
    t.same(stepIndex(null, header), { index: 1n, wentBackwards: false }, JSON.stringify(header));
  }
  t.same(stepIndex(null, '18446744073709551615'), { index: 2n ** 64n - 1n, wentBackwards: false });
});

t.test('Pacer lets a burst of two through, then one a second; two a second for real changes (C11)', async (t) => {
  const perMinute = (hasChanged: boolean): number => {
    const clock = new VirtualClock();
    const pacer = new Pacer(clock.now());
    let questions = 0;
    while (clock.now() < 60_000) {
      questions++;
      clock.advance(pacer.delayAfterAnswer(clock.now(), hasChanged));
    }
    return questions;
  };
  const unchanged = perMinute(false);
  const changed = perMinute(true);
  t.ok(unchanged >= 60 && unchanged <= 64, `${unchanged} questions a minute`);
  t.ok(changed >= 120 && changed <= 126, `${changed} questions a minute`);
  const slow = new Pacer(0);
  for (let now = 0; now < 60_000; now += 5_000)
    t.equal(slow.delayAfterAnswer(now, true), 100, 'never less than the gap');
});

t.test('backOffMs() doubles, keeps half, is capped and never a number that is none', async (t) => {
  const random = seededRandom(7);
  for (const [failures, full] of [
    [1, 200],
    [2, 400],
    [3, 800],
    [7, 10_000],
    [5_000, 10_000],
  ] as const) {
    for (let i = 0; i < 100; i++) {
      const ms = backOffMs(failures, random, { baseMs: 200, capMs: 10_000 });
      if (!(ms >= full / 2 && ms <= full)) t.fail(`${ms} after ${failures} failures`);
    }
  }
  t.equal(
    backOffMs(1, () => 0, { baseMs: 200, capMs: 10_000 }),
    100,
  );
});

const endpoints = (...ports: number[]): Endpoint[] =>
  decodeHealth(
    ports.map((port) => healthEntry(`p${port}`, port)),
    'payments',
  )?.endpoints.slice() ?? [];
const answer = (found: readonly Endpoint[], changes: Partial<Answer> = {}): Answer => ({
  endpoints: found,
  isFiltered: false,
  isUncertain: false,
  isAllMaintenance: false,
  ...changes,
});

t.test(
  'decideAnswer() holds an empty answer after a full one, names the causes, and believes it after 10 minutes (C7)',
  async (t) => {
    const full = { ...INITIAL_GUARD, accepted: endpoints(1, 2, 3) };
    const first = decideAnswer(full, answer([]), 1_000, DEFAULT_GUARD);
    t.same(portsOf(first.serve), [1, 2, 3]);
    t.match(first.holding, /keeping the 3 known for up to 600 s \(possible ACL problem/);
    t.equal(first.recheckMs, 600_000);
    const later = decideAnswer(first.state, answer([]), 600_999, DEFAULT_GUARD);
    t.same(portsOf(later.serve), [1, 2, 3], 'one millisecond early');
    const end = decideAnswer(later.state, answer([]), 601_000, DEFAULT_GUARD);
    t.same(end.serve, []);
    t.equal(end.holding, null);
    const back = decideAnswer(later.state, answer(endpoints(1, 2)), 2_000, DEFAULT_GUARD);
    t.same(portsOf(back.serve), [1, 2]);
    t.equal(back.state.hold, null, 'the hold ends with the first full answer');
    const nothing = decideAnswer(INITIAL_GUARD, answer([]), 0, DEFAULT_GUARD);
    t.same([nothing.serve, nothing.holding], [[], null], 'nothing known, nothing to hold');
  },
);

t.test('decideAnswer() wants a second read before it loses more than half, and adds at once', async (t) => {
  const five = { ...INITIAL_GUARD, accepted: endpoints(1, 2, 3, 4, 5) };
  t.same(portsOf(decideAnswer(five, answer(endpoints(1, 2, 3)), 0, DEFAULT_GUARD).serve), [1, 2, 3], 'less than half');
  const doubted = decideAnswer(five, answer(endpoints(1, 6)), 0, DEFAULT_GUARD);
  t.same(portsOf(doubted.serve), [1, 2, 3, 4, 5, 6]);
  t.equal(doubted.recheckMs, 1_000);
  const confirmed = decideAnswer(doubted.state, answer(endpoints(1, 6)), 1_000, DEFAULT_GUARD);
  t.same(portsOf(confirmed.serve), [1, 6]);
  const two = { ...INITIAL_GUARD, accepted: endpoints(1, 2) };
  t.equal(
    decideAnswer(two, answer(endpoints(1)), 0, DEFAULT_GUARD).holding,
    null,
    'exactly half is not more than half',
  );
});

t.test('decideAnswer() takes nothing away while Consul settles after it was gone (C13)', async (t) => {
  const back = { ...INITIAL_GUARD, accepted: endpoints(1, 2, 3), recoveredAt: 0 };
  const settling = decideAnswer(back, answer(endpoints(1, 2, 4)), 10_000, DEFAULT_GUARD);
  t.same(portsOf(settling.serve), [1, 2, 3, 4]);
  t.equal(settling.recheckMs, 20_000);
  t.same(portsOf(decideAnswer(settling.state, answer(endpoints(1, 2, 4)), 30_000, DEFAULT_GUARD).serve), [1, 2, 4]);
});

t.test(
  'decideAnswer() removes nothing on an answer without a leader or one that ACLs cut (C4, C7), and obeys maintenance',
  async (t) => {
    const three = { ...INITIAL_GUARD, accepted: endpoints(1, 2, 3) };
    const filtered = decideAnswer(three, answer([], { isFiltered: true }), 0, DEFAULT_GUARD);
    t.match(filtered.holding, /ACLs and shows 0 of 3/);
    const muchLater = decideAnswer(filtered.state, answer([], { isFiltered: true }), 1e9, DEFAULT_GUARD);
    t.same(portsOf(muchLater.serve), [1, 2, 3], 'proof of filtering has no end');
    t.ok((muchLater.recheckMs ?? 0) > 0);
    const uncertain = decideAnswer(three, answer(endpoints(1, 2), { isUncertain: true }), 0, DEFAULT_GUARD);
    t.same(portsOf(uncertain.serve), [1, 2, 3]);
    t.same(decideAnswer(three, answer([], { isAllMaintenance: true }), 0, DEFAULT_GUARD).serve, []);
  },
);

t.test('RecentServices drops the least recently used and the idle', async (t) => {
  const recent = new RecentServices(3, 1_000);
  for (const [service, now] of [
    ['a', 0],
    ['b', 10],
    ['c', 20],
    ['a', 30],
  ] as const) {
    t.same(recent.use(service, now), []);
  }
  t.same(recent.use('d', 40), ['b']);
  t.same(recent.expire(1_025), ['c']);
  t.same(recent.expire(1_025), []);
  t.equal(recent.has('a'), true);
});

t.test('registerPayload() carries weight, zone and a check through the registered address', async (t) => {
  const service: ServiceConfig = {
    name: 'orders',
    id: 'orders-1',
    port: 3000,
    address: '10.0.0.5',
    appAddress: '127.0.0.1',
    tags: ['v1'],
    meta: { version: '1' },
    zone: 'a',
    weight: 4,
    check: { http: '/healthz', intervalMs: 2_000, timeoutMs: 1_000 },
    register: 'inbound',
  };
  const address = advertisedAddress(service, { host: '0.0.0.0', port: 15_006 });
  t.same(address, { host: '10.0.0.5', port: 15_006 });
  t.same(advertisedAddress({ ...service, register: 'app' }, { host: '127.0.0.1', port: 1 }), {
    host: '10.0.0.5',
    port: 3000,
  });
  t.match(registerPayload(service, address, 'life', true), {
    ID: 'orders-1',
    Meta: { version: '1', zone: 'a', outrigger_life: 'life' },
    Weights: { Passing: 4, Warning: 1 },
    Check: { HTTP: 'http://10.0.0.5:15006/healthz', Interval: '2000ms', Status: 'passing' },
  });
  const tcp = { ...service, check: { http: null, intervalMs: 1, timeoutMs: 1 } };
  t.match(registerPayload(tcp, { host: '::1', port: 9 }, 'life', false), {
    Check: { TCP: '[::1]:9', Status: 'critical' },
  });
  t.notOk('Check' in registerPayload({ ...service, check: null }, address, 'life', true));
});

t.test('decideAnswer() serves everything an answer names, and never empties or halves a set in one step', async (t) => {
  const step = fc.record({
    ports: fc.uniqueArray(fc.integer({ min: 1, max: 6 })),
    afterMs: fc.integer({ min: 0, max: 900 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let state = INITIAL_GUARD;
      let served: readonly Endpoint[] = [];
      let now = 0;
      let doubtedSince: number | null = null;
      for (const { ports, afterMs } of steps) {
        now += afterMs;
        const found = endpoints(...ports);
        const decision = decideAnswer(state, answer(found), now, DEFAULT_GUARD);
        const ids = new Set(decision.serve.map(({ id }) => id));
        if (!found.every(({ id }) => ids.has(id))) return false;
        const isCollapse = decision.serve.length * 2 < state.accepted.length;
        // A collapse is only ever believed a second after it was first seen.
        if (isCollapse && (doubtedSince === null || now - doubtedSince < 1_000)) return false;
        if (served.length > 0 && decision.serve.length === 0 && now < 600_000) return false;
        doubtedSince = decision.state.hold === null ? null : decision.state.hold.since;
        if ((decision.holding === null) !== (decision.recheckMs === null)) return false;
        state = decision.state;
        served = decision.serve;
      }
      return true;
    }),
    { seed: 5, numRuns: 500 },
  );
  t.pass('500 histories');
});
