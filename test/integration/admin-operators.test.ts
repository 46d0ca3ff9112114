// What a person does through the admin API: orders about one endpoint, and looking at live requests.

import t from 'tap';
import { RequestTap } from '../../agent/telemetry/tap.ts';
import { ask, snapshot, start } from '../support/admin-rig.ts';

t.test("POST /endpoints carries a person's order to the mesh, once it is one", async (t) => {
  const orders: unknown[] = [];
  const [, view] = snapshot().services.get('orders')?.endpoints ?? [];
  if (view === undefined) throw new Error('no endpoint');
  const { port } = await start(t, {
    overrule: (service, order) => {
      orders.push({ service, ...order });
      if (order.endpoint === 'gone') return { kind: 'refused', why: 'unknown', text: 'no endpoint is known' };
      const facts = { reason: 'operator', multiplier: 0, durationMs: 10_000, text: 'ejected by operator' } as const;
      return { kind: 'decided', decision: { kind: 'eject', view, ...facts } };
    },
  });
  const post = (path: string) => ask(port, path, 'POST', { 'x-outrigger-operator': 'alice' });
  for (const [path, status] of [
    ['/endpoints/orders/explode?endpoint=a', 404],
    ['/endpoints/orders/eject', 400],
    ['/endpoints/orders/eject?endpoint=a&for=soon', 400],
    ['/endpoints/orders/eject?endpoint=a&for=0', 400],
    ['/endpoints/orders/eject?endpoint=a&for=25h', 400],
  ] as const) {
    t.equal((await post(path)).status, status, path);
  }
  t.same(orders, [], 'none of these reached the mesh');
  t.equal((await ask(port, '/endpoints/orders/eject?endpoint=a')).status, 404, 'GET changes nothing');
  const done = await post('/endpoints/orders/eject?endpoint=a&for=10m&reason=leak%0Ahere&force=true');
  t.match(JSON.parse(done.text), { service: 'orders', state: 'ejected', text: 'ejected by operator' });
  t.same(orders, [
    {
      service: 'orders',
      verb: 'eject',
      endpoint: 'a',
      durationMs: 600_000,
      reason: 'leak\\u{a}here',
      operator: 'alice',
      isForced: true,
    },
  ]);
  t.match(await post('/endpoints/orders/drain?endpoint=gone'), { status: 404, text: /no endpoint is known/ });
  t.match(orders.at(-1), { durationMs: 300_000, isForced: false, reason: '' });
});

t.test('GET /tap streams what happens, to four listeners at most, and forgets who leaves', async (t) => {
  const tap = new RequestTap({ wants: () => false, write() {} }, () => 0);
  const { port } = await start(t, { tap });
  t.equal((await ask(port, '/tap?status=loud')).status, 400);
  t.equal((await ask(port, '/tap?rate=0')).status, 400);
  t.equal((await ask(port, '/tap?rate=9999')).status, 400);
  const ending = new AbortController();
  const open = () => fetch(`http://127.0.0.1:${port}/tap?service=orders&status=5xx`, { signal: ending.signal });
  const streams = [await open(), await open(), await open(), await open()];
  t.equal(streams[0]?.headers.get('content-type'), 'text/event-stream; charset=utf-8');
  t.equal(tap.listeners, 4);
  t.equal((await ask(port, '/tap')).status, 503);
  const base = { direction: 'outbound', source: 'web', destination: 'orders', method: 'GET', result: 'ok' } as const;
  const rest = { durationMs: 1, bytesIn: 0, bytesOut: 0, endpoint: null, attempts: 1, retryReason: null };
  tap.write({ ...base, ...rest, path: '/quiet', status: 200, requestId: 'r-1' });
  tap.write({ ...base, ...rest, path: '/loud?token=CANARY', status: 503, requestId: 'r-2' });
  let text = '';
  for await (const chunk of streams[0]?.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.includes('r-2')) break;
  }
  t.match(text, 'event: request');
  t.notMatch(text, /CANARY|quiet/);
  ending.abort();
  for (let tries = 0; tries < 200 && tap.listeners > 0; tries++) await new Promise((done) => setTimeout(done, 10));
  t.equal(tap.listeners, 0);
});
