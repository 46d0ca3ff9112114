// Notes between control planes: however agents are spread over them, the sum of what they say is what one would say that knew all; and
// nothing that somebody else wrote there can break whoever reads it.

import fc from 'fast-check';
import t from 'tap';
import type { AgentReport, EndpointReport } from '#contract/frames.ts';
import { SketchRecorder } from '#contract/latency-sketch.ts';
import { agentViews } from '../../control-plane/core/agent-view.ts';
import { Fleet } from '../../control-plane/core/fleet.ts';
import {
  cutNote,
  DEEPEST_CUT,
  elsewhereOf,
  type FleetNote,
  isFresher,
  NOTE_FORM,
  noteFault,
} from '../../control-plane/core/fleet-note.ts';
import { Ledger } from '../../control-plane/core/ledger.ts';
import { rollUp, serviceParts } from '../../control-plane/core/rollup.ts';
import { serviceViews } from '../../control-plane/core/service-part.ts';
import { edgeParts, edgeTotals, edgeViews } from '../../control-plane/core/traffic.ts';

const RUNS = 200;
const NOW = 5_000;
const everyone = (): boolean => true;

interface Agent {
  readonly service: string;
  readonly calls: string;
  readonly requests: number;
  readonly failures: number;
  readonly ms: number;
  readonly state: EndpointReport['state'];
  /** Control plane that it reports to. */
  readonly at: number;
}

const service = fc.constantFrom('web', 'orders', 'payments');
const agent: fc.Arbitrary<Agent> = fc.record({
  service,
  calls: service,
  requests: fc.integer({ min: 0, max: 1_000 }),
  failures: fc.integer({ min: 0, max: 10 }),
  ms: fc.integer({ min: 1, max: 2_000 }),
  state: fc.constantFrom('serving', 'ejected', 'probing', 'draining'),
  at: fc.integer({ min: 0, max: 3 }),
});

function reportOf({ service, calls, requests, failures, ms, state }: Agent, sequence: number): AgentReport {
  const latency = new SketchRecorder();
  for (let count = 0; count < requests; count++) latency.record(ms);
  const counts = { requests: requests * sequence, successes: Math.max(0, requests - failures) * sequence };
  const endpoint: EndpointReport = {
    id: `${calls}-1`,
    address: '10.0.0.7:80',
    state,
    weight: 1,
    inFlight: 1,
    connections: 1,
    ewmaMs: ms,
    attempts: requests * sequence,
    failures: failures * sequence,
    latency: latency.sketch(),
    reason: null,
    ejectedUntilEpochMs: null,
  };
  return {
    sequence,
    sentAtEpochMs: 0,
    startedAtEpochMs: 0,
    service,
    softwareVersion: '0.1.0',
    adminUrl: 'http://127.0.0.1:15000',
    isReady: true,
    isDraining: false,
    policy: { appliedVersion: 0, wantedVersion: 0, problems: [] },
    services: [
      { service: calls, source: 'consul', ageMs: 0, holding: null, isPanicking: false, endpoints: [endpoint] },
    ],
    edges: [
      {
        direction: 'outbound',
        source: service,
        destination: calls,
        ...counts,
        retries: sequence,
        inFlight: 1,
        latency: latency.sketch(),
      },
    ],
    events: [],
    eventsDropped: 0,
  };
}

/** What a control plane knows that hears of these agents alone. */
function heard(agents: readonly (readonly [string, Agent])[]): { fleet: Fleet; ledger: Ledger } {
  const fleet = new Fleet();
  const ledger = new Ledger();
  for (const [id, one] of agents) {
    for (const [sequence, at] of [
      [1, 1_000],
      [2, 4_000],
    ] as const) {
      fleet.record(id, reportOf(one, sequence), at);
      ledger.reported(id, 0, at);
    }
  }
  return { fleet, ledger };
}

function noteOf({ fleet, ledger }: { fleet: Fleet; ledger: Ledger }): FleetNote {
  const clock = { now: () => NOW, epochMs: () => 0 };
  return {
    form: NOTE_FORM,
    atEpochMs: 0,
    host: 'somewhere',
    agents: agentViews(ledger, fleet, clock).map((view) => ({ view, reportedFrom: '10.0.0.7' })),
    services: serviceParts(fleet, fleet.members(), everyone, NOW),
    edges: edgeParts(fleet.members(), everyone, NOW),
    events: [],
    cut: 0,
  };
}

/** Order says nothing where parts are put together. */
function sorted(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_key, inner) =>
    Array.isArray(inner)
      ? inner.map((one) => JSON.stringify(one)).sort()
      : typeof inner === 'number'
        ? Number(inner.toFixed(6))
        : inner,
  );
}

t.test('the sum of the notes is what one would say that knew all', async (t) => {
  fc.assert(
    fc.property(fc.array(agent, { maxLength: 12 }), (agents) => {
      const named = agents.map((one, index) => [`agent-${index}`, one] as const);
      const { fleet, ledger } = heard(named);
      const notes = [0, 1, 2, 3].map((at) => noteOf(heard(named.filter(([, one]) => one.at === at))));
      const travelled = JSON.parse(JSON.stringify(notes)) as FleetNote[];
      for (const note of travelled) if (noteFault(note) !== null) throw new Error(String(noteFault(note)));
      const sum = elsewhereOf(travelled, 0);
      t.same(sorted(serviceViews(sum.services)), sorted(rollUp(fleet, everyone, NOW)));
      t.same(sorted(edgeViews(sum.edges)), sorted(edgeTotals(fleet.members(), everyone, NOW)));
      const clock = { now: () => NOW, epochMs: () => 0 };
      t.same(
        [...sum.agents.values()].map(({ view }) => view.id).sort(),
        agentViews(ledger, fleet, clock)
          .map(({ id }) => id)
          .sort(),
      );
    }),
    { numRuns: RUNS },
  );
});

t.test('an agent in several notes is the one that was heard of last, and notes age', async (t) => {
  const note = noteOf(
    heard([['a', { service: 'web', calls: 'orders', requests: 1, failures: 0, ms: 1, state: 'serving', at: 0 }]]),
  );
  const [noted] = note.agents;
  if (noted === undefined) throw new Error('no agent');
  const as = (host: string, silentForMs: number, isConnected: boolean): FleetNote => ({
    ...note,
    host,
    agents: [{ ...noted, view: { ...noted.view, silentForMs, isConnected, state: 'live' } }],
  });
  const winner = (notes: readonly FleetNote[], epochMs = 0) => elsewhereOf(notes, epochMs).agents.get('a')?.view;
  t.match(winner([as('one', 10, false), as('two', 5, false)]), { controlPlane: 'two', silentForMs: 5 });
  t.match(winner([as('one', 10, true), as('two', 5, false)]), { controlPlane: 'one' }, 'where its stream is open');
  t.match(winner([as('one', 10, true)], 9_000), { silentForMs: 9_010, state: 'live' });
  t.match(winner([as('one', 10, true)], 9_990), { silentForMs: 10_000, state: 'stale' });
  t.equal(elsewhereOf([as('one', 0, true)], 7_000).edges[0]?.liveAgeMs, 8_000, '1 s old when it was written');
  t.equal(
    isFresher({ isConnected: false, silentForMs: 1 }, { isConnected: false, silentForMs: 1 }),
    false,
    'a tie stays',
  );
});

t.test('what does not fit is left out in steps, those who have something to say last', async (t) => {
  const agents = Array.from({ length: 60 }, (_, index) => {
    const state = index === 59 ? ('ejected' as const) : ('serving' as const);
    return [
      `agent-${index}`,
      { service: 'web', calls: 'orders', requests: 1, failures: 0, ms: 1, state, at: 0 },
    ] as const;
  });
  const note = noteOf(heard(agents));
  const ordersIn = (depth: number) => cutNote(note, depth).services.find((one) => one.service === 'orders');
  t.equal(ordersIn(0)?.endpoints[0]?.observers.length, 50);
  t.match(ordersIn(0)?.endpoints[0]?.observers[0], { agentId: 'agent-59', state: 'ejected' });
  t.equal(ordersIn(1)?.endpoints[0]?.observers.length, 0);
  t.equal(ordersIn(2)?.endpoints.length, 1, 'an endpoint that somebody has out stays');
  for (let depth = 0; depth <= DEEPEST_CUT; depth++) t.equal(noteFault(cutNote(note, depth)), null);
  t.equal(
    cutNote({ ...note, agents: Array.from({ length: 3_000 }, () => note.agents[0] as never) }, 3).agents.length,
    1_000,
  );
});

t.test('whatever lies there is judged, or can be used', async (t) => {
  const good = noteOf(
    heard([
      ['a', { service: 'web', calls: 'orders', requests: 9, failures: 1, ms: 3, state: 'ejected', at: 0 }],
      ['b', { service: 'orders', calls: 'payments', requests: 9, failures: 1, ms: 3, state: 'serving', at: 0 }],
    ]),
  );
  const odd = fc.oneof(
    fc.anything(),
    fc.constantFrom(null, [], {}, { toString: 0 }, '', -1, Number.NaN, '__proto__', [1, 2, 3]),
  );
  let judged = 0;
  fc.assert(
    fc.property(odd, (value) => {
      if (noteFault(value) === null) use(value as FleetNote);
      else judged++;
    }),
    { numRuns: RUNS },
  );
  fc.assert(
    fc.property(fc.infiniteStream(fc.nat()), odd, (draws, value) => {
      const note = JSON.parse(JSON.stringify(good));
      // Walks down to some place and leaves something else there.
      let at = note;
      for (;;) {
        const keys = Object.keys(at);
        const key = keys[draws.next().value % keys.length] ?? '';
        if (
          typeof at[key] !== 'object' ||
          at[key] === null ||
          Object.keys(at[key]).length === 0 ||
          draws.next().value % 4 === 0
        ) {
          at[key] = value;
          break;
        }
        at = at[key];
      }
      if (noteFault(note) === null) use(note);
      else judged++;
    }),
    { numRuns: 20 * RUNS },
  );
  t.ok(judged > RUNS, `${judged} were refused`);
});

/** Everything that is done to a note. */
function use(note: FleetNote): void {
  const sum = elsewhereOf([note], 1_000);
  JSON.stringify([serviceViews(sum.services), edgeViews(sum.edges), [...sum.agents.values()]]);
}
