// Error budgets in virtual time: when an outage pages, what is left, what survives a restart.

import t from 'tap';
import { blameOf, illMinority, NO_ACCOUNTS } from '../../../control-plane/core/slo/accounts.ts';
import { Arrivals } from '../../../control-plane/core/slo/arrivals.ts';
import { type AlertChange, LEAST_BAD_EVENTS, SloBook } from '../../../control-plane/core/slo/book.ts';
import { composedOf, inParallel, inSeries } from '../../../control-plane/core/slo/composed.ts';
import { BASE_LIMIT, DATED_FOR_MS } from '../../../control-plane/core/slo/part.ts';
import { DAY_MS, EventRing } from '../../../control-plane/core/slo/ring.ts';
import { sloTarget } from '../../support/slo-target.ts';

const START = 1_700_000_123_456;
const HOUR_MS = 3_600_000;
const TICK_MS = 2_000;
const bad = (service: number) => ({ ...NO_ACCOUNTS, service });
const bookOf = (objective: number, windowMs = 30 * DAY_MS) => new SloBook(() => sloTarget({ objective, windowMs }));

/** Ten requests a second, reported every two seconds. */
function run(book: SloBook, fromMs: number, toMs: number, failingShare: number): AlertChange[] {
  const changes: AlertChange[] = [];
  for (let at = fromMs; at < toMs; at += TICK_MS) {
    const failed = Math.round(20 * failingShare);
    book.record('payments', 'outbound', 20 - failed, bad(failed), START + at);
    changes.push(...book.evaluate(START + at));
  }
  return changes;
}

t.test('a total outage at 99.9 % pages after 52 s, give or take a tick, and resolves after it', async (t) => {
  const book = bookOf(0.999);
  t.same(run(book, 0, 4 * HOUR_MS, 0), [], 'nothing while all is well');
  const outage = run(book, 4 * HOUR_MS, 4 * HOUR_MS + 70_000, 1);
  const page = outage.find(({ alert }) => alert === 'burn_1h');
  const afterMs = (page?.atEpochMs ?? 0) - START - 4 * HOUR_MS;
  t.equal(page?.state, 'firing');
  t.equal(page?.severity, 'page');
  // The hour's window is between 59 and 60 minutes long, the reports come two seconds apart.
  t.ok(afterMs >= 52_000 - 1_000 - TICK_MS && afterMs <= 52_000 + TICK_MS, `paged after ${afterMs} ms`);
  const recovered = run(book, 4 * HOUR_MS + 70_000, 4 * HOUR_MS + 400_000, 0);
  t.ok(
    recovered.some(({ alert, state }) => alert === 'burn_1h' && state === 'resolved'),
    'the short window ends it within its five minutes',
  );
});

t.test('burning just under each threshold tells nobody, just above it tells the right one', async (t) => {
  const slow = bookOf(0.999);
  for (let at = 0; at < 4 * DAY_MS; at += 60_000) slow.record('payments', 'outbound', 99_910, bad(90), START + at);
  t.same(slow.evaluate(START + 4 * DAY_MS - 60_000), [], 'nine tenths of what may be');
  const faster = bookOf(0.999);
  for (let at = 0; at < 4 * DAY_MS; at += 60_000) faster.record('payments', 'outbound', 99_890, bad(110), START + at);
  t.same(
    faster.evaluate(START + 4 * DAY_MS - 60_000).map(({ alert, severity }) => [alert, severity]),
    [['burn_3d', 'ticket']],
  );
});

t.test('a few failures of a quiet service wake nobody', async (t) => {
  const book = bookOf(0.999);
  book.record('payments', 'outbound', 0, bad(LEAST_BAD_EVENTS - 1), START);
  t.same(book.evaluate(START), []);
  book.record('payments', 'outbound', 0, bad(1), START);
  t.not(book.evaluate(START).length, 0);
});

t.test('budget, causes and downtime of what was counted', async (t) => {
  const book = bookOf(0.999);
  book.record('payments', 'outbound', 1_000, NO_ACCOUNTS, START - DAY_MS / 2);
  book.record('payments', 'outbound', 998_500, { ...NO_ACCOUNTS, instance: 200, policy: 300 }, START);
  const view = book.view('payments', START);
  t.equal(Math.round(view?.budget.allowed ?? 0), 1_000);
  t.equal(view?.budget.left.toFixed(3), '0.500');
  t.same(view?.accounts, { ...NO_ACCOUNTS, instance: 200, policy: 300 });
  const [day] = view?.periods ?? [];
  t.equal(day?.coveredMs, DAY_MS / 2);
  t.equal(Math.round(day?.downtimeMs ?? 0), 21_600, '0.05 % of half a day');
  t.equal(Math.round(day?.fiveNinesMs ?? 0), 432);
  t.equal(book.view('unknown', START), null);
});

t.test('the agents beside a service are heard until its callers speak', async (t) => {
  const book = bookOf(0.999);
  book.record('payments', 'inbound', 10, NO_ACCOUNTS, START);
  book.record('payments', 'outbound', 5, NO_ACCOUNTS, START);
  book.record('payments', 'inbound', 10, NO_ACCOUNTS, START);
  t.equal(book.view('payments', START)?.good, 15);
  t.equal(book.view('payments', START)?.measuredBy, 'outbound');
});

t.test('counts survive in the archive, and an archive of nonsense is an empty one', async (t) => {
  const book = bookOf(0.999);
  run(book, 0, HOUR_MS, 0.5);
  const copy = bookOf(0.999);
  copy.own.add(JSON.parse(JSON.stringify(book.own.archive())), START + HOUR_MS);
  copy.setAlerts(JSON.parse(JSON.stringify(book.alerts())));
  t.same(copy.view('payments', START + HOUR_MS), book.view('payments', START + HOUR_MS));
  t.same(copy.evaluate(START + HOUR_MS), [], 'who was told is not told again');
  const since = { measuredBy: 'outbound', sinceEpochMs: 1 };
  for (const nonsense of [
    null,
    1,
    'x',
    {},
    [1],
    [null],
    [{ service: 'a', counted: 7, bases: 7 }],
    [{ service: 'a', counted: { ...since, ring: [[[1]], 2] }, bases: [[1], ['e'], ['e', [-1]], ['e', ['x']]] }],
  ]) {
    const empty = bookOf(0.999);
    t.doesNotThrow(() => empty.own.add(nonsense, START), JSON.stringify(nonsense));
    t.doesNotThrow(() => empty.setAlerts(nonsense), JSON.stringify(nonsense));
    t.equal(empty.own.base('a', 'e'), null);
  }
});

t.test(
  'parts of several control planes add up; of callers and the agents beside the service the callers count',
  async (t) => {
    const [a, b, c] = [bookOf(0.999), bookOf(0.999), bookOf(0.999)];
    a.record('payments', 'outbound', 10, bad(1), START);
    b.record('payments', 'outbound', 20, bad(2), START - DAY_MS);
    c.record('payments', 'inbound', 30, bad(3), START);
    a.setOthers([b.own, c.own]);
    t.match(a.view('payments', START), { good: 30, bad: 3, accounts: { service: 3 }, measuredBy: 'outbound' });
    t.equal(a.view('payments', START)?.sinceEpochMs, START - DAY_MS);
    c.setOthers([a.own]);
    c.record('payments', 'inbound', 5, NO_ACCOUNTS, START);
    t.equal(c.own.get('payments')?.ring.within(HOUR_MS, START).good, 30, 'not heard once a caller is, anywhere');
    a.own.add(JSON.parse(JSON.stringify(b.own.archive())), START);
    a.own.add(JSON.parse(JSON.stringify(c.own.archive())), START);
    a.setOthers([]);
    t.match(a.view('payments', START), { good: 30, bad: 3 }, 'and the same when the parts are taken over');
  },
);

t.test('each service is held against its own target, over its own window', async (t) => {
  const targets = { payments: 0.9, carts: 0.9999 };
  const from = { ...sloTarget().from, target: 'ServicePolicy/x' } as const;
  const book = new SloBook((service) => {
    const windowMs = service === 'carts' ? DAY_MS : 30 * DAY_MS;
    return sloTarget({ objective: targets[service as keyof typeof targets], windowMs, from });
  });
  for (const service of Object.keys(targets)) {
    book.record(service, 'outbound', 1_000, bad(100), START - 2 * DAY_MS);
    book.record(service, 'outbound', 1_000, bad(20), START);
  }
  t.match(book.view('payments', START), { good: 2_000, bad: 120, objective: 0.9, from: { target: 'ServicePolicy/x' } });
  t.match(book.view('carts', START), { good: 1_000, bad: 20, objective: 0.9999, windowMs: DAY_MS });
  t.same(
    book.evaluate(START).map(({ service, alert }) => `${service} ${alert}`),
    ['carts burn_1h', 'carts burn_6h', 'carts burn_1d'],
    'an alert over three days is none of a budget of one',
  );
  t.same(
    book.view('carts', START)?.burns.map(({ name }) => name),
    ['burn_1h', 'burn_6h', 'burn_1d'],
  );
});

t.test('a ring forgets what left the window and keeps the rest', async (t) => {
  const ring = new EventRing();
  ring.add(5, bad(1), START);
  t.match(ring.within(300_000, START), { good: 5, bad: 1 });
  t.match(ring.within(300_000, START + 301_000), { good: 0, bad: 0 });
  t.match(ring.within(HOUR_MS, START + 301_000), { good: 5, bad: 1 });
  t.match(ring.within(30 * DAY_MS, START + 29 * DAY_MS), { good: 5, bad: 1 });
  t.match(ring.within(30 * DAY_MS, START + 31 * DAY_MS), { good: 0, bad: 0 });
});

t.test('series and parallel', async (t) => {
  t.equal(inSeries([0.999, 0.999]).toFixed(6), '0.998001');
  t.equal(inParallel([0.99, 0.99]).toFixed(6), '0.999900');
  t.equal(inParallel([]), 0);
  const parts = new Map(
    [
      { service: 'web', endpoints: [0.99, 0.99], calls: ['orders'] },
      { service: 'orders', endpoints: [0.999], calls: ['payments', 'web'] },
      { service: 'payments', endpoints: [], calls: [] },
    ].map((part) => [part.service, part]),
  );
  const { own, path, through } = composedOf('web', parts);
  t.equal(own?.toFixed(4), '0.9999');
  t.equal(path?.toFixed(7), (0.9999 * 0.999).toFixed(7));
  t.same(through, ['orders', 'payments']);
  t.same(composedOf('nobody', parts), { own: null, path: null, through: [] });
});

t.test('a failure is put down to the endpoints, the service or the path by what all callers saw', async (t) => {
  const sees = (
    endpoint: string,
    own: [number, number],
    others: [number, number],
    elsewhere: [number, number] = [0, 0],
  ) => {
    const tally = ([attempts, failures]: [number, number]) => ({ attempts, failures });
    return { endpoint, own: tally(own), others: tally(others), elsewhere: tally(elsewhere) };
  };
  const well: [number, number] = [10, 0];
  t.match(blameOf([sees('a', [10, 10], [10, 9]), sees('b', well, well)]), {
    answered: { instance: 1, service: 0 },
    unanswered: { instance: 1, path: 0 },
  });
  t.match(blameOf([sees('a', [10, 10], [0, 0]), sees('b', [10, 8], [0, 0])]).answered, { service: 1 });
  const path = [sees('a', [10, 10], [100, 0]), sees('b', [10, 10], [100, 1])];
  t.same(blameOf(path).unanswered, { instance: 0, service: 0, path: 1 });
  t.equal(blameOf(path).answered.service, 1, 'what was answered was reached');
  t.match(blameOf([sees('a', [5, 5], [0, 0])]).answered, { service: 1 }, 'one endpoint is the service');
  const zone = [sees('a', [10, 10], [100, 50], [50, 0]), sees('b', well, [100, 0], [50, 0])];
  t.equal(blameOf(zone).unanswered.path, 1, 'others of the zone fail too, those elsewhere do not');
  const uneven = Array.from({ length: 10 }, (_, nth) =>
    sees(`e${nth}`, [25, [3, 2, 2, 1, 1, 1, 0, 0, 0, 0][nth] ?? 0], [0, 0]),
  );
  t.equal(illMinority(uneven), null, 'four failures of a hundred spread like this by chance');
  t.same(illMinority([sees('a', [1, 1], [0, 0]), ...uneven.slice(6)]), ['a'], 'a single failure');
  const half = [
    sees('a', [20, 20], [0, 0]),
    sees('b', [50, 1], [0, 0]),
    sees('c', [2, 0], [0, 0]),
    sees('d', [50, 0], [0, 0]),
  ];
  t.same(illMinority(half), ['a'], 'a stray failure elsewhere changes nothing');
});

t.test('an agent is booked once the others have written twice since it came, and again after a gap', async (t) => {
  const arrivals = new Arrivals(false);
  const looked = (now: number, ...counts: number[]) =>
    arrivals.looked(new Map(counts.map((count, index) => [`plane-${index}`, count])), now);
  t.equal(arrivals.hear('a', 1, 1, 10), 'waiting');
  looked(10, 7, 7);
  t.equal(arrivals.hear('a', 1, 2, 11), 'waiting', 'that look began before it came');
  looked(12, 7, 7);
  looked(13, 8, 9);
  t.equal(arrivals.hear('a', 1, 3, 13), 'waiting', 'a writing may have begun before it came');
  looked(14, 9, 9);
  t.equal(arrivals.hear('a', 1, 3, 14), 'old', 'a report that came late');
  t.equal(arrivals.hear('a', 1, 4, 14), 'first');
  t.equal(arrivals.hear('a', 1, 5, 15), 'settled');
  t.equal(arrivals.hear('a', 1, 7, 16), 'waiting', 'the one between may have been heard elsewhere');
  looked(17, 9, 9);
  looked(18, 9 + 2);
  t.equal(arrivals.hear('a', 1, 8, 18), 'first', 'one of the others is gone');
  t.equal(arrivals.hear('a', 2, 1, 19), 'waiting', 'another life');
  t.equal(arrivals.hear('a', 1, 9, 20), 'settled', 'beside the former one, which drains');
  arrivals.reset();
  t.equal(arrivals.hear('a', 1, 10, 21), 'waiting');
  const alone = new Arrivals(true);
  t.same(
    [1, 2, 2, 9].map((sequence) => alone.hear('a', 1, sequence, sequence)),
    ['first', 'settled', 'old', 'settled'],
  );
});

t.test('without room for one more edge nothing is booked that could be booked again', async (t) => {
  const book = bookOf(0.999);
  for (let nth = 0; nth < BASE_LIMIT; nth++) book.own.setBase('payments', `e${nth}`, { counts: [1], atEpochMs: START });
  t.equal(book.own.setBase('payments', 'one more', { counts: [1], atEpochMs: START }), false);
  t.equal(
    book.own.setBase('payments', 'e1', { counts: [2], atEpochMs: START + 1 }),
    true,
    'those that are known go on',
  );
  book.own.tidy(START + DATED_FOR_MS + 1);
  t.equal(book.own.setBase('carts', 'one more', { counts: [1], atEpochMs: START }), true, 'room again');
  t.same([book.own.base('payments', 'e0'), book.own.base('payments', 'e1')?.counts], [null, [2]]);
});
