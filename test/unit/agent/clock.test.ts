import t from 'tap';
import { createEpochOffset } from '../../../agent/clock.ts';

t.test('one moment has one date, until the wall clock is set', async (t) => {
  let now = 100.25;
  let epochMs = 1_000_000;
  const offset = createEpochOffset({ now: () => now, epochMs: () => epochMs });
  const first = offset();
  t.equal(first, 999_899.75);
  for (let step = 0; step < 200; step++) {
    now += 0.37;
    epochMs = 1_000_000 + Math.floor(now - 100.25);
    t.equal(offset(), first);
  }
  epochMs += 3_600_000;
  const later = offset();
  t.ok(Math.abs(later - first - 3_600_000) <= 1, 'an hour was added');
  now += 5000;
  epochMs += 5000;
  t.equal(offset(), later);
  epochMs -= 7_200_000;
  t.ok(Math.abs(offset() - first + 3_600_000) <= 1, 'and two were taken away');
});
