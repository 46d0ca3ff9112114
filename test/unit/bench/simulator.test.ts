// A small run of every experiment: the order that the full tables show must hold.

import t from 'tap';
import { compare, fullest, hashFigures } from '../../../bench/simulator/experiments.ts';
import { quantile, successWithin } from '../../../bench/simulator/fleet.ts';
import { amplification, attemptsInOutage, envoyAllows, GrpcThrottle } from '../../../bench/simulator/retry-budgets.ts';
import { blackHole, busyFleet, slowReplica } from '../../../bench/simulator/workloads.ts';

const SEED = 7;

function byName(comparisons: ReturnType<typeof compare>) {
  return (name: string) => {
    const found = comparisons.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no ${name}`);
    return found;
  };
}

t.test('one slow replica of eleven: round robin < least request < peak EWMA, as Linkerd published', async (t) => {
  const of = byName(compare(slowReplica(20), SEED));
  const success = (name: string) => successWithin(of(name).result, 1000);
  t.ok(Math.abs(success('roundRobin') - (1 - 1 / 22)) < 0.001, `${success('roundRobin')}`);
  t.ok(success('leastRequest') > 0.985, `${success('leastRequest')}`);
  t.ok(success('peakEwma') > success('leastRequest'));
  t.ok(success('leastRequest') > success('roundRobin'));
  t.ok(success('peakEwma, with ejection') >= success('peakEwma'));
});

t.test('a replica that fails fast: counting alone is drawn to it, the default is not, and ejects it', async (t) => {
  const of = byName(compare(blackHole(10), SEED));
  const success = (name: string) => successWithin(of(name).result, 1000);
  t.ok(success('leastRequest') < success('roundRobin'));
  t.ok(success('Envoy least request') < success('roundRobin'));
  t.ok(success('peakEwma') > 0.95);
  t.ok(success('peakEwma, with ejection') > 0.999);
  t.ok(of('peakEwma, with ejection').ejections >= 1);
  t.equal(of('peakEwma').ejections, 0);
});

t.test('busy replicas: looking at two beats looking at one', async (t) => {
  const of = byName(compare(busyFleet(3), SEED));
  const tail = (name: string) => quantile(of(name).result, 0.99);
  t.ok(tail('leastRequest') < tail('random'));
  t.ok(tail('peakEwma') < tail('random'));
});

t.test('the fullest of n replicas: two choices are far below one, and the same seed gives the same', async (t) => {
  const mean = (loads: readonly number[]) => loads.reduce((sum, load) => sum + load, 0) / loads.length;
  const one = fullest(1024, 1, 20, SEED);
  const two = fullest(1024, 2, 20, SEED);
  const three = fullest(1024, 3, 20, SEED);
  t.ok(mean(one) > 4.5 && mean(one) < 7, `${one}`);
  t.ok(mean(two) < 4 && mean(two) > 2, `${two}`);
  t.ok(mean(three) <= mean(two));
  t.same(fullest(1024, 2, 20, SEED), two);
});

t.test('Maglev is even within 1 % and moves little; the ring moves nothing and is less even', async (t) => {
  const maglev = hashFigures('maglev', 100, 65_537, [0.01, 0.1]);
  const ring = hashFigures('ring', 100, 0, [0.01, 0.1]);
  t.ok(maglev.most < 1.01 && maglev.least > 0.99, `${maglev.least} to ${maglev.most}`);
  t.ok(ring.most > 1.05 && ring.most < 1.5, `${ring.most}`);
  for (const { moved } of maglev.disruption) t.ok(moved > 0 && moved < 0.05, `${moved}`);
  for (const { moved } of ring.disruption) t.equal(moved, 0);
});

t.test(
  'retry budgets: Envoy allows 12 of 60 active and 3 of 10; gRPC is blocked after 5 failures of 10 tokens',
  async (t) => {
    t.equal(envoyAllows(60), 12);
    t.equal(envoyAllows(10), 3);
    const throttle = new GrpcThrottle(10, 0.1);
    for (let failure = 1; failure <= 5; failure++) {
      t.equal(throttle.isAllowed, true, `before failure ${failure}`);
      throttle.record(false);
    }
    t.equal(throttle.tokens, 5);
    t.equal(throttle.isAllowed, false, 'more than half is needed');
    for (let success = 0; success < 200; success++) throttle.record(true);
    t.equal(throttle.tokens, 10, 'never more than the most');
  },
);

t.test('amplification: three tries through three layers are 27 times the load, 20 % budgets 1.728', async (t) => {
  t.equal(amplification(3, 3), 27);
  t.ok(Math.abs(amplification(1.2, 3) - 1.728) < 1e-12);
  t.equal(attemptsInOutage('none', 100, 20, 50), 3);
  const own = attemptsInOutage('outrigger', 1000, 60, 50);
  t.ok(own > 1.19 && own < 1.23, `${own}: 20 %, 10 a second, and what was in reserve`);
  t.ok(attemptsInOutage('gRPC', 100, 20, 50) < 1.01);
  t.ok(attemptsInOutage('Envoy', 100, 20, 50) < 1.65);
});
