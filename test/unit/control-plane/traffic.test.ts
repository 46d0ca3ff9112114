// Traffic between services: exact sums over agents, quantiles of everything together, and how old what is shown is.

import t from 'tap';
import type { AgentReport, EdgeReport, EndpointReport } from '#contract/frames.ts';
import { RELATIVE_ERROR, SketchRecorder } from '#contract/latency-sketch.ts';
import { Fleet } from '../../../control-plane/core/fleet.ts';
import { SketchTrail } from '../../../control-plane/core/sketch-trail.ts';
import { edgeTotals } from '../../../control-plane/core/traffic.ts';

const everyone = (): boolean => true;

function edge(requests: number, changes: Partial<EdgeReport> = {}): EdgeReport {
  const base = { direction: 'outbound' as const, source: 'orders', destination: 'payments', retries: 0, inFlight: 0 };
  return { ...base, requests, successes: requests, ...changes };
}

function report(sequence: number, edges: readonly EdgeReport[], changes: Partial<AgentReport> = {}): AgentReport {
  return {
    sequence,
    sentAtEpochMs: 0,
    startedAtEpochMs: 0,
    service: 'orders',
    softwareVersion: '0.1.0',
    adminUrl: 'http://127.0.0.1:15000',
    isReady: true,
    isDraining: false,
    policy: { appliedVersion: 0, wantedVersion: 0, problems: [] },
    services: [],
    edges,
    events: [],
    eventsDropped: 0,
    ...changes,
  };
}

function endpointIn(id: string, state: EndpointReport['state']): EndpointReport {
  const counts = { weight: 1, inFlight: 0, connections: 0, ewmaMs: null, attempts: 0, failures: 0 };
  return { id, address: '10.0.0.7:80', state, ...counts, reason: null, ejectedUntilEpochMs: null };
}

t.test('an edge is the exact sum over its agents, with quantiles of all values together', async (t) => {
  const fleet = new Fleet();
  const values: number[] = [];
  const latencyOf = (agent: number): SketchRecorder => {
    const recorder = new SketchRecorder();
    // The second agent is a hundred times slower and has a tenth of the requests: no average of quantiles would show it.
    for (let count = 1; count <= (agent === 0 ? 1000 : 100); count++) {
      const ms = agent === 0 ? count / 100 : count;
      values.push(ms);
      recorder.record(ms);
    }
    return recorder;
  };
  const seen = (state: EndpointReport['state']) => ({
    service: 'payments',
    source: 'consul' as const,
    ageMs: 0,
    holding: null,
    isPanicking: false,
    endpoints: [endpointIn('p1', state), endpointIn('p2', 'serving')],
  });
  const first = edge(1000, { successes: 990, retries: 7, inFlight: 2, latency: latencyOf(0).sketch() });
  const second = edge(100, { successes: 95, retries: 1, inFlight: 3, latency: latencyOf(1).sketch() });
  const inbound = edge(5, { direction: 'inbound', source: 'unknown', destination: 'orders' });
  fleet.record('orders-1', report(1, [first, inbound], { services: [seen('ejected')] }), 1_000);
  fleet.record('orders-2', report(1, [second], { services: [seen('ejected')] }), 3_000);
  const [total, ...others] = edgeTotals(fleet.members(), everyone, 4_000);
  t.same(others, [], 'inbound counts are no edge of their own');
  t.match(total, {
    source: 'orders',
    destination: 'payments',
    agents: 2,
    silentAgents: 0,
    requests: 1100,
    successes: 1085,
    failures: 15,
    retries: 8,
    inFlight: 5,
    ejected: 1,
    dataAgeMs: 3_000,
  });
  values.sort((a, b) => a - b);
  for (const [found, quantile] of [
    [total?.p50Ms, 0.5],
    [total?.p95Ms, 0.95],
    [total?.p99Ms, 0.99],
  ] as const) {
    const exact = values[Math.ceil(quantile * values.length) - 1] ?? 0;
    t.ok(
      Math.abs((found ?? 0) - exact) <= exact * RELATIVE_ERROR + 0.001,
      `p${quantile * 100} ${found}, sorted ${exact}`,
    );
  }
});

t.test('a silent agent keeps its counts in the sum and adds nothing to what is now', async (t) => {
  const fleet = new Fleet();
  fleet.record('orders-1', report(1, [edge(10, { inFlight: 4, latency: [300, 10] })]), 0);
  fleet.record('orders-2', report(1, [edge(5, { inFlight: 1 })]), 20_000);
  const isLive = (agentId: string): boolean => agentId === 'orders-2';
  t.match(edgeTotals(fleet.members(), isLive, 21_000)[0], {
    agents: 1,
    silentAgents: 1,
    requests: 15,
    inFlight: 1,
    p50Ms: null,
    dataAgeMs: 1_000,
  });
  const [silent] = edgeTotals(fleet.members(), () => false, 50_000);
  t.match(silent, { agents: 0, silentAgents: 2, requests: 15, rps: 0, dataAgeMs: 30_000 }, 'the newest there is');
});

t.test('latencies are of the last minute once there is one, and a restart begins anew', async (t) => {
  const trail = new SketchTrail();
  trail.record([100, 5], 0, true);
  t.same(trail.recent(), [100, 5], 'everything at first');
  for (let now = 2_000; now <= 58_000; now += 2_000) trail.record([100, 5, 200, 1], now, false);
  t.same(trail.recent(), [100, 5, 200, 1]);
  trail.record([100, 5, 200, 1, 10, 7], 60_000, false);
  t.same(trail.recent(), [310, 7], 'what came since the mark 30 s ago');
  trail.record([100, 5, 200, 1, 10, 7], 200_000, false);
  t.same(trail.recent(), [], 'a silence is no traffic');
  trail.record([50, 1], 202_000, false);
  t.same(trail.recent(), [50, 1], 'less than before: counted from nothing again');
  trail.record([50, 2], 204_000, true);
  t.same(trail.recent(), [50, 2]);
});
