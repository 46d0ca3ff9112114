// The decisions of the dashboard: links, numbers, frames, history, edges, layout, rows, lanes.

import t from 'tap';
import type { EdgeView, EndpointView, FleetEvent, ServiceView } from '../../../../control-plane/core/views.ts';
import { endpointRows, filterRows, sortRows } from '../../../../control-plane/dashboard/src/endpoints/rows.ts';
import {
  countdown,
  duration,
  failureShare,
  latency,
  rate,
  share,
  shortName,
} from '../../../../control-plane/dashboard/src/format.ts';
import { applyFrame, EMPTY_MESH, takeFrames } from '../../../../control-plane/dashboard/src/live/frames.ts';
import { HISTORY_LENGTH, History } from '../../../../control-plane/dashboard/src/live/history.ts';
import { meshEdges } from '../../../../control-plane/dashboard/src/mesh/edges.ts';
import { layOut, NODE_HEIGHT } from '../../../../control-plane/dashboard/src/mesh/layout.ts';
import { formatRoute, parseRoute } from '../../../../control-plane/dashboard/src/route.ts';
import { effectiveRows } from '../../../../control-plane/dashboard/src/service/effective-rows.ts';
import { groupEvents, laneOf, placeMarks } from '../../../../control-plane/dashboard/src/timeline/lanes.ts';

function edge(source: string, destination: string, changes: Partial<EdgeView> = {}): EdgeView {
  return {
    agentId: `${source}-1`,
    direction: 'outbound',
    source,
    destination,
    requestsPerSecond: 10,
    successShare: 1,
    retriesPerSecond: 0,
    inFlight: 0,
    p50Ms: 1,
    p95Ms: 2,
    p99Ms: 3,
    ...changes,
  };
}

function endpoint(name: string, changes: Partial<EndpointView> = {}): EndpointView {
  return {
    id: `pay@${name}@10.0.0.1:1`,
    address: '10.0.0.1:1',
    state: 'serving',
    weight: 1,
    inFlight: 0,
    connections: 0,
    ewmaMs: null,
    p50Ms: null,
    p95Ms: null,
    p99Ms: null,
    attempts: 0,
    failures: 0,
    attemptsPerSecond: 0,
    reason: null,
    ejectedUntilEpochMs: null,
    observers: [],
    ...changes,
  };
}

function service(name: string, changes: Partial<ServiceView> = {}): ServiceView {
  const none = { good: 0, valid: 0, ratio: null };
  return {
    service: name,
    measuredBy: 'outbound',
    requestsPerSecond: 0,
    retriesPerSecond: 0,
    inFlight: 0,
    availability: { life: none, lastMinute: none },
    retries: 0,
    p50Ms: null,
    p95Ms: null,
    p99Ms: null,
    dataAgeMs: null,
    endpointCounts: { serving: 0, ejected: 0, probing: 0, draining: 0 },
    isPanicking: false,
    holding: [],
    edges: [],
    endpoints: [],
    ...changes,
  };
}

function event(sequence: number, changes: Partial<FleetEvent> = {}): FleetEvent {
  return {
    sequence,
    atEpochMs: 1_000 * sequence,
    kind: 'ejection',
    service: 'pay',
    endpoint: null,
    reason: 'consecutive_5xx',
    text: 'pay-1 ejected',
    agentId: 'a-1',
    controlPlane: null,
    ...changes,
  };
}

t.test('every screen has a link that leads back to it', async (t) => {
  const route = { screen: 'policies', subject: 'ServicePolicy/a b', query: { q: 'x&y', state: 'ejected' } } as const;
  t.same(parseRoute(formatRoute(route)), route);
  t.equal(formatRoute({ screen: 'endpoints', query: { q: '' } }), '#/endpoints', 'an empty filter is not said');
  t.equal(parseRoute('#/nothing/else').screen, 'mesh');
  t.equal(parseRoute('#/service/50%').subject, '50%', 'half of an escape is shown as it is');
  t.same(parseRoute(''), { screen: 'mesh', subject: '', query: {} });
});

t.test('numbers never look better than they are', async (t) => {
  t.equal(share(1), '100 %');
  t.equal(share(0.999_999), '99.999 %');
  t.equal(share(0.98765), '98.7 %');
  t.equal(share(null), '–');
  t.equal(failureShare(1, 1_000_000), '< 0.1 %');
  t.equal(failureShare(0, 10), '0');
  t.equal(rate(9.96), '10');
  t.equal(rate(1234.4), '1,234');
  t.equal(latency(0.04), '0.0 ms');
  t.equal(latency(12_345), '12.3 s');
  t.same([3_600_000, 86_400_000, 300_000, 45_000].map(duration), ['1 h', '1 d', '5 min', '45 s']);
  t.equal(countdown(1_500, 1_000), '1 s');
  t.equal(countdown(500, 1_000), '0 s');
  t.equal(shortName('pay', 'pay@pay-3@10.0.0.7:7001', '10.0.0.7:7001'), 'pay-3');
  t.equal(shortName('pay', 'pay@10.0.0.7:7001', '10.0.0.7:7001'), '10.0.0.7:7001');
});

t.test('frames: whole blocks are taken, changes are put over the state, what is unknown is passed over', async (t) => {
  const { frames, rest } = takeFrames('event: state\ndata: {"a":1}\n\n: heartbeat\n\nevent: mesh\nda');
  t.same(frames, [{ event: 'state', data: '{"a":1}' }]);
  t.equal(rest, 'event: mesh\nda');
  const whole = { version: 1, atEpochMs: 5, services: [service('a'), service('b')], agents: [], events: [event(1)] };
  const first = applyFrame(EMPTY_MESH, 'state', whole);
  const changes = { version: 2, atEpochMs: 6, services: [service('c')], agents: [], removed: ['service a', 'agent x'] };
  const second = applyFrame(first, 'changes', changes);
  t.same([...second.services.keys()], ['b', 'c']);
  t.equal(second.version, 2);
  t.equal(applyFrame(second, 'mesh', event(2)).events.length, 2);
  t.equal(applyFrame(second, 'news', {}), second);
  t.equal(first.services.size, 2, 'the former state is as it was');
});

t.test('history: one sample a second, failures as differences, bounded', async (t) => {
  const history = new History();
  const at = (valid: number, good: number) => [
    service('a', {
      requestsPerSecond: 5,
      availability: { life: { good, valid, ratio: null }, lastMinute: { good, valid, ratio: null } },
    }),
  ];
  t.equal(history.record(at(100, 100), 1_000), true);
  t.equal(history.record(at(110, 105), 1_500), false, 'too early');
  t.equal(history.record(at(120, 110), 3_000), true);
  t.same(
    history.of('a').map((sample) => sample.failuresPerSecond),
    [0, 5],
    '10 in two seconds',
  );
  t.equal(history.record(at(3, 3), 4_000), true);
  t.equal(history.of('a').at(-1)?.failuresPerSecond, 0, 'a control plane that began anew is no flood of successes');
  for (let s = 5; s < HISTORY_LENGTH + 20; s++) history.record(at(3, 3), s * 1_000);
  t.equal(history.total.length, HISTORY_LENGTH);
});

t.test('edges: summed over agents; where callers report, the callee does not count', async (t) => {
  const edges = meshEdges([
    service('pay', {
      edges: [
        edge('orders', 'pay', { requestsPerSecond: 30, successShare: 1 }),
        edge('orders', 'pay', { agentId: 'orders-2', requestsPerSecond: 10, successShare: 0.6, p99Ms: 90 }),
        edge('unknown', 'pay', { direction: 'inbound', requestsPerSecond: 40 }),
      ],
    }),
    service('web', {
      measuredBy: 'inbound',
      edges: [edge('unknown', 'web', { direction: 'inbound', successShare: null })],
    }),
  ]);
  t.equal(edges.length, 2);
  t.match(edges[0], { source: 'orders', destination: 'pay', requestsPerSecond: 40, p99Ms: 90 });
  t.ok(Math.abs((edges[0]?.successShare ?? 0) - 0.9) < 1e-9, 'weighted by rate');
  t.match(edges[1], { source: 'unknown', destination: 'web', successShare: null });
});

t.test(
  'layout: callers stand left, nothing overlaps, a ring is no endless loop, the order does not matter',
  async (t) => {
    const names = ['web', 'orders', 'pay', 'stock', 'bank', 'lonely'];
    const calls = [
      ['web', 'orders'],
      ['orders', 'pay'],
      ['orders', 'stock'],
      ['pay', 'bank'],
      ['bank', 'pay'],
      ['web', 'bank'],
      ['stock', 'stock'],
    ].map(([source = '', destination = '']) => ({ source, destination }));
    const { nodes, width, height } = layOut(names, calls);
    t.equal(nodes.size, 6);
    const column = (name: string) => nodes.get(name)?.column ?? -1;
    t.ok(column('web') < column('orders') && column('orders') < column('pay'));
    t.ok(column('web') < column('bank'));
    t.not(column('pay'), column('bank'), 'one of the two calls of the ring still counts');
    for (const a of nodes.values()) {
      t.ok(a.x >= 0 && a.y >= 0 && a.x < width && a.y + NODE_HEIGHT <= height, `${a.name} is on the picture`);
      for (const b of nodes.values()) {
        if (a === b || a.column !== b.column) continue;
        t.ok(Math.abs(a.y - b.y) >= NODE_HEIGHT, `${a.name} and ${b.name} stand apart`);
      }
    }
    t.same(
      [...layOut([...names].reverse(), [...calls].reverse()).nodes.values()].sort(byName),
      [...nodes.values()].sort(byName),
    );
    t.equal(layOut([], []).nodes.size, 0);
  },
);

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}

t.test('layout of 300 services with 2,000 calls', async (t) => {
  const names = Array.from({ length: 300 }, (_, n) => `s${n}`);
  const calls = Array.from({ length: 2_000 }, (_, n) => ({
    source: `s${(n * 7) % 300}`,
    destination: `s${(n * 13 + 5) % 300}`,
  }));
  t.equal(layOut(names, calls).nodes.size, 300);
});

t.test('endpoint rows: every word of the filter must be there; sorting is steady', async (t) => {
  const rows = endpointRows([
    service('pay', {
      endpoints: [
        endpoint('pay-1', { attempts: 100, failures: 1 }),
        endpoint('pay-2', { state: 'ejected', reason: 'pay-2 ejected: 5 consecutive 5xx', attempts: 10, failures: 9 }),
      ],
    }),
    service('orders', { endpoints: [endpoint('orders-1')] }),
  ]);
  t.same(
    rows.map(({ name }) => name),
    ['pay-1', 'pay-2', 'pay@orders-1'],
    'a foreign id is shown whole',
  );
  const whyOf = (reason: string | null) =>
    endpointRows([service('pay', { endpoints: [endpoint('pay-1', { reason })] })])[0]?.why;
  t.equal(
    whyOf('pay@10.0.0.1:1 ejected for 5 s (1st time): 5 resets'),
    '5 resets',
    'state and end have columns of their own',
  );
  t.equal(whyOf('pay@10.0.0.1:1 ejected for 30 s by operator: leak'), 'ejected for 30 s by operator: leak');
  t.equal(whyOf('pay@10.0.0.1:12 ejected'), 'pay@10.0.0.1:12 ejected', 'another endpoint keeps its name');
  t.equal(whyOf(null), '');
  t.same(
    filterRows(rows, '5XX pay', '').map(({ name }) => name),
    ['pay-2'],
  );
  t.same(filterRows(rows, '', 'serving').length, 2);
  t.equal(sortRows(rows, 'failures', true)[0]?.name, 'pay-2');
  t.equal(sortRows(rows, 'state', false)[0]?.name, 'pay-2', 'the worst first');
  t.same(sortRows(rows, 'weight' as never, false).length, 3);
});

t.test('timeline: lanes, places, and one line for what many agents say at once', async (t) => {
  t.equal(laneOf(event(1)), 'ejections');
  t.equal(laneOf(event(1, { kind: 'policy', reason: 'rollout_halted' })), 'rollouts');
  t.equal(laneOf(event(1, { kind: 'policy', reason: 'policy_changed' })), 'policy');
  t.equal(laneOf(event(1, { kind: 'lifecycle', reason: 'agent_connected' })), 'registrations');
  t.equal(laneOf(event(1, { kind: 'alert', reason: 'fast_firing' })), 'alerts');
  const span = { fromMs: 2_000, toMs: 4_000, left: 100, right: 300 };
  t.same(
    placeMarks([event(1), event(2), event(3), event(5)], span).map(({ x }) => x),
    [100, 200],
  );
  const groups = groupEvents([
    event(1, { agentId: 'a' }),
    event(1.001, { agentId: 'b' }),
    event(2, { text: 'else', agentId: 'a' }),
    event(9, { agentId: 'a' }),
  ]);
  t.same(
    groups.map(({ agentIds }) => agentIds),
    [['a', 'b'], ['a'], ['a']],
  );
});

t.test('the policy in force as rows, with the origin of each value', async (t) => {
  const policy = {
    timeouts: { request: { value: '10s', from: { kind: 'ServicePolicy', name: 'pay', revision: 3 } } },
    retries: {
      on: { value: ['5xx', 'reset'], from: { kind: 'default' } },
      backoff: { base: { value: '25ms', from: { kind: 'default' } } },
    },
    exposeEndpoint: { value: false, from: { kind: 'default' } },
  };
  t.same(
    effectiveRows(policy).map(({ path, value }) => [path, value]),
    [
      ['timeouts.request', '10s'],
      ['retries.on', '5xx, reset'],
      ['retries.backoff.base', '25ms'],
      ['exposeEndpoint', 'no'],
    ],
  );
});
