import t from 'tap';
import { sketchCount, sketchQuantile } from '#contract/latency-sketch.ts';
import { BUCKET_BOUNDS_SECONDS, LatencyHistogram } from '../../../../agent/telemetry/histogram.ts';
import { seededRandom } from '../../../support/seeded-random.ts';

/** From a microsecond to minutes, most of them around ten milliseconds. */
function samples(seed: number, count: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => 10 ** (random() * 3 + random() * 3 - 2));
}

t.test('published buckets are counted exactly, bounds included', async (t) => {
  const values = [
    ...samples(7, 3000),
    ...BUCKET_BOUNDS_SECONDS.flatMap((bound) => [bound * 1000, bound * 1000 + 1e-9]),
  ];
  const histogram = new LatencyHistogram();
  for (const value of values) histogram.record(value);
  const wanted = [...BUCKET_BOUNDS_SECONDS, Number.POSITIVE_INFINITY].map(
    (bound) => values.filter((value) => value <= bound * 1000).length,
  );
  t.same(histogram.cumulative(), wanted);
  t.equal(histogram.count, values.length);
  t.equal(sketchCount(histogram.sketch()), values.length);
  t.ok(
    Math.abs(histogram.sumMs - values.reduce((a, b) => a + b, 0)) < 1e-6 * histogram.sumMs,
    'the sum is that of the samples',
  );
});

t.test('no sample has no quantile; what is no duration counts as zero; what is endless as the longest', async (t) => {
  const histogram = new LatencyHistogram();
  t.equal(sketchQuantile(histogram.sketch(), 0.5), null);
  histogram.record(-1);
  histogram.record(Number.NaN);
  t.equal(sketchQuantile(histogram.sketch(), 1), 0.0005);
  t.equal(histogram.sumMs, 0);
  histogram.record(1e12);
  t.equal(histogram.count, 3);
  t.ok((sketchQuantile(histogram.sketch(), 1) ?? 0) > 2_000_000, 'the top bucket took it');
});
