import t from 'tap';
import { BUCKET_BOUNDS_SECONDS, bucketWidthMs, LatencyHistogram } from '../../../../agent/telemetry/histogram.ts';
import { seededRandom } from '../../../support/seeded-random.ts';

/** From a microsecond to minutes, most of them around ten milliseconds. */
function samples(seed: number, count: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => 10 ** (random() * 3 + random() * 3 - 2));
}

t.test('a quantile differs from the sorted oracle by at most the width of its bucket', async (t) => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const values = samples(seed, 5000);
    const histogram = new LatencyHistogram();
    for (const value of values) histogram.record(value);
    const sorted = [...values].sort((a, b) => a - b);
    for (const quantile of [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1]) {
      const oracle = sorted[Math.ceil(quantile * sorted.length) - 1] ?? Number.NaN;
      const found = histogram.quantile(quantile) ?? Number.NaN;
      t.ok(
        Math.abs(found - oracle) <= bucketWidthMs(oracle),
        `seed ${seed}, quantile ${quantile}: ${found} is near ${oracle}`,
      );
    }
  }
});

t.test('a bucket is at most a 32nd of its value wide, and a microsecond at the bottom', async (t) => {
  t.equal(bucketWidthMs(0), 0.001);
  t.equal(bucketWidthMs(0.063), 0.001);
  for (const value of [0.1, 1, 12.5, 500, 59_999, 1_000_000]) t.ok(bucketWidthMs(value) <= value / 32, `at ${value}`);
});

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
  t.ok(
    Math.abs(histogram.sumMs - values.reduce((a, b) => a + b, 0)) < 1e-6 * histogram.sumMs,
    'the sum is that of the samples',
  );
});

t.test('no sample has no quantile; what is no duration counts as zero; what is endless as the longest', async (t) => {
  const histogram = new LatencyHistogram();
  t.equal(histogram.quantile(0.5), null);
  histogram.record(-1);
  histogram.record(Number.NaN);
  t.equal(histogram.quantile(1), 0.0005);
  t.equal(histogram.sumMs, 0);
  histogram.record(1e12);
  t.equal(histogram.count, 3);
  t.ok((histogram.quantile(1) ?? 0) > 2_000_000, 'the top bucket took it');
});
