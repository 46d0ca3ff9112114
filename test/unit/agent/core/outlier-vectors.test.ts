// The published numbers of outlier detection: where mean and deviation go blind, where the median does not, and how often
// healthy endpoints are taken for bad ones.

import t from 'tap';
import { LatencyWindow } from '../../../../agent/core/outlier/latency-window.ts';
import {
  belowThreshold,
  failingOften,
  isSignificant,
  type RateSample,
  robustScores,
  standingOut,
  successRateThreshold,
} from '../../../../agent/core/outlier/rates.ts';
import { findSlow } from '../../../../agent/core/outlier/slowness.ts';
import { wilsonInterval } from '../../../../agent/core/outlier/statistics.ts';
import { ejectionLimit } from '../../../../agent/core/outlier/sweep.ts';
import { seededRandom } from '../../../support/seeded-random.ts';

function sample(failures: number, total = 100): RateSample {
  return { failures, total };
}

function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

/** `bad` endpoints that fail half of 100 requests, and `good` ones that never do. */
function mixed(bad: number, good: number): RateSample[] {
  return [...Array.from({ length: bad }, () => sample(50)), ...Array.from({ length: good }, () => sample(0))];
}

function binomial(total: number, share: number, random: () => number): number {
  let hits = 0;
  for (let n = 0; n < total; n++) if (random() < share) hits++;
  return hits;
}

t.test('success rate: mean − 1.9 deviations', async (t) => {
  const cases: readonly [string, readonly number[], number, number][] = [
    ['one of five at 50 %', [50, 100, 100, 100, 100], 52, 1],
    ['two of five at 50 %', [50, 50, 100, 100, 100], 33.5, 0],
    ['three of ten at 50 %', [50, 50, 50, 100, 100, 100, 100, 100, 100, 100], 41.5, 0],
    ['one dead of three', [0, 100, 100], -22.9, 0],
    ['one dead of four', [0, 100, 100, 100], -7.3, 0],
    ['one dead of five', [0, 100, 100, 100, 100], 4, 1],
  ];
  for (const [name, rates, expected, fired] of cases) {
    t.equal(round(successRateThreshold(rates, 1900).threshold), expected, name);
    const samples = rates.map((rate) => sample(100 - rate));
    t.equal(belowThreshold(samples, 1900).length, fired, `${name}: ${fired} fired`);
  }
  const { mean, deviation } = successRateThreshold([50, 100, 100, 100, 100], 1900);
  t.same([mean, deviation], [90, 20]);
  t.same(
    belowThreshold(
      [4, 0, 0, 0, 0].map((failures) => sample(failures)),
      1900,
    ),
    [],
    'too little to be sure of',
  );
});

t.test('robust success rate: bad endpoints do not hide each other', async (t) => {
  for (const [bad, good, z] of [
    [2, 3, 10.6],
    [3, 7, 10.6],
    [4, 5, 8.4],
  ] as const) {
    const samples = mixed(bad, good);
    if (bad < 4) t.equal(round(robustScores(samples)[0] ?? 0), z, `${bad} of ${bad + good}`);
    t.same(
      standingOut(samples),
      Array.from({ length: bad }, (_, at) => at),
      `${bad} of ${bad + good} are found`,
    );
  }
  t.same(standingOut(mixed(3, 2)), [], 'a bad majority is the service, and its healthy endpoints are left alone');
  const few = [0, 1, 0, 2, 0].map((failures) => sample(failures, 10));
  t.equal(round(Math.max(...robustScores(few)), 2) > 3.4, true, 'the score alone would fire at ten requests');
  t.same(standingOut(few), [], 'ten requests prove nothing');
});

t.test('failure percentage: at the threshold and above', async (t) => {
  t.same(failingOften([sample(84), sample(85), sample(100), sample(0)], 85), [1, 2]);
});

t.test('ceiling: Envoy ejects nothing below ten endpoints at 10 %, here one always may', async (t) => {
  const envoy = (n: number): number => Math.floor((10 * n) / 100);
  for (const [n, theirs] of [
    [3, 0],
    [5, 0],
    [9, 0],
    [10, 1],
    [11, 1],
    [20, 2],
  ] as const) {
    t.equal(envoy(n), theirs, `Envoy, ${n} endpoints`);
    t.equal(ejectionLimit(n, 10), Math.max(1, theirs), `${n} endpoints`);
  }
});

t.test('Wilson interval', async (t) => {
  t.same(wilsonInterval(0, 0), { lower: 0, upper: 1 });
  const { lower, upper } = wilsonInterval(50, 100);
  t.same([round(lower, 3), round(upper, 3)], [0.375, 0.625]);
  t.equal(wilsonInterval(0, 100).lower, 0);
  t.equal(round(wilsonInterval(100, 100).upper, 6), 1);
  t.notOk(isSignificant(sample(5), sample(2, 400)));
});

t.test('uniform noise of 0 to 3 % never stands out', async (t) => {
  const samples = [0, 1, 1, 2, 3].map((failures) => sample(failures));
  t.equal(round(Math.max(...robustScores(samples)), 2), 1.12);
  t.same(standingOut(samples), []);
  t.same(belowThreshold(samples, 1900), []);
});

t.test('healthy endpoints with the same failure rate: fewer than 1 ejection in 10,000 endpoint-windows', async (t) => {
  const random = seededRandom(20_260_401);
  const found: Record<string, number> = {};
  const windows: Record<string, number> = {};
  for (const size of [3, 5, 10, 30]) {
    for (const share of [0.001, 0.01, 0.03, 0.1, 0.3]) {
      for (const total of [20, 100, 400]) {
        for (let run = 0; run < Math.ceil(1_500 / size); run++) {
          const samples = Array.from({ length: size }, () => sample(binomial(total, share, random), total));
          windows.robust = (windows.robust ?? 0) + size;
          found.robust = (found.robust ?? 0) + standingOut(samples).length;
          if (size < 5 || total < 100) continue;
          windows.mean = (windows.mean ?? 0) + size;
          found.mean = (found.mean ?? 0) + belowThreshold(samples, 1900).length;
        }
      }
    }
  }
  for (const detector of ['robust', 'mean']) {
    const rate = (found[detector] ?? 0) / (windows[detector] ?? 0);
    t.comment(`${detector}: ${found[detector]} of ${windows[detector]} endpoint-windows`);
    t.ok(rate < 1e-4, `${detector}: ${found[detector]} of ${windows[detector]} endpoint-windows`);
  }
});

t.test('bad endpoints of every minority are found through binomial noise', async (t) => {
  const random = seededRandom(7);
  for (const [bad, size] of [
    [1, 3],
    [2, 5],
    [3, 10],
    [4, 9],
  ] as const) {
    let found = 0;
    let wrong = 0;
    const runs = 500;
    for (let run = 0; run < runs; run++) {
      const samples = Array.from({ length: size }, (_, at) => sample(binomial(100, at < bad ? 0.4 : 0.01, random)));
      for (const at of standingOut(samples))
        if (at < bad) found++;
        else wrong++;
    }
    t.comment(`${bad} of ${size}: ${found} of ${bad * runs} found, ${wrong} wrong`);
    t.ok(found >= 0.95 * bad * runs, `${bad} of ${size}: ${found} of ${bad * runs}`);
    t.ok(wrong <= runs * size * 1e-3, `${wrong} healthy ones`);
  }
});

/** Latencies of three shapes, ms. */
const SHAPES: Readonly<Record<string, (random: () => number) => number>> = {
  exponential: (random) => 2 - 50 * Math.log(1 - random()),
  lognormal: (random) => 40 * Math.exp(Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())),
  'one in twelve slow': (random) => (random() < 1 / 12 ? 500 : 10) * (0.8 + 0.4 * random()),
  'one in ten slow': (random) => (random() < 1 / 10 ? 500 : 10) * (0.8 + 0.4 * random()),
};

function windowOf(samples: number, draw: () => number): LatencyWindow {
  const window = new LatencyWindow();
  for (let n = 0; n < samples; n++) window.record(draw());
  return window;
}

t.test('LatencyWindow', async (t) => {
  const window = new LatencyWindow();
  t.equal(window.quantile(0.9), 0);
  for (let ms = 1; ms <= 1000; ms++) window.record(ms);
  t.ok(Math.abs(window.quantile(0.9) - 900) < 90, `${window.quantile(0.9)}`);
  t.ok(Math.abs(window.countAbove(500) - 500) < 100, `${window.countAbove(500)}`);
  window.record(0);
  window.record(1e9);
  t.equal(window.total, 1002);
  window.clear();
  t.same([window.total, window.quantile(0.5), window.countAbove(1)], [0, 0, 0]);
});

t.test('latency: alike endpoints are not slow, whatever the shape', async (t) => {
  const random = seededRandom(99);
  let slow = 0;
  let windows = 0;
  for (const [shape, draw] of Object.entries(SHAPES)) {
    for (const size of [3, 5, 10]) {
      for (const samples of [30, 100, 300]) {
        let here = 0;
        for (let run = 0; run < Math.ceil(600 / size); run++) {
          const group = Array.from({ length: size }, () => windowOf(samples, () => draw(random)));
          here += findSlow(group, 20).length;
          windows += size;
        }
        if (here > 0) t.comment(`${shape}, ${size} endpoints, ${samples} samples: ${here} slow windows`);
        slow += here;
      }
    }
  }
  t.comment(`${slow} slow of ${windows} endpoint-windows; halving takes two in a row, ejection four`);
  t.ok(slow / windows < 1e-3, `${slow} of ${windows}`);
});

t.test('latency: one endpoint three times as slow is found', async (t) => {
  const random = seededRandom(3);
  for (const [shape, draw] of Object.entries(SHAPES)) {
    let found = 0;
    let wrong = 0;
    for (let run = 0; run < 100; run++) {
      const group = Array.from({ length: 5 }, (_, at) => windowOf(200, () => draw(random) * (at === 0 ? 3 : 1)));
      for (const { at } of findSlow(group, 20)) at === 0 ? found++ : wrong++;
    }
    t.comment(`${shape}: ${found} of 100 found, ${wrong} wrong`);
    if (!shape.includes('slow')) t.ok(found >= 70, `${shape}: ${found} of 100`);
    t.ok(wrong <= 1, `${shape}: ${wrong}`);
  }
  const fast = [1, 1, 1, 1, 9].map((ms) => windowOf(100, () => ms));
  t.same(findSlow(fast, 20), [], 'nine milliseconds instead of one are not worth an ejection');
});
