// The tap: costs nothing unheard, filters, keeps its bound, and shows no secret.

import t from 'tap';
import type { AccessRecord } from '../../../../agent/telemetry/access-log.ts';
import { parseStatusRange, RequestTap, type TapFilter } from '../../../../agent/telemetry/tap.ts';

const EVERYTHING: TapFilter = { service: null, method: null, path: null, status: null };

function record(changes: Partial<AccessRecord> = {}): AccessRecord {
  return {
    direction: 'outbound',
    source: 'web',
    destination: 'orders',
    method: 'GET',
    path: '/a',
    status: 200,
    result: 'ok',
    durationMs: 1,
    bytesIn: 0,
    bytesOut: 0,
    endpoint: '10.0.0.1:80',
    attempts: 1,
    requestId: 'r',
    retryReason: null,
    ...changes,
  };
}

function createTap(): { tap: RequestTap; written: AccessRecord[]; time: { now: number } } {
  const written: AccessRecord[] = [];
  const time = { now: 0 };
  const log = { wants: () => false, write: (one: AccessRecord) => void written.push(one) };
  return { tap: new RequestTap(log, () => time.now), written, time };
}

t.test('records are wanted only while somebody listens', async (t) => {
  const { tap, written } = createTap();
  t.equal(tap.wants('ok', 200), false);
  const seen: unknown[] = [];
  const listening = tap.listen({ filter: EVERYTHING, perSecond: 10, onRecord: (one) => seen.push(one) });
  t.equal(tap.wants('ok', 200), true);
  tap.write(record());
  listening.close();
  t.equal(tap.wants('ok', 200), false);
  tap.write(record());
  t.equal(seen.length, 1);
  t.equal(written.length, 2, 'the log gets every one and judges for itself');
});

t.test('filters', async (t) => {
  const rows: [filter: Partial<TapFilter>, changes: Partial<AccessRecord>, isSeen: boolean][] = [
    [{ service: 'orders' }, {}, true],
    [{ service: 'web' }, {}, true],
    [{ service: 'stock' }, {}, false],
    [{ method: 'POST' }, {}, false],
    [{ method: 'GET' }, {}, true],
    [{ path: '/a' }, { path: '/abc?x=1' }, true],
    [{ path: '/b' }, {}, false],
    [{ status: { from: 500, to: 599 } }, {}, false],
    [{ status: { from: 500, to: 599 } }, { status: 503 }, true],
    [{ service: 'orders', method: 'GET', path: '/', status: { from: 200, to: 200 } }, {}, true],
  ];
  for (const [filter, changes, isSeen] of rows) {
    const { tap } = createTap();
    let count = 0;
    tap.listen({ filter: { ...EVERYTHING, ...filter }, perSecond: 10, onRecord: () => count++ });
    tap.write(record(changes));
    t.equal(count, isSeen ? 1 : 0, JSON.stringify([filter, changes]));
  }
});

t.test('more than its bound in a second is counted, not told', async (t) => {
  const { tap, time } = createTap();
  let count = 0;
  const listening = tap.listen({ filter: EVERYTHING, perSecond: 3, onRecord: () => count++ });
  for (let nth = 0; nth < 10; nth++) tap.write(record());
  t.equal(count, 3);
  t.equal(listening.skipped(), 7);
  t.equal(listening.skipped(), 0);
  time.now = 1000;
  tap.write(record());
  t.equal(count, 4);
});

t.test('queries, user information and control characters do not get out', async (t) => {
  const { tap } = createTap();
  const seen: string[] = [];
  tap.listen({ filter: EVERYTHING, perSecond: 10, onRecord: ({ path }) => seen.push(path) });
  tap.write(record({ path: '/a?token=CANARY' }));
  tap.write(record({ path: 'http://user:CANARY@host/a' }));
  tap.write(record({ path: '/\u001b[2J' }));
  t.same(seen, ['/a', 'http://host/a', '/\\u{1b}[2J']);
});

t.test('parseStatusRange()', async (t) => {
  t.same(parseStatusRange('503'), { from: 503, to: 503 });
  t.same(parseStatusRange('5xx'), { from: 500, to: 599 });
  t.same(parseStatusRange('400-499'), { from: 400, to: 499 });
  for (const wrong of ['', '6xx', '50', '500-400', '5', 'abc', '503x']) t.equal(parseStatusRange(wrong), null, wrong);
});
