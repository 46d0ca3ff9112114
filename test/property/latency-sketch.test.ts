// What the sketch of latencies promises: sums in any order and grouping are the sketch of everything, quantiles are near those of a
// sorted list, and whatever is not a sketch is refused.

import fc from 'fast-check';
import t from 'tap';
import {
  BUCKETS,
  EMPTY_SKETCH,
  type LatencySketch,
  MAX_MICROS,
  mergeSketches,
  RELATIVE_ERROR,
  SketchRecorder,
  sketchCount,
  sketchFault,
  sketchQuantile,
  subtractSketch,
} from '#contract/latency-sketch.ts';

/** From below a microsecond to beyond what is told apart. */
const latency = fc.double({ min: -4, max: 7, noNaN: true }).map((exponent) => 10 ** exponent);
const latencies = fc.array(latency, { maxLength: 200 });

function sketched(values: readonly number[]): LatencySketch {
  const recorder = new SketchRecorder();
  for (const value of values) recorder.record(value);
  return recorder.sketch();
}

t.test('adding up is associative and commutative, and equals the sketch of everything', async () => {
  fc.assert(
    fc.property(latencies, latencies, latencies, (a, b, c) => {
      const [x, y, z] = [sketched(a), sketched(b), sketched(c)];
      const all = JSON.stringify(sketched([...a, ...b, ...c]));
      const sums = [
        mergeSketches([x, y, z]),
        mergeSketches([mergeSketches([x, y]), z]),
        mergeSketches([x, mergeSketches([y, z])]),
        mergeSketches([z, y, x]),
      ];
      return sums.every((sum) => JSON.stringify(sum) === all && sketchFault(sum) === null);
    }),
  );
});

t.test('the empty sketch adds nothing, and what was added can be taken off', async () => {
  fc.assert(
    fc.property(latencies, latencies, (a, b) => {
      const [older, added] = [sketched(a), sketched(b)];
      const sum = mergeSketches([older, EMPTY_SKETCH, added]);
      return (
        sketchCount(sum) === a.length + b.length &&
        JSON.stringify(subtractSketch(sum, older)) === JSON.stringify(added) &&
        JSON.stringify(mergeSketches([older, EMPTY_SKETCH])) === JSON.stringify(older)
      );
    }),
  );
});

t.test('a quantile is within 1.6 % of the sorted list, or within half a microsecond', async (t) => {
  t.ok(RELATIVE_ERROR <= 0.016, `${RELATIVE_ERROR}`);
  fc.assert(
    fc.property(
      fc.array(latency, { minLength: 1, maxLength: 300 }),
      fc.double({ min: 0.001, max: 1, noNaN: true }),
      (values, quantile) => {
        const told = values.map((value) => Math.min(value, MAX_MICROS / 1000)).sort((a, b) => a - b);
        const exact = told[Math.ceil(quantile * told.length) - 1] ?? Number.NaN;
        const found = sketchQuantile(sketched(values), quantile) ?? Number.NaN;
        // A value between two whole microseconds counts as the lower one.
        return Math.abs(found - exact) <= Math.max(exact * RELATIVE_ERROR, 0.0005) + 0.001;
      },
    ),
    { numRuns: 500 },
  );
});

t.test('however many values there are, a sketch has at most two numbers a bucket', async (t) => {
  const recorder = new SketchRecorder();
  for (let micros = 0; micros < MAX_MICROS; micros = micros * 1.003 + 1) recorder.record(micros / 1000);
  const sketch = recorder.sketch();
  t.equal(sketchFault(sketch), null);
  t.ok(sketch.length <= 2 * BUCKETS && BUCKETS <= 900, `${sketch.length} numbers, ${BUCKETS} buckets`);
});

t.test('what is not a sketch is refused, and nothing throws', async (t) => {
  const bad: readonly unknown[] = [
    null,
    {},
    '1,2',
    [1],
    [0, 0],
    [0, -1],
    [0, 1.5],
    [0, Number.NaN],
    [-1, 1],
    [1.5, 1],
    [3, 1, 0, 1],
    [BUCKETS, 1],
    [BUCKETS - 1, 1, 1, 1],
    [0, Number.MAX_SAFE_INTEGER, 1, 1],
    [0, Number.POSITIVE_INFINITY],
    ['0', 1],
    Array.from({ length: 2 * BUCKETS + 2 }, () => 1),
  ];
  for (const value of bad) t.type(sketchFault(value), 'string', JSON.stringify(value)?.slice(0, 40));
  t.equal(sketchFault(EMPTY_SKETCH), null);
  fc.assert(
    fc.property(fc.anything(), (value) => {
      const fault = sketchFault(value);
      return fault !== null || sketchQuantile(value as LatencySketch, 0.99) !== undefined;
    }),
  );
});
