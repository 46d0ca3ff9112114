// Rate limits, admission control, the adaptive limit, classes and the queue, in virtual time.

import t from 'tap';
import { AdmissionControl, rejectProbability } from '../../../../../agent/core/limits/admission.ts';
import { askGate, callNext } from '../../../../../agent/core/limits/gate.ts';
import { GradientLimit, nextLimit } from '../../../../../agent/core/limits/gradient.ts';
import { PendingQueue, type Waiter } from '../../../../../agent/core/limits/pending-queue.ts';
import { TokenBucket } from '../../../../../agent/core/limits/token-bucket.ts';
import {
  lesserClass,
  limitOfClass,
  readTrafficClass,
  type TrafficClass,
} from '../../../../../agent/core/limits/traffic-class.ts';
import { configureStats } from '../../../../../agent/core/view.ts';
import { seededRandom } from '../../../../support/seeded-random.ts';
import { endpointViews, policyWith, viewOf } from '../../../../support/views.ts';

const never = (): number => {
  throw new Error('nothing is drawn here');
};

t.test('gradient: a limit of 100 with a best of 10 ms and a buffer of 25 % goes to 135, 110, 60', async (t) => {
  t.equal(nextLimit(100, 10, 10, 25), 135);
  t.equal(nextLimit(100, 10, 12.5, 25), 110);
  t.equal(nextLimit(100, 10, 25, 25), 60);
  t.equal(nextLimit(100, 10, 1000, 25), 60, 'never by more than half');
  t.equal(nextLimit(100, 10, 0.001, 25), 210, 'never by more than double');
});

const ADAPTIVE = { isEnabled: true, initialLimit: 20, minLimit: 4, maxLimit: 100, bufferPercent: 25, windowMs: 1000 };

function gradientOf(changes: Partial<typeof ADAPTIVE> = {}): GradientLimit {
  const limit = new GradientLimit();
  limit.configure(policyWith({ limits: { adaptiveConcurrency: { ...ADAPTIVE, ...changes } } }));
  return limit;
}

/** One window of answers, all alike. */
function window(limit: GradientLimit, from: number, latencyMs: number, inFlight: number, isDropped = false): void {
  for (let answer = 0; answer < 20; answer++) limit.record(latencyMs, false, inFlight, from + answer);
  if (isDropped) limit.record(0, true, inFlight, from + 20);
  limit.record(latencyMs, false, inFlight, from + 1001);
}

t.test('GradientLimit finds where an application begins to queue', async (t) => {
  const limit = gradientOf();
  t.equal(limit.limit, 20);
  // An application with room for 50: below it answers in 10 ms, above it in proportion.
  for (let turn = 0; turn < 200; turn++) {
    const inFlight = limit.limit;
    window(limit, turn * 2000, 10 * Math.max(1, inFlight / 50), inFlight);
  }
  t.ok(limit.limit > 50 && limit.limit < 85, `${limit.limit} with room for 50 and a buffer of 25 %`);
  t.ok(limit.bestMs >= 10 && limit.bestMs < 10.5, `${limit.bestMs}`);
});

t.test('GradientLimit: bounds, drops, idleness, few samples, odd numbers', async (t) => {
  const low = gradientOf();
  window(low, 0, 10, 20);
  for (let turn = 1; turn < 20; turn++) window(low, turn * 2000, 1000, 20);
  t.ok(low.limit >= 4 && low.limit < 12, `${low.limit} does not fall below its minimum`);
  const high = gradientOf();
  for (let turn = 0; turn < 50; turn++) window(high, turn * 2000, 10, high.limit);
  t.equal(high.limit, 100, 'nor rises above its maximum');
  const idle = gradientOf();
  for (let turn = 0; turn < 50; turn++) window(idle, turn * 2000, 10, 2);
  t.equal(idle.limit, 20, 'a limit of which less than half is used proves nothing');
  const dropping = gradientOf();
  window(dropping, 0, 10, 2, true);
  t.equal(dropping.limit, 18, 'an answer that never came costs a tenth');
  const few = gradientOf();
  for (let answer = 0; answer < 5; answer++) few.record(500, false, 20, answer * 1000);
  t.equal(few.limit, 20, 'too few answers say nothing');
  const odd = gradientOf();
  for (const value of [Number.NaN, -1, Number.POSITIVE_INFINITY, 0]) {
    for (let answer = 0; answer < 30; answer++) odd.record(value, false, 20, 5000 - answer);
    odd.record(value, false, 20, 1e9);
    t.ok(odd.limit >= 4 && odd.limit <= 100, `${value}: ${odd.limit}`);
  }
});

t.test('GradientLimit believes within 30 windows that the work has grown heavier', async (t) => {
  const limit = gradientOf();
  window(limit, 0, 10, 20);
  for (let turn = 1; turn < 10; turn++) window(limit, turn * 1100, 30, limit.limit);
  const atFirst = limit.limit;
  for (let turn = 10; turn < 80; turn++) window(limit, turn * 1100, 30, limit.limit);
  t.ok(atFirst < 20 && limit.limit > 90, `${atFirst}, then ${limit.limit}`);
});

t.test('admission: of 1000 with 960, 950, 900, 500, 0 successes 0, 0, .053, .473, .999 are refused', async (t) => {
  const settings = {
    isEnabled: true,
    successThresholdPercent: 95,
    aggression: 1,
    windowMs: 30_000,
    maxRejectPercent: 100,
    minRequestsPerSecond: 0,
  };
  for (const [successes, expected] of [
    [960, 0],
    [950, 0],
    [900, 0.053],
    [500, 0.473],
    [0, 0.999],
  ] as const) {
    const found = rejectProbability(1000, successes, settings);
    t.ok(Math.abs(found - expected) < 0.0006, `${successes}: ${found}`);
  }
  t.equal(rejectProbability(1000, 0, { ...settings, maxRejectPercent: 80 }), 0.8, 'never more than the cap');
  t.ok(rejectProbability(1000, 500, { ...settings, aggression: 2 }) > 0.68, 'more with more aggression');
  t.equal(rejectProbability(0, 0, settings), 0);
});

t.test('AdmissionControl forgets after its window, and needs a rate to judge by', async (t) => {
  const admission = new AdmissionControl();
  t.equal(admission.rejectProbability(0), 0, 'nothing is refused before it is configured');
  const policy = policyWith({ admissionControl: { isEnabled: true, windowMs: 10_000, minRequestsPerSecond: 5 } });
  admission.configure(policy);
  for (let request = 0; request < 49; request++) admission.record(false, request * 10);
  t.equal(admission.rejectProbability(500), 0, '49 requests in 10 s are fewer than 5 a second');
  admission.record(false, 500);
  t.equal(admission.rejectProbability(500), 0.8);
  t.equal(admission.rejectProbability(9000), 0.8);
  t.equal(admission.rejectProbability(11_000), 0, 'all forgotten');
  admission.record(false, 5);
  t.ok(admission.rejectProbability(-1) <= 0.8, 'time that runs backwards does no harm');
});

t.test('TokenBucket lets burst + rate × time through, at most', async (t) => {
  const bucket = new TokenBucket();
  const policy = (requests: number, burst: number) => policyWith({ rateLimit: { requests, perMs: 1000, burst } });
  bucket.configure(policy(10, 5));
  const take = (now: number): number => {
    let taken = 0;
    while (bucket.tryTake(now)) taken++;
    return taken;
  };
  t.equal(take(0), 5, 'full at first');
  t.equal(bucket.msUntilNext(0), 100);
  t.equal(take(99), 0);
  t.equal(take(100), 1);
  t.equal(take(10_000), 5, 'never more than the burst');
  t.equal(take(5_000), 0, 'time that runs backwards fills nothing');
  bucket.configure(policy(10, 8));
  t.equal(take(10_000), 3, 'a raised burst works at once');
  bucket.configure(policy(0, 0));
  t.equal(bucket.msUntilNext(1e9), Number.POSITIVE_INFINITY);
});

t.test('classes: unknown is normal, the lesser of two counts, a sheddable request has a share', async (t) => {
  t.same(['critical', 'sheddable', 'x', ''].map(readTrafficClass), ['critical', 'sheddable', 'normal', 'normal']);
  t.equal(lesserClass('critical', 'sheddable'), 'sheddable');
  t.equal(lesserClass('normal', 'critical'), 'normal');
  t.equal(lesserClass('critical', 'critical'), 'critical');
  t.equal(limitOfClass(10, 'normal', 80), 10);
  t.equal(limitOfClass(10, 'sheddable', 80), 8);
  t.equal(limitOfClass(10, 'sheddable', 0), 1, 'one at least');
});

function waiter(log: string[], name: string, trafficClass: TrafficClass = 'normal', hasPlace = false): Waiter {
  return { trafficClass, hasPlace, onRoom: () => log.push(name) };
}

t.test('PendingQueue: critical first, then in order; who gave up is gone', async (t) => {
  const queue = new PendingQueue();
  const log: string[] = [];
  const [a, b, c] = [waiter(log, 'a'), waiter(log, 'b'), waiter(log, 'c', 'critical')];
  for (const one of [a, b, c]) queue.add(one);
  t.equal(queue.size, 3);
  t.equal(queue.first(), c);
  queue.remove(c);
  t.equal(queue.first(), a);
  queue.remove(a);
  queue.remove(a);
  t.equal(queue.first(), b);
  queue.remove(b);
  t.equal(queue.first(), null);
});

t.test('the gate: limit, queue, classes', async (t) => {
  const view = viewOf(endpointViews(1, 1), { limits: { maxConcurrentRequests: 10, maxPendingRequests: 1 } });
  const ask = (trafficClass: TrafficClass = 'normal') => askGate(view, trafficClass, false, 0, never);
  view.stats.inFlight = 9;
  t.equal(ask().kind, 'open');
  t.match(ask('sheddable'), { kind: 'closed', reason: 'upstream_overflow' }, 'more than 80 % are in use');
  view.stats.inFlight = 10;
  t.equal(ask().kind, 'wait');
  view.stats.pending.add(waiter([], 'a'));
  t.match(ask(), { kind: 'closed', message: 'svc has 10 requests in flight and 1 waiting, which is the limit' });
  view.stats.inFlight = 5;
  t.equal(ask().kind, 'closed', 'nobody overtakes who waits');
  t.equal(ask('critical').kind, 'open', 'but a critical request');
});

t.test('the gate: rate limit and admission control', async (t) => {
  const limited = viewOf(endpointViews(1), { rateLimit: { requests: 1, perMs: 1000, burst: 1 } });
  configureStats(limited.stats, limited.policy);
  t.equal(askGate(limited, 'critical', false, 0, never).kind, 'open');
  t.match(askGate(limited, 'critical', false, 250, never), { reason: 'rate_limited', retryAfterMs: 750 });
  const failing = viewOf(endpointViews(1), { admissionControl: { isEnabled: true, minRequestsPerSecond: 0 } });
  configureStats(failing.stats, failing.policy);
  for (let request = 0; request < 1000; request++) failing.stats.admission.record(request % 2 === 0, 0);
  const random = seededRandom(3);
  let refused = 0;
  for (let request = 0; request < 10_000; request++) {
    const verdict = askGate(failing, 'normal', false, 0, random);
    if (verdict.kind === 'closed' && verdict.reason === 'admission_rejected') refused++;
  }
  t.ok(Math.abs(refused / 10_000 - 0.473) < 0.02, `${refused} of 10,000`);
  t.equal(askGate(failing, 'critical', false, 0, never).kind, 'open', 'critical requests are not refused');
  t.equal(askGate(failing, 'normal', true, 0, never).kind, 'open', 'nor is anything before the own application');
});

t.test('callNext gives a free place to one waiter, and a free connection to one that has a place', async (t) => {
  const view = viewOf(endpointViews(1, 1), { limits: { maxConcurrentRequests: 3 } });
  const log: string[] = [];
  for (const one of [waiter(log, 'a', 'normal', true), waiter(log, 'b', 'normal', true), waiter(log, 'c')]) {
    view.stats.pending.add(one);
  }
  view.stats.inFlight = 2;
  callNext(view, false);
  t.same(log, ['a'], 'one connection became free, not two');
  callNext(view, false);
  t.same(log.slice(0, 2), ['a', 'b']);
  t.ok(log.includes('c'), 'there is room below the limit');
});
