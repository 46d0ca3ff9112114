import t from 'tap';
import { applyDecision } from '../../../../agent/core/outlier/apply.ts';
import { beginAttempt, endAttempt } from '../../../../agent/core/outlier/record.ts';
import { decideSweep } from '../../../../agent/core/outlier/sweep.ts';
import { describeSelf, isOwnFailure, Stalls, TICK_MS } from '../../../../agent/core/self/stalls.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointViews, outcome, policyWith } from '../../../support/views.ts';

/** Ticks in good time from `from` up to and including `to`. */
function tickUntil(stalls: Stalls, from: number, to: number): void {
  for (let now = from; now <= to; now += TICK_MS) stalls.tick(now);
}

t.test('Stalls', async (t) => {
  t.test('takes a delay of its tick for a stall, and small ones for imprecision', async (t) => {
    const stalls = new Stalls();
    tickUntil(stalls, 0, 1000);
    stalls.tick(1029);
    t.same([stalls.count, stalls.totalMs, stalls.grade], [0, 0, 1]);
    stalls.tick(1849);
    t.same([stalls.count, stalls.totalMs], [1, 800]);
    t.equal(stalls.overlap(1000, 1849), 800);
    t.equal(stalls.overlap(1400, 1849), 449);
    t.equal(stalls.overlap(1100, 1200), 100);
    t.equal(stalls.overlap(1849, 1860), 0);
    t.equal(stalls.overlap(500, 1040), 0);
  });
  t.test('counts the stall that nobody has ticked after yet', async (t) => {
    const stalls = new Stalls();
    tickUntil(stalls, 0, 1000);
    t.equal(stalls.overlap(990, 1800), 780);
    t.equal(stalls.overlap(1500, 1800), 300);
    t.equal(new Stalls().overlap(0, 1000), 0, 'nothing is known before the first tick');
  });
  t.test('keeps the last 64 and sums those within the interval', async (t) => {
    const stalls = new Stalls();
    stalls.tick(0);
    for (let now = 100; now <= 20_000; now += 100) stalls.tick(now);
    t.equal(stalls.count, 200);
    t.equal(stalls.overlap(19_000, 20_000), 800);
    t.equal(stalls.overlap(0, 20_000), 64 * 80, 'older ones are forgotten');
  });
  t.test('becomes suspect and trusted again with hysteresis, and says so once', async (t) => {
    const stalls = new Stalls();
    const changes: string[] = [];
    let now = 0;
    const run = (ms: number, step: number): void => {
      for (const end = now + ms; now < end; now += step) {
        const change = stalls.tick(now);
        if (change !== null) changes.push(describeSelf(change, stalls.grade));
      }
    };
    run(5000, TICK_MS);
    run(10_000, 500);
    t.ok(stalls.isSuspect);
    run(4000, TICK_MS);
    t.ok(stalls.isSuspect, 'not yet');
    run(10_000, TICK_MS);
    t.notOk(stalls.isSuspect);
    run(10_000, TICK_MS + 40);
    t.notOk(stalls.isSuspect, 'a busy loop is no reason');
    t.equal(changes.length, 2);
    t.match(changes[0], /^this agent stood still for \d+ % of the last seconds: nobody is ejected/);
    t.match(changes[1], /^this agent runs freely again/);
  });
});

t.test('isOwnFailure()', async (t) => {
  const cases = [
    [outcome({ kind: 'timeout', latencyMs: 900, stalledMs: 450 }), true],
    [outcome({ kind: 'timeout', latencyMs: 900, stalledMs: 449 }), false],
    [outcome({ kind: 'connect_timeout', latencyMs: 900, stalledMs: 800 }), true],
    [outcome({ kind: 'reset', latencyMs: 900, stalledMs: 800 }), false],
    [outcome({ latencyMs: 900, stalledMs: 800 }), false],
    [outcome({ kind: 'timeout', latencyMs: 0 }), false],
  ] as const;
  for (const [end, expected] of cases) t.equal(isOwnFailure(end), expected, `${end.kind} ${end.stalledMs}`);
});

t.test('endAttempt() takes own stalls off latencies and judges nobody for them', async (t) => {
  const policy = policyWith();
  const [view] = endpointViews(1);
  if (view === undefined) throw new Error('no endpoint');
  const { stats } = view;
  beginAttempt(stats, 0);
  endAttempt(stats, outcome({ latencyMs: 805, stalledMs: 800 }), stats.epoch, policy, 805);
  t.equal(stats.ewmaMs, 5);
  for (let time = 0; time < 20; time++) {
    beginAttempt(stats, 900);
    t.notOk(endAttempt(stats, outcome({ kind: 'timeout', latencyMs: 900, stalledMs: 800 }), stats.epoch, policy, 900));
  }
  t.match(stats, { consecutiveLocalOrigin: 0, failures: 0, attempts: 21, penaltyMs: 0, ewmaMs: 5 });
});

/**
 * A loop that runs for 200 ms of every second. Requests go out while it runs, at 6 a ms to ten healthy endpoints that answer
 * in 50 ms; what the loop finds after standing still, its deadlines find first.
 */
function simulate(seconds: number, stalls: Stalls | null): { ejections: number; own: number } {
  const policy = policyWith();
  const views = endpointViews(...Array.from({ length: 10 }, () => 1));
  const random = seededRandom(5);
  let ejections = 0;
  let own = 0;
  let open: { index: number; epoch: number; sentAt: number }[] = [];
  let sent = 0;
  const sweep = (now: number): void => {
    for (const decision of decideSweep(views, policy, now, random, { isFrozen: stalls?.isSuspect ?? false })) {
      if (decision.kind === 'eject') ejections++;
      applyDecision(decision, now);
    }
  };
  for (let now = 0; now < seconds * 1000; now++) {
    const isRunning = now % 1000 < 200;
    if (!isRunning) continue;
    const ended = open.filter(({ sentAt }) => now - sentAt >= 50);
    open = open.filter(({ sentAt }) => now - sentAt < 50);
    for (const { index, epoch, sentAt } of ended) {
      const stats = views[index]?.stats;
      if (stats === undefined) continue;
      const latencyMs = now - sentAt;
      const stalledMs = stalls?.overlap(sentAt, now) ?? 0;
      const end = outcome({ kind: latencyMs >= 500 ? 'timeout' : 'response', latencyMs, stalledMs });
      if (isOwnFailure(end)) own++;
      if (endAttempt(stats, end, epoch, policy, now)) sweep(now);
    }
    // The tick comes after the deadlines: the worst order.
    if (now % TICK_MS === 0) stalls?.tick(now);
    if (now % 100 === 0) sweep(now);
    for (let n = 0; n < 6; n++) {
      const index = sent++ % views.length;
      const stats = views[index]?.stats;
      if (stats === undefined) continue;
      beginAttempt(stats, now);
      open.push({ index, epoch: stats.epoch, sentAt: now });
    }
  }
  return { ejections, own };
}

t.test('a loop blocked for 800 ms of every second ejects nobody, and many without knowing itself', async (t) => {
  const stalls = new Stalls();
  const { ejections, own } = simulate(30, stalls);
  t.equal(ejections, 0);
  t.ok(own > 1000, `${own} timeouts were its own`);
  t.ok(stalls.isSuspect);
  const control = simulate(30, null);
  t.comment(`control: ${control.ejections} ejections`);
  t.ok(control.ejections >= 5, `${control.ejections} ejections without: as many as the ceiling lets out`);
});

t.test(
  'while the agent is suspect nobody new is ejected, and afterwards the same run of failures counts',
  async (t) => {
    const policy = policyWith();
    const views = endpointViews(1, 1);
    const [view] = views;
    if (view === undefined) throw new Error('no endpoint');
    for (let time = 0; time < 5; time++) {
      beginAttempt(view.stats, 0);
      endAttempt(view.stats, outcome({ status: 503 }), view.stats.epoch, policy, 0);
    }
    t.same(decideSweep(views, policy, 0, seededRandom(1), { isFrozen: true }), []);
    t.match(decideSweep(views, policy, 0, seededRandom(1), { isFrozen: false }), [{ kind: 'eject' }]);
  },
);
