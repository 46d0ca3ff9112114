import t from 'tap';
import { sketchCount, sketchQuantile } from '#contract/latency-sketch.ts';
import { OUTCOME_KINDS } from '../../../../agent/core/outcome.ts';
import { CODE_CLASSES, RESULTS } from '../../../../agent/telemetry/edge.ts';
import { Metrics } from '../../../../agent/telemetry/metrics.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

/** Samples as `name{labels}` → value. */
async function scrape(metrics: Metrics, clock?: VirtualClock): Promise<Map<string, number>> {
  clock?.advance(1000);
  const lines = (await metrics.render()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

function total(samples: ReadonlyMap<string, number>, name: string, ...having: string[]): number {
  let sum = 0;
  for (const [key, value] of samples) {
    if ((key === name || key.startsWith(`${name}{`)) && having.every((part) => key.includes(part))) sum += value;
  }
  return sum;
}

function openMetrics(
  t: Pick<typeof import('tap').t, 'teardown'>,
  options: ConstructorParameters<typeof Metrics>[0] = {},
): Metrics {
  const metrics = new Metrics(options);
  t.teardown(() => metrics.close());
  return metrics;
}

t.test('a request is counted by edge, class and result; attempts and retries by destination', async (t) => {
  const metrics = openMetrics(t);
  const edge = metrics.edge('outbound', 'web', 'orders');
  edge.begin();
  edge.attempt('reset');
  edge.retry('reset');
  edge.attempt('response');
  edge.end('ok', 200, 12);
  edge.begin();
  edge.budgetExhausted();
  edge.end('upstream_timeout', 504, 5000);
  edge.begin();
  metrics.ejection('orders', 'consecutive_5xx');
  const samples = await scrape(metrics);
  const edgeLabels = 'direction="outbound",source="web",destination="orders"';
  t.equal(samples.get(`outrigger_requests_total{code_class="2xx",result="ok",${edgeLabels}}`), 1);
  t.equal(samples.get(`outrigger_requests_total{code_class="5xx",result="upstream_timeout",${edgeLabels}}`), 1);
  t.equal(samples.get(`outrigger_requests_in_flight{${edgeLabels}}`), 1);
  t.equal(samples.get(`outrigger_request_duration_seconds_bucket{le="0.025",${edgeLabels}}`), 1);
  t.equal(samples.get(`outrigger_request_duration_seconds_count{${edgeLabels}}`), 2);
  t.equal(samples.get(`outrigger_request_duration_seconds_sum{${edgeLabels}}`), 5.012);
  t.equal(samples.get('outrigger_attempts_total{destination="orders",outcome="reset"}'), 1);
  t.equal(samples.get('outrigger_attempts_total{destination="orders",outcome="response"}'), 1);
  t.equal(samples.get('outrigger_retries_total{destination="orders",reason="reset"}'), 1);
  t.equal(samples.get('outrigger_retry_budget_exhausted_total{destination="orders"}'), 1);
  t.equal(samples.get('outrigger_ejections_total{destination="orders",reason="consecutive_5xx"}'), 1);
});

t.test('a report counts a success only when an answer below 500 was relayed whole', async (t) => {
  const metrics = openMetrics(t);
  const edge = metrics.edge('outbound', 'web', 'orders');
  const ends = [
    ['ok', 204],
    ['ok', 404],
    ['ok', 500],
    ['response_aborted', 200],
    ['no_route', 404],
    ['downstream_disconnect', 0],
  ] as const;
  for (const [result, status] of ends) {
    edge.begin();
    edge.end(result, status, 10);
  }
  edge.begin();
  const reports = metrics.edgeReports();
  t.equal(reports.length, 1);
  for (const { latency = [], ...report } of reports) {
    t.same(report, {
      direction: 'outbound',
      source: 'web',
      destination: 'orders',
      requests: 6,
      successes: 2,
      failures: { answered: 1, unanswered: 1, unserved: 0, policy: 0, self: 0, canceled: 1, invalid: 1 },
      slow: 0,
      retries: 0,
      inFlight: 1,
    });
    t.equal(sketchCount(latency), 6);
    for (const quantile of [0.5, 0.99]) t.ok(Math.abs((sketchQuantile(latency, quantile) ?? 0) - 10) < 0.2);
  }
});

t.test('a million random names leave the number of series where it was, and the totals right (K9, S16)', async (t) => {
  const clock = new VirtualClock();
  const metrics = openMetrics(t, { maxEdges: 50, clock });
  const random = seededRandom(11);
  const hit = (count: number) => {
    for (let i = 0; i < count; i++) {
      const name = `svc-${Math.floor(random() * 1e12).toString(36)}`;
      const edge = random() < 0.5 ? metrics.edge('outbound', 'web', name) : metrics.edge('inbound', name, 'web');
      edge.begin();
      edge.attempt('response');
      edge.retry(name);
      metrics.ejection(name, name);
      const result = RESULTS[Math.floor(random() * RESULTS.length)] ?? 'ok';
      edge.end(result, Math.floor(random() * 7) * 100, random() * 100);
    }
  };
  hit(100_000);
  const before = await scrape(metrics, clock);
  hit(900_000);
  const after = await scrape(metrics, clock);
  // Counters of an edge appear with their first count; beyond that nothing may grow.
  const worst = 60 * RESULTS.length * CODE_CLASSES.length;
  t.ok(after.size < worst, `${after.size} series`);
  const families = [
    'outrigger_requests_in_flight',
    'outrigger_request_duration_seconds_count',
    'outrigger_ejections_total',
  ];
  for (const name of families) {
    const count = (samples: ReadonlyMap<string, number>) =>
      [...samples.keys()].filter((key) => key.startsWith(`${name}{`)).length;
    t.equal(count(after), count(before), `series of ${name}`);
  }
  t.equal(total(after, 'outrigger_requests_total'), 1_000_000);
  t.equal(total(after, 'outrigger_request_duration_seconds_count'), 1_000_000);
  t.equal(total(after, 'outrigger_ejections_total'), 1_000_000);
  t.equal(total(after, 'outrigger_requests_in_flight'), 0);
  t.ok(total(after, 'outrigger_requests_total', 'destination="other"') > 400_000, 'outbound rest is under other');
  t.ok(total(after, 'outrigger_requests_total', 'source="other"') > 400_000, 'inbound rest is under other');
  t.ok(metrics.edgeReports().length <= 60, `${metrics.edgeReports().length} edges`);
});

t.test('no traffic makes more series than the ceiling, and sums over all of them stay right (20.8)', async (t) => {
  const clock = new VirtualClock();
  const maxSeries = 2000;
  const names = Array.from({ length: 400 }, (_, index) => `svc-${index}`);
  const metrics = openMetrics(t, {
    maxEdges: 1000,
    maxSeries,
    clock,
    sources: {
      discovery: () => names.map((service) => ({ service, source: 'consul', ageMs: 1 })),
      connections: () => names.map((destination) => ({ destination, active: 1, idle: 0 })),
    },
  });
  const random = seededRandom(3);
  const events = 100_000;
  for (let i = 0; i < events; i++) {
    const name = names[Math.floor(random() * names.length)] ?? '';
    const edge = metrics.edge('outbound', 'web', name);
    edge.begin();
    edge.attempt(OUTCOME_KINDS[Math.floor(random() * OUTCOME_KINDS.length)] ?? 'response');
    edge.retry(`reason-${Math.floor(random() * 40)}`);
    metrics.ejection(name, `detector-${Math.floor(random() * 40)}`);
    edge.end(RESULTS[Math.floor(random() * RESULTS.length)] ?? 'ok', Math.floor(random() * 6) * 100, random() * 100);
  }
  const samples = await scrape(metrics, clock);
  t.ok(samples.size <= maxSeries, `${samples.size} series of at most ${maxSeries}`);
  t.ok(samples.size > maxSeries / 3, 'the ceiling is used');
  for (const family of ['requests_total', 'attempts_total', 'retries_total', 'ejections_total']) {
    t.equal(total(samples, `outrigger_${family}`), events, family);
  }
  t.equal(total(samples, 'outrigger_request_duration_seconds_count'), events);
  t.equal(total(samples, 'outrigger_upstream_connections'), names.length);
  t.ok((samples.get('outrigger_series_folded_total') ?? 0) > events, 'what was folded is told');
  t.equal((await scrape(metrics, clock)).get('outrigger_series'), samples.size, 'the series are counted');

  for (const name of names) metrics.dropDestination(name);
  metrics.dropDestination('other');
  const edge = metrics.edge('outbound', 'web', 'new');
  edge.begin();
  edge.end('ok', 200, 1);
  const after = await scrape(metrics, clock);
  t.equal(total(after, 'outrigger_requests_total', '"new"'), 1, 'departed series make room');
});

t.test('kept lines are written again when an edge counts, and only then differ', async (t) => {
  const clock = new VirtualClock();
  const metrics = openMetrics(t, { clock });
  const [still, busy] = ['still', 'busy'].map((name) => metrics.edge('outbound', 'web', name));
  for (const edge of [still, busy]) {
    edge?.begin();
    edge?.end('ok', 200, 3);
  }
  const before = await scrape(metrics, clock);
  busy?.begin();
  const during = await scrape(metrics, clock);
  busy?.end('ok', 200, 3);
  const after = await scrape(metrics, clock);
  const of = (samples: ReadonlyMap<string, number>, name: string) => [...samples].filter(([key]) => key.includes(name));
  t.same(of(after, 'still'), of(before, 'still'));
  t.equal(total(during, 'outrigger_requests_in_flight', 'busy'), 1);
  t.equal(total(after, 'outrigger_requests_total', 'busy'), 2);
  t.equal(total(after, 'outrigger_request_duration_seconds_count', 'busy'), 2);
});

t.test('dropDestination() forgets a destination once it is at rest, and gives its place to another', async (t) => {
  const clock = new VirtualClock();
  const metrics = openMetrics(t, { maxEdges: 2, clock });
  const gone = metrics.edge('outbound', 'web', 'gone');
  gone.begin();
  metrics.edge('outbound', 'web', 'stays').begin();
  metrics.ejection('gone', 'consecutive_5xx');
  metrics.dropDestination('gone');
  t.equal(
    total(await scrape(metrics, clock), 'outrigger_requests_in_flight', '"gone"'),
    1,
    'a request is still in flight',
  );
  gone.end('ok', 200, 1);
  const samples = await scrape(metrics, clock);
  t.notOk(
    [...samples.keys()].some((key) => key.includes('"gone"')),
    'no series is left',
  );
  t.equal(total(samples, 'outrigger_requests_in_flight', '"stays"'), 1);
  metrics.edge('outbound', 'web', 'new').begin();
  t.equal(total(await scrape(metrics, clock), 'outrigger_requests_in_flight', '"new"'), 1);
});

t.test('a destination that comes back before it was forgotten keeps counting', async (t) => {
  const clock = new VirtualClock();
  const metrics = openMetrics(t, { clock });
  const edge = metrics.edge('outbound', 'web', 'orders');
  edge.begin();
  metrics.dropDestination('orders');
  const again = metrics.edge('outbound', 'web', 'orders');
  t.equal(again, edge);
  edge.end('ok', 200, 1);
  t.equal(total(await scrape(metrics, clock), 'outrigger_requests_total', '"orders"'), 1);
});

t.test('gauges are read from the sources at scrape time, and fold what is beyond the bound', async (t) => {
  const clock = new VirtualClock();
  const metrics = openMetrics(t, {
    clock,
    maxEdges: 2,
    sources: {
      discovery: () =>
        ['a', 'b', 'c', 'd'].map((service, index) => ({
          service,
          source: 'consul',
          ageMs: index === 0 ? null : index * 1000,
        })),
      connections: () => ['a', 'b', 'c', 'd'].map((destination) => ({ destination, active: 2, idle: 3 })),
      policy: () => ({ appliedVersion: 6, wantedVersion: 7 }),
      isControlPlaneConnected: () => true,
      droppedLogLines: () => 9,
    },
  });
  const samples = await scrape(metrics, clock);
  t.equal(samples.get('outrigger_policy_version_applied'), 6);
  t.equal(samples.get('outrigger_policy_version_wanted'), 7);
  t.equal(samples.get('outrigger_control_plane_connected'), 1);
  t.equal(samples.get('outrigger_log_lines_dropped_total'), 9);
  t.equal(samples.get('outrigger_upstream_connections{destination="a",state="active"}'), 2);
  t.equal(samples.get('outrigger_upstream_connections{destination="other",state="idle"}'), 6);
  t.equal(samples.get('outrigger_discovery_age_seconds{destination="b"}'), 1);
  t.equal(samples.get('outrigger_discovery_age_seconds{destination="a"}'), undefined);
  t.equal(samples.get('outrigger_discovery_age_seconds{destination="other"}'), 3, 'the oldest of the rest');
});

t.test('scrapes within a second share one rendering; a failed one is not shared on', async (t) => {
  const clock = new VirtualClock();
  let reads = 0;
  const metrics = openMetrics(t, {
    clock,
    sources: {
      droppedLogLines() {
        reads++;
        if (reads === 1) throw new Error('not now');
        return 0;
      },
    },
  });
  await t.rejects(metrics.render(), { message: 'not now' });
  const texts = await Promise.all(Array.from({ length: 500 }, () => metrics.render()));
  t.equal(reads, 2);
  t.equal(new Set(texts).size, 1);
  clock.advance(999);
  await metrics.render();
  t.equal(reads, 2);
  clock.advance(1);
  await metrics.render();
  t.equal(reads, 3);
});
