// Injected delays and answers through real sockets. Bounds on time are wide; counts are exact.

import t from 'tap';
import type { FaultInjection } from '#contract/policy/route-rule.ts';
import { createSideWork } from '../../agent/proxy/side-work.ts';
import { startOrigin } from '../support/origin.ts';
import { policyWith, type Rig, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';
import { ruleTo } from '../support/rules.ts';

const ASK = 'GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n';

function spoil(rig: Rig, port: number, fault: FaultInjection, policy = policyWith({})): void {
  rig.setService('api', [port], policy, [ruleTo('api', { name: 'spoilt', fault, policies: [policy] })]);
}

t.test('an abort answers with the status of the policy and says that it was ordered', async (t) => {
  const api = await startOrigin(t);
  const rig = await startRig(t, { api: [api.port] });
  spoil(rig, api.port, { delay: null, abort: { status: 429, percent: 100 } });
  const answer = await exchangeRaw(t, rig.port, ASK);
  t.match(answer, /^HTTP\/1.1 429 Too Many Requests\r\n/);
  t.match(answer, /\r\nx-outrigger-reason: fault_injected\r\n/);
  t.match(answer, /\r\nx-outrigger-fault: abort\r\n/);
  t.match(answer, /rule spoilt answers 429 on purpose/);
  t.equal(api.requests(), 0);
  t.same(rig.ends, [{ destination: 'api', result: 'fault_injected', status: 429 }]);
  t.same(rig.faults, ['api abort']);
  t.equal(rig.endpoints('api')[0]?.stats.failures, 0, 'nobody is to blame');
});

t.test('a delay holds the request, counts against nobody, and the answer says so', async (t) => {
  const api = await startOrigin(t);
  const side = createSideWork();
  const rig = await startRig(t, { api: [api.port] }, { side });
  spoil(rig, api.port, { delay: { durationMs: 120, percent: 100 }, abort: null });
  const began = performance.now();
  const answer = await exchangeRaw(t, rig.port, ASK);
  t.ok(performance.now() - began >= 115);
  t.match(answer, /^HTTP\/1.1 200 [\s\S]*x-outrigger-fault: delay\r\n/);
  const stats = rig.endpoints('api')[0]?.stats;
  t.ok((stats?.ewmaMs ?? 999) < 100, `the endpoint is not slow: ${stats?.ewmaMs}`);
  t.same(rig.faults, ['api delay']);
  t.equal(side.held, 0);
});

t.test('both: first the delay, then the answer', async (t) => {
  const api = await startOrigin(t);
  const rig = await startRig(t, { api: [api.port] });
  spoil(rig, api.port, { delay: { durationMs: 30, percent: 100 }, abort: { status: 500, percent: 100 } });
  t.match(await exchangeRaw(t, rig.port, ASK), /^HTTP\/1.1 500 [\s\S]*x-outrigger-fault: abort\r\n/);
  t.same(rig.faults, ['api delay', 'api abort']);
});

t.test('the request timeout ends a delay, and a delay leaves less of it for the service', async (t) => {
  const api = await startOrigin(t, () => {});
  const rig = await startRig(t, { api: [api.port] });
  const policy = policyWith({ timeouts: { requestMs: 150, backendRequestMs: 0 }, retries: { attempts: 0 } });
  spoil(rig, api.port, { delay: { durationMs: 60_000, percent: 100 }, abort: null }, policy);
  const answer = await exchangeRaw(t, rig.port, ASK);
  t.match(answer, /^HTTP\/1.1 504 [\s\S]*upstream_timeout[\s\S]*held it on purpose/);
  t.match(answer, /x-outrigger-fault: delay\r\n/);
  t.equal(api.requests(), 0);
  const longer = policyWith({ timeouts: { requestMs: 2000, backendRequestMs: 0 }, retries: { attempts: 0 } });
  spoil(rig, api.port, { delay: { durationMs: 1500, percent: 100 }, abort: null }, longer);
  const began = performance.now();
  t.match(await exchangeRaw(t, rig.port, ASK), /^HTTP\/1.1 504 /);
  const tookMs = performance.now() - began;
  t.ok(tookMs >= 1900 && tookMs < 3400, `${tookMs} ms of 2000, not 3500`);
  t.equal(api.requests(), 1);
});

t.test('a client that leaves ends its delay, and the request never goes out', async (t) => {
  const api = await startOrigin(t);
  const side = createSideWork();
  const rig = await startRig(t, { api: [api.port] }, { side });
  spoil(rig, api.port, { delay: { durationMs: 60_000, percent: 100 }, abort: null });
  const client = await rawClient(t, rig.port);
  client.write('GET / HTTP/1.1\r\nHost: api\r\n\r\n');
  while (side.held === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  client.reset();
  while (side.held > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  t.same(
    rig.ends.map(({ result }) => result),
    ['downstream_disconnect'],
  );
  t.equal(api.requests(), 0);
});

t.test('beyond the bound nobody is held; others go on meanwhile', async (t) => {
  const api = await startOrigin(t);
  const side = createSideWork(2);
  const rig = await startRig(t, { api: [api.port] }, { side });
  spoil(rig, api.port, { delay: { durationMs: 60_000, percent: 100 }, abort: null });
  const held = [await rawClient(t, rig.port), await rawClient(t, rig.port)];
  for (const client of held) client.write('GET / HTTP/1.1\r\nHost: api\r\n\r\n');
  while (side.held < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  const answer = await exchangeRaw(t, rig.port, ASK);
  t.match(answer, /^HTTP\/1.1 200 /);
  t.notMatch(answer, /x-outrigger-fault/);
  t.same(rig.faults, ['api delay', 'api delay', 'api overflow']);
  for (const client of held) client.reset();
});

t.test('a body that comes during a delay is kept, and sent whole', async (t) => {
  const api = await startOrigin(t);
  const rig = await startRig(t, { api: [api.port] });
  spoil(rig, api.port, { delay: { durationMs: 80, percent: 100 }, abort: null });
  const body = 'x'.repeat(200_000);
  const answer = await exchangeRaw(
    t,
    rig.port,
    `POST / HTTP/1.1\r\nHost: api\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
  t.match(answer, /^HTTP\/1.1 200 /);
  t.ok(api.received.join('').endsWith(body));
});

t.test('percent decides by chance: none at 0', async (t) => {
  const api = await startOrigin(t);
  const rig = await startRig(t, { api: [api.port] });
  spoil(rig, api.port, { delay: { durationMs: 60_000, percent: 0 }, abort: { status: 500, percent: 0 } });
  for (let request = 0; request < 20; request++) t.match(await exchangeRaw(t, rig.port, ASK), /^HTTP\/1.1 200 /);
  spoil(rig, api.port, { delay: null, abort: { status: 500, percent: 50 } });
  for (let request = 0; request < 60; request++) await exchangeRaw(t, rig.port, ASK);
  const aborted = rig.faults.length;
  t.ok(aborted > 10 && aborted < 50, `${aborted} of 60`);
});
