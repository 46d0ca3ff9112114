// The median that the comparing detectors stand on, against its definition.

import fc from 'fast-check';
import t from 'tap';
import { median } from '../../agent/core/outlier/statistics.ts';

t.test('half is above and half below, whatever the values and their order, and they stay as they are', async (t) => {
  const few = fc.integer({ min: 0, max: 3 });
  const values = fc.array(fc.oneof(few, fc.double({ noNaN: true, min: -1e9, max: 1e9 })), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(values, (list) => {
      const before = [...list];
      const sorted = [...list].sort((a, b) => a - b);
      const middle = sorted.length >> 1;
      const upper = sorted[middle] ?? Number.NaN;
      const expected = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
      t.ok(Object.is(median(list) + 0, expected + 0), `${median(list)} of ${list}`);
      t.same(list, before);
    }),
    { numRuns: 500 },
  );
  t.ok(Number.isNaN(median([])));
});
