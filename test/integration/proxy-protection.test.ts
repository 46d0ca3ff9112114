// What protects a service from its callers, through real sockets: rate limits, admission control, the adaptive limit before an
// application; and a trap of other proxies.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { configureStats, createServiceStats, createServiceView } from '../../agent/core/view.ts';
import { startOrigin } from '../support/origin.ts';
import { policyWith, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw } from '../support/raw-client.ts';

const ask = (extra = '') => `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${extra}\r\n`;
const FAILURE = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';

t.test('the HTTP retry trap: an upstream that always answers 503, retries off: exactly one request', async (t) => {
  const origin = await startOrigin(t, FAILURE);
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ retries: { attempts: 0 } }) });
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 503 /);
  t.equal(origin.requests(), 1);
});

t.test('a rate limit lets the burst through and says when there is room again', async (t) => {
  const origin = await startOrigin(t);
  const rateLimit = { requests: 1, perMs: 60_000, burst: 3 };
  const rig = await startRig(t, { a: [origin.port] }, { policy: policyWith({ rateLimit }) });
  const answers: string[] = [];
  for (let request = 0; request < 5; request++) answers.push(await exchangeRaw(t, rig.port, ask()));
  t.same(
    answers.map((answer) => answer.slice(9, 12)),
    ['200', '200', '200', '429', '429'],
  );
  const [, retryAfter = ''] = /\r\nretry-after: (\d+)\r\n/.exec(answers[4] ?? '') ?? [];
  t.ok(Number(retryAfter) > 50 && Number(retryAfter) <= 60, `Retry-After: ${retryAfter}`);
  t.match(answers[4], /x-outrigger-reason: rate_limited[\s\S]*x-outrigger-retry: overloaded/);
  t.match(answers[4], /a may be asked 1 times in 60000 ms by this agent/);
  t.equal(origin.requests(), 3);
});

t.test(
  'admission control stops sending a part to a service that fails, and goes on when it answers again',
  async (t) => {
    const origin = await startOrigin(t, FAILURE);
    const admissionControl = { isEnabled: true, minRequestsPerSecond: 0, windowMs: 1000 };
    const policy = policyWith({ admissionControl, retries: { attempts: 0 } });
    const rig = await startRig(t, { a: [origin.port] }, { policy });
    for (let request = 0; request < 60; request++) await exchangeRaw(t, rig.port, ask());
    const refused = rig.ends.filter(({ result }) => result === 'admission_rejected').length;
    t.ok(refused > 20, `${refused} of 60 were not sent`);
    t.equal(origin.requests(), 60 - refused);
    t.match(await exchangeRaw(t, rig.port, ask('X-Outrigger-Class: critical\r\n')), /^HTTP\/1.1 503 /);
    t.equal(rig.ends.at(-1)?.result, 'ok', 'a critical request is sent all the same');
    origin.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';
    await new Promise((resolve) => setTimeout(resolve, 1200));
    for (let request = 0; request < 20; request++) t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  },
);

t.test('before an application that can do four things at once the adaptive limit comes down from twenty', async (t) => {
  const running = { now: 0, most: 0 };
  const waiting: (() => void)[] = [];
  /** Four at a time take 20 ms each; the others wait inside the application, which is what makes it slow. */
  const app = createServer((_request, response) => {
    const work = () => {
      running.now++;
      setTimeout(() => {
        running.now--;
        response.end('ok');
        waiting.shift()?.();
      }, 20);
    };
    if (running.now < 4) work();
    else waiting.push(work);
    running.most = Math.max(running.most, running.now + waiting.length);
  });
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    app.closeAllConnections();
    app.close();
  });
  const { port } = app.address() as AddressInfo;
  const id = `a@127.0.0.1:${port}`;
  const endpoint = { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
  const adaptiveConcurrency = {
    isEnabled: true,
    initialLimit: 20,
    minLimit: 2,
    maxLimit: 100,
    bufferPercent: 25,
    windowMs: 200,
  };
  const policy = policyWith({ limits: { adaptiveConcurrency, maxPendingRequests: 200, queueTimeoutMs: 5000 } });
  const plan = { service: 'a', policy, rules: [], subsets: [], permission: { kind: 'allow' } } as const;
  const stats = createServiceStats('a');
  configureStats(stats, policy);
  const view = createServiceView(plan, [{ endpoint, stats: createEndpointStats(id) }], stats);
  const rig = await startRig(t, {}, { direction: 'inbound', route: { kind: 'inbound', view: () => view } });
  // A few at first, so that its best latency is seen; then more than it can do.
  for (let request = 0; request < 30; request++) await exchangeRaw(t, rig.port, ask());
  const endAt = performance.now() + 4000;
  const callers = Array.from({ length: 40 }, async () => {
    while (performance.now() < endAt) t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  });
  await new Promise((resolve) => setTimeout(resolve, 2500));
  running.most = 0;
  await Promise.all(callers);
  t.comment(
    `limit ${stats.gradient.limit}, best ${stats.gradient.bestMs.toFixed(1)} ms, ${running.most} inside at most`,
  );
  t.ok(stats.gradient.limit < 16, `${stats.gradient.limit}`);
  t.ok(running.most <= 20, `${running.most} in the application, 40 callers`);
  t.equal(stats.inFlight, 0);
  t.equal(stats.pending.size, 0);
});
