// The control plane's pure side: conditional writes, the ledger of verdicts, counters and roll-ups.

import t from 'tap';
import type { AgentReport, EdgeReport, EndpointReport } from '#contract/frames.ts';
import { SketchRecorder } from '#contract/latency-sketch.ts';
import { agentView } from '../../../control-plane/core/agent-view.ts';
import { Counter } from '../../../control-plane/core/counters.ts';
import { EVENT_LIMIT, Fleet } from '../../../control-plane/core/fleet.ts';
import { AGENT_LIMIT, FORGOTTEN_AFTER_MS, Ledger, STALE_AFTER_MS } from '../../../control-plane/core/ledger.ts';
import { etagOf, parseCondition, withDocument, withoutDocument } from '../../../control-plane/core/revisions.ts';
import { rollUp } from '../../../control-plane/core/rollup.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

function edge(changes: Partial<EdgeReport> = {}): EdgeReport {
  return {
    direction: 'outbound',
    source: 'orders',
    destination: 'payments',
    requests: 0,
    successes: 0,
    retries: 0,
    inFlight: 0,
    ...changes,
  };
}

function endpoint(changes: Partial<EndpointReport> = {}): EndpointReport {
  return {
    id: 'payments-1',
    address: '10.0.0.7:7001',
    state: 'serving',
    weight: 1,
    inFlight: 0,
    connections: 1,
    ewmaMs: 2,
    attempts: 0,
    failures: 0,
    reason: null,
    ejectedUntilEpochMs: null,
    ...changes,
  };
}

function report(sequence: number, changes: Partial<AgentReport> = {}): AgentReport {
  return {
    sequence,
    sentAtEpochMs: 1_700_000_000_000,
    startedAtEpochMs: 1_700_000_000_000,
    service: 'orders',
    softwareVersion: '0.1.0',
    adminUrl: 'http://127.0.0.1:15000',
    isReady: true,
    isDraining: false,
    policy: { appliedVersion: 0, wantedVersion: 0, problems: [] },
    services: [],
    edges: [],
    events: [],
    eventsDropped: 0,
    ...changes,
  };
}

const everyone = (): boolean => true;

t.test('parseCondition() reads If-Match and If-None-Match', async (t) => {
  t.same(parseCondition(undefined, undefined), { kind: 'any' });
  t.same(parseCondition('*', undefined), { kind: 'exists' });
  t.same(parseCondition(undefined, '*'), { kind: 'absent' });
  t.same(parseCondition(etagOf(7), undefined), { kind: 'revision', revision: 7 });
  for (const tag of ['7', 'W/"7"', '"7", "8"', '"0"', '"-1"', '"07"', ''])
    t.equal(parseCondition(tag, undefined), null);
  t.equal(parseCondition(undefined, '"7"'), null);
  t.equal(parseCondition('"7"', '*'), null, 'both at once cannot be meant');
});

t.test('withDocument() replaces by kind and name, withoutDocument() removes', async (t) => {
  const document = (kind: 'ServicePolicy' | 'HTTPRoute', spec: object) => ({
    apiVersion: 'outrigger.dev/v1' as const,
    kind,
    metadata: { name: 'payments' },
    spec: { ...spec },
  });
  const set = [document('ServicePolicy', {}), document('HTTPRoute', {})];
  const next = withDocument(set, document('ServicePolicy', { exposeEndpoint: true }));
  t.same(
    next.map(({ kind, spec }) => [kind, spec]),
    [
      ['HTTPRoute', {}],
      ['ServicePolicy', { exposeEndpoint: true }],
    ],
  );
  t.same(withoutDocument(next, 'HTTPRoute/payments').length, 1);
});

t.test('Ledger ignores verdicts with a stale nonce and remembers why a set was refused', async (t) => {
  const ledger = new Ledger();
  ledger.connected('a', 0);
  ledger.pushed('a', 4, 'n1', 1);
  ledger.pushed('a', 5, 'n2', 2);
  const problems = [{ code: 'OTR_RANGE' as const, path: 'spec.retries.attempts', message: 'must be at most 10' }];
  t.equal(ledger.judged('a', { version: 4, nonce: 'n1', verdict: 'ACK', appliedVersion: 4, problems: [] }, 3), false);
  t.equal(ledger.get('a')?.appliedVersion, null);
  t.equal(ledger.judged('a', { version: 5, nonce: 'n2', verdict: 'NACK', appliedVersion: 3, problems }, 4), true);
  t.match(ledger.get('a'), { verdict: 'NACK', appliedVersion: 3, wantedVersion: 5, problems, verdictAt: 4 });
  t.same(ledger.tally(5), { wanted: 1, applied: 0, rejected: 1 });
  t.equal(ledger.judged('b', { version: 5, nonce: 'n2', verdict: 'ACK', appliedVersion: 5, problems: [] }, 5), false);

  ledger.pushed('a', 6, 'n3', 6);
  t.same(ledger.get('a')?.problems, problems, 'the former problems stay until the new verdict');
  t.same(ledger.tally(6), { wanted: 1, applied: 0, rejected: 0 });
  ledger.judged('a', { version: 6, nonce: 'n3', verdict: 'ACK', appliedVersion: 6, problems: [] }, 7);
  t.same(ledger.tally(5), { wanted: 1, applied: 1, rejected: 0 }, 'a newer version covers an older one');
  t.same(ledger.get('a')?.problems, []);
  ledger.disconnected('a', 8);
  t.same(ledger.tally(6), { wanted: 0, applied: 0, rejected: 0 }, 'only open streams are waited for');
});

t.test('Ledger shows silent agents as stale, then forgets them, but never one with an open stream', async (t) => {
  const ledger = new Ledger();
  ledger.seen('gone', 0);
  ledger.connected('open', 0);
  t.equal(ledger.stateOf('gone', STALE_AFTER_MS - 1), 'live');
  t.equal(ledger.stateOf('gone', STALE_AFTER_MS), 'stale');
  t.same(ledger.sweep(FORGOTTEN_AFTER_MS - 1), []);
  t.same(ledger.sweep(FORGOTTEN_AFTER_MS), ['gone']);
  t.equal(ledger.stateOf('open', FORGOTTEN_AFTER_MS), 'stale');
  t.equal(ledger.get('gone'), null);
});

t.test('Ledger refuses new names when it is full', async (t) => {
  const ledger = new Ledger();
  for (let index = 0; index < AGENT_LIMIT; index++) ledger.seen(`a${index}`, 0);
  t.equal(ledger.hasRoomFor('one-more'), false);
  t.equal(ledger.hasRoomFor('a0'), true);
});

t.test(
  'Counter takes differences, survives restarts of the counting side, and its rate ends with the traffic',
  async (t) => {
    const counter = new Counter();
    const at = (requests: number, successes = requests) => ({ requests, successes, retries: 0 });
    counter.record(at(1000), 0);
    t.same(counter.within(10_000, 0), { counts: at(0), spanMs: 0 }, 'the first value is no burst');
    t.equal(counter.total.requests, 1000);
    counter.record(at(1100, 1090), 2000);
    t.same(counter.within(10_000, 2000), { counts: at(100, 90), spanMs: 2000 });
    counter.record(at(30), 4000);
    t.equal(counter.total.requests, 1130, 'a value that fell means a restart: all of it is new');
    t.same(counter.within(10_000, 4000), { counts: at(130, 120), spanMs: 4000 });
    t.equal(counter.within(10_000, 14_000).counts.requests, 0, 'silent for the whole window');
    for (let now = 6000; now < 600_000; now += 100) counter.record(at(30 + now), now);
    const { counts, spanMs } = counter.within(60_000, 600_000);
    t.ok(Math.abs((counts.requests / spanMs) * 1000 - 1000) < 20, 'thinned samples keep the rate');
  },
);

t.test('rollUp() gives rates, shares and availability per service from callers', async (t) => {
  const fleet = new Fleet();
  const recorder = new SketchRecorder();
  for (let count = 0; count < 100; count++) recorder.record(count < 90 ? 3 : 40);
  const sketch = recorder.sketch();
  const send = (sequence: number, requests: number, successes: number, now: number) =>
    fleet.record(
      'orders-1',
      report(sequence, { edges: [edge({ requests, successes, retries: 5, latency: sketch })] }),
      now,
    );
  send(1, 100, 100, 0);
  send(2, 300, 290, 2000);
  const [orders, payments] = rollUp(fleet, everyone, 2000);
  t.match(orders, { service: 'orders', measuredBy: 'none', requestsPerSecond: 0 });
  t.match(payments, {
    service: 'payments',
    measuredBy: 'outbound',
    requestsPerSecond: 100,
    // The middles of the buckets that 3 ms and 40 ms fall into.
    p50Ms: 2.976,
    p95Ms: 40.448,
    p99Ms: 40.448,
    retries: 5,
    dataAgeMs: 0,
    availability: { life: { good: 290, valid: 300 }, lastMinute: { good: 190, valid: 200, ratio: 0.95 } },
  });
  t.equal(rollUp(fleet, () => false, 2000)[1]?.requestsPerSecond, 0, 'stale agents add nothing to now');
  t.equal(rollUp(fleet, () => false, 2000)[1]?.availability.life.valid, 300, 'but their past stays');
  fleet.forget('orders-1');
  t.equal(rollUp(fleet, everyone, 2000).length, 0);
  fleet.record('orders-2', report(1, { edges: [edge({ requests: 10, successes: 10 })] }), 3000);
  t.equal(rollUp(fleet, everyone, 3000)[1]?.availability.life.valid, 310, 'life outlives the agents that counted it');
  send(3, 301, 290, 700_000);
  t.match(
    rollUp(fleet, everyone, 700_000)[1]?.availability.life,
    { good: 300, valid: 311 },
    'an agent that comes back in the same life adds only what is new',
  );
});

t.test('availability equals what was counted by hand, over two callers, a restart and a minute', async (t) => {
  const fleet = new Fleet();
  const send = (agentId: string, life: number, sequence: number, counts: readonly [number, number], now: number) => {
    const [requests, successes] = counts;
    const startedAtEpochMs = 1_700_000_000_000 + life;
    fleet.record(agentId, report(sequence, { startedAtEpochMs, edges: [edge({ requests, successes })] }), now);
  };
  send('orders-1', 0, 1, [100, 90], 0); //    +100, +90
  send('orders-2', 0, 1, [50, 50], 1_000); //  +50, +50
  send('orders-1', 0, 2, [160, 150], 2_000); // +60, +60
  // A restart that has already counted more than the life before: nothing goes backwards, only the start time tells.
  send('orders-1', 1, 1, [400, 300], 60_000); // +400, +300
  send('orders-2', 0, 2, [60, 55], 62_000); //  +10, +5
  const payments = rollUp(fleet, everyone, 62_000)[1];
  t.same(payments?.availability.life, { good: 505, valid: 620, ratio: 505 / 620 });
  // The minute before 62 s: orders-1 since its sample at 2 s, orders-2 since its sample at 1 s.
  t.same(payments?.availability.lastMinute, { good: 305, valid: 410, ratio: 305 / 410 });
});

t.test('the reports of a process that drains beside its successor do not count its life again', async (t) => {
  const fleet = new Fleet();
  const send = (startedAtEpochMs: number, sequence: number, requests: number, now: number) =>
    fleet.record('a', report(sequence, { startedAtEpochMs, edges: [edge({ requests, successes: requests })] }), now);
  const total = () => rollUp(fleet, everyone, 0)[1]?.availability.life.valid;
  send(1_000, 1, 100, 0);
  send(2_000, 1, 10, 1_000);
  t.ok(send(1_000, 2, 110, 2_000), 'what it says is heard');
  send(2_000, 2, 30, 3_000);
  send(1_000, 3, 120, 4_000);
  send(2_000, 3, 40, 5_000);
  t.equal(total(), 140);
  send(500, 1, 7, 15_000);
  t.equal(total(), 147, 'a wall clock that went back is believed after a while');
});

t.test(
  'rollUp() measures by the service itself while no caller reports, and never counts a foreign edge',
  async (t) => {
    const fleet = new Fleet();
    const inbound = edge({ direction: 'inbound', source: 'web', destination: 'orders', requests: 10, successes: 9 });
    const foreign = edge({ source: 'somebody-else', requests: 1e6, successes: 0 });
    fleet.record('orders-1', report(1, { edges: [inbound, foreign] }), 0);
    const services = rollUp(fleet, everyone, 0);
    t.same(
      services.map(({ service, measuredBy, availability }) => [service, measuredBy, availability.life.ratio]),
      [['orders', 'inbound', 0.9]],
    );
  },
);

t.test('rollUp() shows an endpoint in the worst state that any caller has it in', async (t) => {
  const fleet = new Fleet();
  const seen = (endpoints: EndpointReport[], holding: string | null = null) => ({
    service: 'payments',
    source: 'consul' as const,
    ageMs: 5,
    holding,
    isPanicking: false,
    endpoints,
  });
  fleet.record('orders-1', report(1, { services: [seen([endpoint({ attempts: 10, failures: 1 })])] }), 0);
  const ejected = endpoint({
    state: 'ejected',
    reason: 'payments-1 ejected 30 s',
    attempts: 20,
    failures: 9,
    ewmaMs: 80,
  });
  fleet.record('web-1', report(1, { service: 'web', services: [seen([ejected], 'Consul is gone')] }), 0);
  const payments = rollUp(fleet, everyone, 0).find(({ service }) => service === 'payments');
  t.match(payments?.endpoints, [
    {
      state: 'ejected',
      reason: 'payments-1 ejected 30 s',
      attempts: 30,
      failures: 10,
      ewmaMs: 80,
      observers: [
        { agentId: 'orders-1', state: 'serving' },
        { agentId: 'web-1', state: 'ejected' },
      ],
    },
  ]);
  t.same(payments?.endpointCounts, { serving: 0, ejected: 1, probing: 0, draining: 0 });
  t.same(payments?.holding, [{ agentId: 'web-1', reason: 'Consul is gone' }]);
});

t.test('Fleet drops reports that were overtaken, and bounds its events', async (t) => {
  const fleet = new Fleet();
  const event = { atEpochMs: 1, kind: 'ejection' as const, service: 's', endpoint: 'e', reason: 'r', text: 'x' };
  t.ok(fleet.record('a', report(2, { events: [event] }), 0));
  t.equal(fleet.record('a', report(2, { events: [event] }), 1), null, 'the same again');
  t.equal(fleet.record('a', report(1, { events: [event] }), 1), null, 'an older one');
  t.ok(fleet.record('a', report(1, { startedAtEpochMs: 1_700_000_009_000 }), 2), 'a new life counts from 1 again');
  t.equal(fleet.events().length, 1);
  for (let index = 0; index < EVENT_LIMIT + 10; index++) fleet.tell({ ...event, agentId: null });
  t.equal(fleet.events().length, EVENT_LIMIT);
  t.equal(fleet.events().at(-1)?.sequence, EVENT_LIMIT + 11);
});

t.test('agentView() joins the ledger with the last report, and ages grow between reports', async (t) => {
  const clock = new VirtualClock();
  const ledger = new Ledger();
  const fleet = new Fleet();
  t.equal(agentView('a', ledger, fleet, clock), null);
  ledger.connected('a', clock.now());
  ledger.pushed('a', 3, 'n', clock.now());
  const services = [
    {
      service: 'payments',
      source: 'disk' as const,
      ageMs: 100,
      holding: 'Consul is gone',
      isPanicking: false,
      endpoints: [],
    },
  ];
  fleet.record('a', report(1, { services }), clock.now());
  clock.advance(50);
  ledger.judged('a', { version: 3, nonce: 'n', verdict: 'ACK', appliedVersion: 3, problems: [] }, clock.now());
  t.match(agentView('a', ledger, fleet, clock), {
    state: 'live',
    isConnected: true,
    service: 'orders',
    policy: { wantedVersion: 3, appliedVersion: 3, verdict: 'ACK', isInSync: true, answeredAfterMs: 50 },
    discovery: [{ service: 'payments', source: 'disk', ageMs: 150, holding: 'Consul is gone' }],
  });
});
