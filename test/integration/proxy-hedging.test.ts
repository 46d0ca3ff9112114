// Waiting and not waiting, over real sockets: back-off before a retry, a second copy beside a slow attempt, the queue.

import t, { type Test } from 'tap';
import { OK, type OriginRequest, startOrigin } from '../support/origin.ts';
import { policyWith, type Rig, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';

const ask = (method = 'GET', extra = '') => `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${extra}\r\n`;
const roundRobin = { policy: 'roundRobin' as const };
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const FAILURE = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';
const BUDGET = { percent: 100, intervalMs: 10_000, minRetriesPerSecond: 1000 };

async function until(check: () => boolean, ms = 5000): Promise<void> {
  const end = performance.now() + ms;
  while (!check()) {
    if (performance.now() > end) throw new Error(`${ms} ms passed`);
    await pause(5);
  }
}

t.test('a retry after an answer waits with full jitter; one after a refused connection does not', async (t) => {
  const origin = await startOrigin(t, FAILURE);
  const retries = { attempts: 2, backoff: { baseMs: 400, maxMs: 400 }, budget: BUDGET };
  // One seed, so the waits are the same in every run: the test knows them from the record.
  const rig = await startRig(t, { a: [origin.port, origin.port] }, { policy: policyWith({ retries }) });
  const startedAt = performance.now();
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 503 /);
  const tookMs = performance.now() - startedAt;
  const [record] = rig.decisions.recent(1, true);
  const waits = record?.attempts.map(({ waitedMs }) => waitedMs) ?? [];
  t.equal(waits.length, 3);
  t.equal(waits[0], 0);
  for (const waited of waits.slice(1)) t.ok(waited >= 0 && waited <= 400, `${waited}`);
  t.ok(tookMs >= waits.reduce((sum, one) => sum + one, 0) - 5, `${tookMs} for ${waits}`);
});

t.test('a caller that leaves during the back-off takes the retry with it', async (t) => {
  const origin = await startOrigin(t, FAILURE);
  const retries = { attempts: 1, backoff: { baseMs: 10_000, maxMs: 10_000 }, budget: BUDGET };
  const rig = await startRig(t, { a: [origin.port, origin.port] }, { policy: policyWith({ retries }) });
  const client = await rawClient(t, rig.port);
  client.write(ask());
  await until(() => rig.retries.length === 1);
  client.reset();
  await until(() => rig.ends.length === 1);
  t.equal(rig.ends[0]?.result, 'downstream_disconnect');
  await pause(50);
  t.equal(origin.requests(), 1);
  t.ok(rig.endpoints('a').every(({ stats }) => stats.inFlight === 0));
});

/** A service whose usual answer is known: 5 ms. */
async function hedgingRig(t: Test, ports: readonly number[], changes: object = {}): Promise<Rig> {
  const hedging = { isEnabled: true, percentile: 95, minDelayMs: 5 };
  const policy = policyWith({
    loadBalancer: roundRobin,
    retries: { attempts: 1, hedging, budget: BUDGET, ...changes },
  });
  const rig = await startRig(t, { a: ports }, { policy });
  const { stats } = rig.snapshot().services.get('a') ?? {};
  const now = performance.now();
  for (let answer = 0; answer < 100; answer++) stats?.hedgeDelay.record(5, now - 3500);
  return rig;
}

t.test(
  'a slow attempt gets a second copy elsewhere; the first answer counts and the other one is given up',
  async (t) => {
    const slow = await startOrigin(t, () => {});
    const fast = await startOrigin(t);
    const rig = await hedgingRig(t, [slow.port, fast.port]);
    t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
    t.same([slow.requests(), fast.requests()], [1, 1]);
    t.same(rig.retries, ['hedge']);
    t.same(rig.attempts.sort(), ['canceled', 'response']);
    await until(() => slow.open() === 0);
    t.ok(
      rig.endpoints('a').every(({ stats }) => stats.inFlight === 0 && stats.failures === 0),
      'nobody is to blame',
    );
    const [record] = rig.decisions.recent(1, true);
    t.same(
      record?.attempts.map(({ isHedge, after }) => [isHedge, after]),
      [
        [false, 'hedge_lost'],
        [true, 'accepted'],
      ],
    );
  },
);

t.test('when the first answers first, the second copy is given up', async (t) => {
  const first = await startOrigin(t, ({ socket }: OriginRequest) => {
    setTimeout(() => socket.write(OK), 150);
  });
  const second = await startOrigin(t, () => {});
  const rig = await hedgingRig(t, [first.port, second.port]);
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  t.same([first.requests(), second.requests()], [1, 1]);
  await until(() => second.open() === 0);
});

t.test('one of two copies fails: the other one is waited for, and no third is sent', async (t) => {
  for (const answer of [FAILURE, ({ socket }: OriginRequest) => socket.destroy()]) {
    const slow = await startOrigin(t, ({ socket }: OriginRequest) => {
      setTimeout(() => socket.write(OK), 200);
    });
    const failing = await startOrigin(t, answer);
    const rig = await hedgingRig(t, [slow.port, failing.port]);
    t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
    t.same([slow.requests(), failing.requests()], [1, 1]);
    t.same(rig.retries, ['hedge']);
    t.ok(rig.endpoints('a').every(({ stats }) => stats.inFlight === 0));
  }
});

t.test(
  'no second copy: of a POST, without budget, of an endpoint that is alone, before anything is known',
  async (t) => {
    const slow = () => startOrigin(t, ({ socket }: OriginRequest) => void setTimeout(() => socket.write(OK), 120));
    const [a, b] = [await slow(), await slow()];
    const posting = await hedgingRig(t, [a.port, b.port]);
    t.match(await exchangeRaw(t, posting.port, ask('POST', 'Content-Length: 0\r\n')), /^HTTP\/1.1 200 /);
    t.same(posting.retries, []);
    t.match(
      await exchangeRaw(t, posting.port, ask('POST', 'Content-Length: 0\r\nIdempotency-Key: k\r\n')),
      /^HTTP\/1.1 200 /,
    );
    t.same(posting.retries, ['hedge'], 'but of one with a key');
    const poor = await hedgingRig(t, [a.port, b.port], {
      budget: { percent: 0, intervalMs: 10_000, minRetriesPerSecond: 0 },
    });
    t.match(await exchangeRaw(t, poor.port, ask()), /^HTTP\/1.1 200 /);
    t.same(poor.retries, ['budget_exhausted']);
    const alone = await hedgingRig(t, [a.port]);
    t.match(await exchangeRaw(t, alone.port, ask()), /^HTTP\/1.1 200 /);
    t.same(alone.retries, []);
    const hedging = { isEnabled: true, percentile: 95, minDelayMs: 5 };
    const policy = policyWith({ retries: { hedging, budget: BUDGET } });
    const fresh = await startRig(t, { a: [a.port, b.port] }, { policy });
    t.match(await exchangeRaw(t, fresh.port, ask()), /^HTTP\/1.1 200 /);
    t.same(fresh.retries, []);
  },
);

t.test('a caller that leaves takes both copies with it', async (t) => {
  const [a, b] = [await startOrigin(t, () => {}), await startOrigin(t, () => {})];
  const rig = await hedgingRig(t, [a.port, b.port]);
  const client = await rawClient(t, rig.port);
  client.write(ask());
  await until(() => a.requests() + b.requests() === 2);
  client.reset();
  await until(() => a.open() + b.open() === 0);
  t.ok(rig.endpoints('a').every(({ stats }) => stats.inFlight === 0));
  t.same(
    rig.ends.map(({ result }) => result),
    ['downstream_disconnect'],
  );
});

/** Answers when told to. */
function holding(): {
  answer: (request: OriginRequest) => void;
  held: OriginRequest[];
  names: string[];
  release(): void;
} {
  const held: OriginRequest[] = [];
  const names: string[] = [];
  return {
    held,
    names,
    answer: (request) => {
      held.push(request);
      names.push(/x-name: (\w+)/.exec(request.text)?.[1] ?? '');
    },
    release: () => held.shift()?.socket.write(OK),
  };
}

t.test('requests above the limit wait in order, critical ones first, sheddable ones not at all', async (t) => {
  const hold = holding();
  const origin = await startOrigin(t, hold.answer);
  const limits = { maxConcurrentRequests: 2, maxPendingRequests: 2, sheddablePercent: 50, queueTimeoutMs: 5000 };
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ limits }) });
  const { stats } = rig.snapshot().services.get('a') ?? {};
  const send = (name: string, extra = '') => exchangeRaw(t, rig.port, ask('GET', `X-Name: ${name}\r\n${extra}`));
  const answers = [send('1')];
  await until(() => hold.held.length === 1);
  t.match(await send('shed', 'X-Outrigger-Class: sheddable\r\n'), /upstream_overflow/, 'half of the limit is in use');
  answers.push(send('2'));
  await until(() => hold.held.length === 2);
  answers.push(send('3'));
  await until(() => stats?.pending.size === 1);
  answers.push(send('4', 'X-Outrigger-Class: critical\r\n'));
  await until(() => stats?.pending.size === 2);
  const refused = await send('5');
  t.match(
    refused,
    /^HTTP\/1.1 503 [\s\S]*x-outrigger-reason: upstream_overflow\r\n[\s\S]*x-outrigger-retry: overloaded/,
  );
  t.match(refused, /a has 2 requests in flight and 2 waiting, which is the limit/);
  for (let round = 0; round < 4; round++) {
    await until(() => hold.held.length > 0);
    hold.release();
    await pause(20);
  }
  for (const answer of await Promise.all(answers)) t.match(answer, /^HTTP\/1.1 200 /);
  t.same(hold.names, ['1', '2', '4', '3']);
  t.equal(stats?.inFlight, 0);
  t.equal(stats?.pending.size, 0);
});

t.test('who waits too long is told so, and who leaves is forgotten', async (t) => {
  const hold = holding();
  const origin = await startOrigin(t, hold.answer);
  const limits = { maxConcurrentRequests: 1, maxPendingRequests: 5, queueTimeoutMs: 80 };
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ limits }) });
  const { stats } = rig.snapshot().services.get('a') ?? {};
  const first = exchangeRaw(t, rig.port, ask());
  await until(() => hold.held.length === 1);
  const late = await exchangeRaw(t, rig.port, ask());
  t.match(late, /upstream_overflow[\s\S]*a had no room within \d+ ms/);
  const client = await rawClient(t, rig.port);
  client.write(ask());
  await until(() => stats?.pending.size === 1);
  client.reset();
  await until(() => stats?.pending.size === 0);
  hold.release();
  t.match(await first, /^HTTP\/1.1 200 /);
  t.equal(origin.requests(), 1);
  t.equal(stats?.inFlight, 0);
});

t.test('when every endpoint has all its connections, a request waits for one', async (t) => {
  const hold = holding();
  const origin = await startOrigin(t, hold.answer);
  const limits = { maxConnections: 1, maxPendingRequests: 5, queueTimeoutMs: 5000 };
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ limits }) });
  const { stats } = rig.snapshot().services.get('a') ?? {};
  const [first, second] = [exchangeRaw(t, rig.port, ask()), exchangeRaw(t, rig.port, ask())];
  await until(() => hold.held.length === 1 && stats?.pending.size === 1);
  hold.release();
  await until(() => hold.held.length === 1);
  hold.release();
  t.match(await first, /^HTTP\/1.1 200 /);
  t.match(await second, /^HTTP\/1.1 200 /);
  t.equal(origin.sockets.length, 1, 'one connection carried both');
  t.equal(stats?.inFlight, 0);
});
