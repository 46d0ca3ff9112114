// Whatever agents count and say, every bad event is in exactly one account: from the edge's counters through reports with restarts,
// repetitions and reordering to the budget.

import fc from 'fast-check';
import t from 'tap';
import { FAILURE_KINDS, NO_FAILURES } from '#contract/failures.ts';
import type { AgentReport, EndpointReport } from '#contract/frames.ts';
import { REASON_STATUS, type RequestResult } from '../../agent/core/reason.ts';
import { EdgeCounters } from '../../agent/telemetry/edge.ts';
import { SeriesBudget } from '../../agent/telemetry/series-budget.ts';
import { Fleet } from '../../control-plane/core/fleet.ts';
import { blameOf, book, totalOf } from '../../control-plane/core/slo/accounts.ts';
import { Arrivals } from '../../control-plane/core/slo/arrivals.ts';
import { SloBook } from '../../control-plane/core/slo/book.ts';
import { SloIntake } from '../../control-plane/core/slo/intake.ts';
import { orderReport } from '../support/control-plane-client.ts';
import { sloTarget } from '../support/slo-target.ts';

const count = fc.nat(1_000);
const failures = fc
  .record(Object.fromEntries(FAILURE_KINDS.map((kind) => [kind, count])))
  .map((counts) => ({ ...NO_FAILURES, ...counts }));
const tally = fc
  .tuple(count, fc.double({ min: 0, max: 1, noNaN: true }))
  .map(([attempts, share]) => ({ attempts, failures: Math.floor(attempts * share) }));
const sighting = fc.record({ endpoint: fc.constantFrom('a', 'b', 'c'), own: tally, others: tally, elsewhere: tally });

t.test('booking keeps the sum, whoever is blamed', async () => {
  fc.assert(
    fc.property(failures, fc.array(sighting, { maxLength: 12 }), (counts, sightings) => {
      const all = FAILURE_KINDS.reduce((sum, kind) => sum + counts[kind], 0);
      return totalOf(book(counts, blameOf(sightings))) === all - counts.invalid;
    }),
  );
});

t.test(
  'an edge counts each request as a success or as one kind of failure, with and without room for series',
  async () => {
    const results = ['ok', ...Object.keys(REASON_STATUS)] as RequestResult[];
    const end = fc.tuple(fc.constantFrom(...results), fc.constantFrom(0, 200, 404, 429, 500, 503));
    fc.assert(
      fc.property(fc.array(end, { maxLength: 60 }), fc.nat(5), (ends, room) => {
        const edge = new EdgeCounters('outbound', 'a', 'b', new SeriesBudget(room));
        for (const [result, status] of ends) {
          edge.begin();
          edge.end(result, status, 1);
        }
        const { requests, successes, failures: failed = NO_FAILURES } = edge.report();
        const good = ends.filter(([result, status]) => result === 'ok' && status < 500).length;
        return successes === good && requests === good + FAILURE_KINDS.reduce((sum, kind) => sum + failed[kind], 0);
      }),
    );
  },
);

interface Step {
  readonly agent: number;
  readonly good: number;
  readonly failed: typeof NO_FAILURES;
  /** Of the good ones. */
  readonly slowShare: number;
  readonly kind: 'report' | 'repeat' | 'restart';
  readonly endpointFailures: number;
}

t.test('the accounts of a budget add up to what was counted, over restarts and reports that come twice', async () => {
  const step: fc.Arbitrary<Step> = fc.record({
    agent: fc.nat(3),
    good: count,
    failed: failures,
    slowShare: fc.double({ min: 0, max: 1, noNaN: true }),
    kind: fc.constantFrom('report' as const, 'report' as const, 'repeat' as const, 'restart' as const),
    endpointFailures: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const fleet = new Fleet();
      const slos = new SloBook(() => sloTarget());
      const intake = new SloIntake(fleet, slos, new Arrivals(true));
      const agents = new Map<number, { report: AgentReport; life: number }>();
      let good = 0;
      let bad = 0;
      steps.forEach(({ agent, good: more, failed, slowShare, kind, endpointFailures }, index) => {
        const now = index * 700;
        intake.review(now);
        const send = (report: AgentReport): void => {
          if (fleet.record(`web-${agent}`, report, now) !== null) intake.take(`web-${agent}`, report, now, now);
        };
        const known = agents.get(agent);
        if (kind === 'repeat' && known !== undefined) {
          send(known.report);
          return;
        }
        const isNew = known === undefined || kind === 'restart';
        const life = isNew ? index + 1 : known.life;
        const slow = Math.floor(more * slowShare);
        const report = reportOf(isNew ? null : known.report, life, more, slow, failed, endpointFailures);
        agents.set(agent, { report, life });
        good += more - slow;
        bad += slow;
        for (const one of FAILURE_KINDS) if (one !== 'invalid') bad += failed[one];
        send(report);
      });
      const view = slos.view('payments', steps.length * 700);
      if (good + bad === 0) return view === null;
      return view?.good === good && view.bad === bad && totalOf(view.accounts) === bad;
    }),
  );
});

function reportOf(
  former: AgentReport | null,
  life: number,
  good: number,
  slow: number,
  failed: typeof NO_FAILURES,
  endpointFailures: number,
): AgentReport {
  const [edge] = former?.edges ?? [];
  const sums = { ...NO_FAILURES };
  for (const kind of FAILURE_KINDS) sums[kind] = (edge?.failures?.[kind] ?? 0) + failed[kind];
  const successes = (edge?.successes ?? 0) + good;
  const requests = successes + FAILURE_KINDS.reduce((sum, kind) => sum + sums[kind], 0);
  const quiet = { retries: 0, inFlight: 0 };
  const attempts = (former?.services[0]?.endpoints[0]?.attempts ?? 0) + 20;
  const failures = (former?.services[0]?.endpoints[0]?.failures ?? 0) + endpointFailures;
  const endpoint: EndpointReport = {
    id: 'payments@p1',
    address: '127.0.0.1:1',
    state: 'serving',
    weight: 1,
    inFlight: 0,
    connections: 0,
    ewmaMs: null,
    attempts,
    failures,
    reason: null,
    ejectedUntilEpochMs: null,
  };
  return orderReport((former?.sequence ?? 0) + 1, {
    startedAtEpochMs: life,
    service: 'orders',
    services: [
      { service: 'payments', source: 'static', ageMs: null, holding: null, isPanicking: false, endpoints: [endpoint] },
    ],
    edges: [
      {
        ...quiet,
        direction: 'outbound',
        source: 'orders',
        destination: 'payments',
        requests,
        successes,
        failures: sums,
        slow: (edge?.slow ?? 0) + slow,
      },
    ],
  });
}
