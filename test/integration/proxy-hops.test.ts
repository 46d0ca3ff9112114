// The contract across hops, with two agents around an application that passes on nothing but `traceparent` or `x-request-id`.

import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { Hops } from '../../agent/core/retry/hops.ts';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { createServiceStats, createServiceView } from '../../agent/core/view.ts';
import { startOrigin } from '../support/origin.ts';
import { policyWith, type Rig, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw } from '../support/raw-client.ts';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const BUDGET = { percent: 100, intervalMs: 10_000, minRetriesPerSecond: 1000 };
const ask = (extra: string) => `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${extra}\r\n`;

/** One agent: inbound before an application that calls `b` through the outbound side. `passOn` names the one header it keeps. */
async function agentAround(
  t: Test,
  ports: readonly number[],
  passOn: 'traceparent' | 'x-request-id' | 'nothing',
): Promise<{ inbound: Rig; outbound: Rig; appCalls(): number }> {
  const hops = new Hops();
  const policy = policyWith({ retries: { attempts: 2, budget: BUDGET, backoff: { baseMs: 1, maxMs: 1 } } });
  const outbound = await startRig(t, { b: ports }, { policy, hops });
  let calls = 0;
  const app = createServer((incoming, answer) => {
    calls += 1;
    const headers: Record<string, string> = { host: 'b' };
    const kept = incoming.headers[passOn];
    if (typeof kept === 'string') headers[passOn] = kept;
    const call = request({ host: '127.0.0.1', port: outbound.port, headers, agent: false }, (response) => {
      response.resume().on('end', () => {
        answer.statusCode = response.statusCode ?? 500;
        answer.end(JSON.stringify(incoming.headers));
      });
    });
    call.on('error', () => answer.destroy());
    call.end();
  });
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  t.teardown(() => app.close());
  const { port } = app.address() as AddressInfo;
  const id = `a@127.0.0.1:${port}`;
  const endpoint = { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
  const inboundPolicy = policyWith({ retries: { attempts: 0 } });
  const plan = { service: 'a', policy: inboundPolicy, rules: [], subsets: [], permission: { kind: 'allow' } } as const;
  const view = createServiceView(plan, [{ endpoint, stats: createEndpointStats(id) }], createServiceStats('a'));
  const inbound = await startRig(t, {}, { direction: 'inbound', route: { kind: 'inbound', view: () => view }, hops });
  return { inbound, outbound, appCalls: () => calls };
}

t.test('the caller’s deadline reaches the calls that are made for it', async (t) => {
  for (const passOn of ['traceparent', 'x-request-id'] as const) {
    const slow = await startOrigin(t, () => {});
    const { inbound, outbound } = await agentAround(t, [slow.port], passOn);
    const startedAt = performance.now();
    const answer = await exchangeRaw(
      t,
      inbound.port,
      ask(`Traceparent: ${TRACEPARENT}\r\nX-Request-Id: r-1\r\nX-Outrigger-Deadline: 400\r\n`),
    );
    const tookMs = performance.now() - startedAt;
    t.match(answer, /^HTTP\/1.1 504 /, passOn);
    t.ok(tookMs < 2000, `${passOn}: ${tookMs} ms; the policy alone would have waited 15 s`);
    const told = Number(/x-outrigger-deadline: (\d+)/.exec(slow.received.join(''))?.[1]);
    t.ok(told > 0 && told <= 390, `${passOn}: b was told ${told} ms`);
    // Both agents come to the end of the same time; which of them notices first is chance.
    while (outbound.ends.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    t.match(outbound.ends[0]?.result, /^(upstream_timeout|downstream_disconnect)$/, passOn);
  }
});

t.test('nothing is begun for a caller that does not wait any more', async (t) => {
  const origin = await startOrigin(t);
  const { inbound, appCalls } = await agentAround(t, [origin.port], 'traceparent');
  for (const left of ['4', '0', '-100']) {
    const answer = await exchangeRaw(t, inbound.port, ask(`X-Outrigger-Deadline: ${left}\r\n`));
    t.match(answer, /^HTTP\/1.1 504 [\s\S]*x-outrigger-reason: deadline_exceeded/, left);
  }
  t.equal(appCalls(), 0);
  t.match(await exchangeRaw(t, inbound.port, ask('X-Outrigger-Deadline: 9000\r\n')), /^HTTP\/1.1 200 /);
});

t.test('a failure that was repeated next to it is not repeated further out', async (t) => {
  const failing = await startOrigin(t, 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
  const { inbound, outbound, appCalls } = await agentAround(t, [failing.port, failing.port], 'traceparent');
  const caller = await startRig(
    t,
    { a: [inbound.port] },
    { policy: policyWith({ retries: { attempts: 2, budget: BUDGET, backoff: { baseMs: 1, maxMs: 1 } } }) },
  );
  const answer = await exchangeRaw(t, caller.port, ask(`Traceparent: ${TRACEPARENT}\r\n`));
  t.match(answer, /^HTTP\/1.1 503 /);
  t.notMatch(answer, /x-outrigger-retry/, 'which is a word between agents');
  t.equal(failing.requests(), 3, 'repeated next to the failure');
  t.equal(appCalls(), 1, 'and nowhere else');
  t.same(outbound.retries, ['gateway_error', 'gateway_error']);
  t.same(caller.retries, []);
  const [record] = caller.decisions.recent(1, true);
  t.equal(record?.attempts[0]?.after, 'told_not_to');
});

t.test('without a trace each agent does what it can alone', async (t) => {
  const failing = await startOrigin(t, 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
  const { inbound, appCalls } = await agentAround(t, [failing.port, failing.port], 'nothing');
  const caller = await startRig(
    t,
    { a: [inbound.port] },
    { policy: policyWith({ retries: { attempts: 1, budget: BUDGET, backoff: { baseMs: 1, maxMs: 1 } } }) },
  );
  t.match(await exchangeRaw(t, caller.port, ask('')), /^HTTP\/1.1 503 /);
  t.equal(appCalls(), 2);
});

t.test('the class of a request travels with it', async (t) => {
  const origin = await startOrigin(t);
  const { inbound } = await agentAround(t, [origin.port], 'traceparent');
  await exchangeRaw(t, inbound.port, ask(`Traceparent: ${TRACEPARENT}\r\nX-Outrigger-Class: sheddable\r\n`));
  t.match(origin.received.join(''), /x-outrigger-class: sheddable/);
});

t.test('x-outrigger-why names the decision: on failures, and on request', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] });
  t.notMatch(await exchangeRaw(t, rig.port, ask('')), /x-outrigger-why/);
  const asked = await exchangeRaw(t, rig.port, ask('X-Outrigger-Explain: 1\r\n'));
  const id = /x-outrigger-why: (\S+)/.exec(asked)?.[1] ?? '';
  t.match(rig.decisions.find(id), { result: 'ok', status: 200, service: 'a' });
  t.match(
    origin.received.join(''),
    `x-request-id: ${id}\r\n`,
    'the upstream knows a request without a name by the same id',
  );
  t.match(rig.records[1], { requestId: id }, 'and so does the access log');
  origin.answer = 'HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n';
  const failed = await exchangeRaw(t, rig.port, ask('X-Request-Id: mine\r\n'));
  t.match(failed, /x-outrigger-why: \S+/);
  t.match(rig.decisions.find('mine'), { status: 500, requestId: 'mine' });
  t.equal(rig.decisions.find('nobody-1'), null);
});
