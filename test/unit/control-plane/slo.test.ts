// Error budgets in virtual time: when an outage pages, what is left, what survives a restart.

import t from 'tap';
import { blameOf, NO_ACCOUNTS } from '../../../control-plane/core/slo/accounts.ts';
import { type AlertChange, LEAST_BAD_EVENTS, SloBook } from '../../../control-plane/core/slo/book.ts';
import { composedOf, inParallel, inSeries } from '../../../control-plane/core/slo/composed.ts';
import { DAY_MS, EventRing } from '../../../control-plane/core/slo/ring.ts';

const START = 1_700_000_123_456;
const HOUR_MS = 3_600_000;
const TICK_MS = 2_000;
const bad = (service: number) => ({ ...NO_ACCOUNTS, service });

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
  const book = new SloBook(0.999);
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
  const slow = new SloBook(0.999);
  for (let at = 0; at < 4 * DAY_MS; at += 60_000) slow.record('payments', 'outbound', 99_910, bad(90), START + at);
  t.same(slow.evaluate(START + 4 * DAY_MS - 60_000), [], 'nine tenths of what may be');
  const faster = new SloBook(0.999);
  for (let at = 0; at < 4 * DAY_MS; at += 60_000) faster.record('payments', 'outbound', 99_890, bad(110), START + at);
  t.same(
    faster.evaluate(START + 4 * DAY_MS - 60_000).map(({ alert, severity }) => [alert, severity]),
    [['burn_3d', 'ticket']],
  );
});

t.test('a few failures of a quiet service wake nobody', async (t) => {
  const book = new SloBook(0.999);
  book.record('payments', 'outbound', 0, bad(LEAST_BAD_EVENTS - 1), START);
  t.same(book.evaluate(START), []);
  book.record('payments', 'outbound', 0, bad(1), START);
  t.not(book.evaluate(START).length, 0);
});

t.test('budget, causes and downtime of what was counted', async (t) => {
  const book = new SloBook(0.999);
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
  const book = new SloBook(0.999);
  book.record('payments', 'inbound', 10, NO_ACCOUNTS, START);
  book.record('payments', 'outbound', 5, NO_ACCOUNTS, START);
  book.record('payments', 'inbound', 10, NO_ACCOUNTS, START);
  t.equal(book.view('payments', START)?.good, 15);
  t.equal(book.view('payments', START)?.measuredBy, 'outbound');
});

t.test('counts survive in the archive, and an archive of nonsense is an empty one', async (t) => {
  const book = new SloBook(0.999);
  run(book, 0, HOUR_MS, 0.5);
  const copy = new SloBook(0.999);
  copy.restore(JSON.parse(JSON.stringify(book.archive())));
  t.same(copy.view('payments', START + HOUR_MS), book.view('payments', START + HOUR_MS));
  for (const nonsense of [
    null,
    1,
    'x',
    {},
    [1],
    [null],
    [{ service: 'a', measuredBy: 'outbound', sinceEpochMs: 1, ring: [[[1]], 2] }],
  ]) {
    const empty = new SloBook(0.999);
    t.doesNotThrow(() => empty.restore(nonsense), JSON.stringify(nonsense));
  }
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
  const sees = (endpoint: string, isOwn: boolean, attempts: number, failures: number) => ({
    endpoint,
    isOwn,
    attempts,
    failures,
  });
  const instance = [sees('a', true, 10, 10), sees('b', true, 10, 0), sees('a', false, 10, 9), sees('b', false, 10, 0)];
  t.same(blameOf(instance), { answered: 'instance', unanswered: 'instance' });
  const service = [sees('a', true, 10, 10), sees('b', true, 10, 8)];
  t.same(blameOf(service), { answered: 'service', unanswered: 'service' });
  const path = [sees('a', true, 10, 10), sees('b', true, 10, 10), sees('a', false, 100, 0), sees('b', false, 100, 1)];
  t.equal(blameOf(path).unanswered, 'path');
  t.same(
    blameOf([sees('a', true, 5, 5)]),
    { answered: 'service', unanswered: 'service' },
    'one endpoint is the service',
  );
});
