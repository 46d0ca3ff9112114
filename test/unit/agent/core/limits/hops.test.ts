// The contract across hops: what a request says, what an agent remembers of it, and when a second copy is due.

import t from 'tap';
import { retryDelayMs } from '../../../../../agent/core/back-off.ts';
import { HedgeDelay } from '../../../../../agent/core/retry/hedge-delay.ts';
import { Hops } from '../../../../../agent/core/retry/hops.ts';
import { readSteering } from '../../../../../agent/proxy/steering.ts';
import { seededRandom } from '../../../../support/seeded-random.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';

t.test('steering is read from fields in any order, and odd values say nothing', async (t) => {
  const read = (...fields: string[]) => readSteering(fields);
  t.same(read(), {
    requestId: '',
    traceId: '',
    deadlineMs: Number.POSITIVE_INFINITY,
    trafficClass: 'normal',
    hasIdempotencyKey: false,
    wantsWhy: false,
  });
  t.match(
    read(
      'x-outrigger-class',
      'critical',
      'traceparent',
      `00-${TRACE}-b7ad6b7169203331-01`,
      'idempotency-key',
      'k',
      'x-request-id',
      'r-1',
    ),
    { trafficClass: 'critical', traceId: TRACE, hasIdempotencyKey: true, requestId: 'r-1' },
  );
  t.equal(read('a', 'x-request-id', 'b', 'c').requestId, '', 'a value that spells a name is not a name');
  t.equal(read('x-request-id', 'a b').requestId, '');
  t.equal(read('x-outrigger-explain', '1').wantsWhy, true);
  t.equal(read('traceparent', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`).traceId, '', 'an id of zeros is none');
  for (const [name, value, expected] of [
    ['x-outrigger-deadline', '250', 250],
    ['x-outrigger-deadline', '-3', -3],
    ['x-outrigger-deadline', '1e3', Number.POSITIVE_INFINITY],
    ['x-outrigger-deadline', '', Number.POSITIVE_INFINITY],
    ['x-outrigger-deadline', '9'.repeat(30), Number.POSITIVE_INFINITY],
    ['x-envoy-expected-rq-timeout-ms', '40', 40],
    ['grpc-timeout', '2S', 2000],
    ['grpc-timeout', '100m', 100],
    ['grpc-timeout', '5000u', 5],
    ['grpc-timeout', '123456789S', Number.POSITIVE_INFINITY],
    ['grpc-timeout', '5x', Number.POSITIVE_INFINITY],
  ] as const) {
    t.equal(read(name, value).deadlineMs, expected, `${name}: ${value}`);
  }
  t.equal(read('x-outrigger-deadline', '250', 'grpc-timeout', '100m').deadlineMs, 100, 'the shorter one');
});

t.test('Hops joins calls to the request they are made for, by trace or by request id', async (t) => {
  const hops = new Hops();
  const first = hops.enter(TRACE, 'r-1', 1000, 'critical');
  t.equal(hops.find(TRACE, 'other'), first);
  t.equal(hops.find('', 'r-1'), first);
  t.equal(hops.find('', 'r-2'), null);
  const second = hops.enter(TRACE, 'r-2', 3000, 'normal');
  t.equal(second, first, 'one trace, one entry');
  t.match(first, { deadlineAt: 3000, trafficClass: 'normal' });
  if (first === null || second === null) return;
  hops.leave(first, TRACE, 'r-1');
  t.equal(hops.find(TRACE, ''), first, 'the other one is still there');
  hops.leave(second, TRACE, 'r-2');
  t.equal(hops.size, 0, 'nothing is kept');
});

t.test('Hops remembers a bounded number, and never less than nothing', async (t) => {
  const hops = new Hops();
  let remembered = 0;
  for (let request = 0; request < 25_000; request++) {
    if (hops.enter('', `r-${request}`, 0, 'normal') !== null) remembered++;
  }
  t.equal(remembered, 20_000);
  t.equal(hops.size, 20_000);
});

t.test('HedgeDelay is the percentile of the last turn, to a tenth', async (t) => {
  const delay = new HedgeDelay();
  t.equal(delay.delayMs(95, 1, 0), null, 'nothing is known');
  for (let answer = 1; answer <= 100; answer++) delay.record(answer, answer);
  t.equal(delay.delayMs(95, 1, 200), null, 'the first turn is under way');
  const p95 = delay.delayMs(95, 1, 3100) ?? 0;
  t.ok(p95 >= 95 && p95 <= 105, `${p95}`);
  const p50 = delay.delayMs(50, 1, 3100) ?? 0;
  t.ok(p50 >= 50 && p50 <= 56, `${p50}`);
  t.equal(delay.delayMs(50, 80, 3100), 80, 'not before the least delay');
  t.equal(delay.delayMs(95, 1, 20_000), null, 'what was long ago says nothing');
  for (let answer = 0; answer < 19; answer++) delay.record(5, 20_000);
  t.equal(delay.delayMs(95, 1, 23_500), null, 'nor do a few answers');
  const odd = new HedgeDelay();
  for (const value of [Number.NaN, -5, 0, Number.POSITIVE_INFINITY, 1e12]) {
    for (let answer = 0; answer < 10; answer++) odd.record(value, 0);
  }
  const found = odd.delayMs(99, 1, 3001) ?? 0;
  t.ok(found > 0 && found < 12_000, `${found}`);
});

t.test('back-off before retries 1 to 4 of a request: up to 25, 75, 175, 250 ms', async (t) => {
  const random = seededRandom(1);
  for (const [retry, most] of [
    [1, 25],
    [2, 75],
    [3, 175],
    [4, 250],
    [99, 250],
  ] as const) {
    const waits = Array.from({ length: 2000 }, () => retryDelayMs(retry, random, { baseMs: 25, maxMs: 250 }));
    t.ok(Math.max(...waits) <= most && Math.max(...waits) > most * 0.98, `${retry}: ${Math.max(...waits)}`);
    t.ok(Math.min(...waits) >= 0 && Math.min(...waits) < most * 0.02, 'full jitter');
  }
});
