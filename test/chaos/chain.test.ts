// Four hops, of which the last one fails: the load that arrives anywhere is at most 1.2 times what was offered, because one layer
// repeats and the others know. And nobody works for a caller that does not wait any more.

import { Agent, request } from 'node:http';
import t from 'tap';
import { CHAIN_POLICY, startChain } from '../support/chain-agent.ts';
import { pause } from '../support/chaos.ts';

const NAMES = ['a', 'b', 'c', 'd'] as const;

interface Offered {
  sent: number;
  readonly statuses: Map<number, number>;
}

/** An open loop of GETs with a trace of their own each. */
async function offer(port: number, count: number, perSecond: number, headers: object = {}): Promise<Offered> {
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  const offered: Offered = { sent: 0, statuses: new Map() };
  const answers: Promise<void>[] = [];
  const startedAt = performance.now();
  while (offered.sent < count) {
    const due = Math.min(count, Math.ceil(((performance.now() - startedAt) / 1000) * perSecond));
    while (offered.sent < due) {
      offered.sent++;
      const trace = offered.sent.toString(16).padStart(32, '1');
      const traceparent = `00-${trace}-b7ad6b7169203331-01`;
      answers.push(
        new Promise((resolve) => {
          const call = request({ port, agent, headers: { host: 'a', traceparent, ...headers } }, (response) => {
            const { statusCode = 0 } = response;
            offered.statuses.set(statusCode, (offered.statuses.get(statusCode) ?? 0) + 1);
            response.resume().on('end', () => resolve());
          });
          call.on('error', () => resolve());
          call.end();
        }),
      );
    }
    await pause(5);
  }
  await Promise.all(answers);
  agent.destroy();
  return offered;
}

t.test('every hop serves: as many requests at each as were offered', async (t) => {
  const chain = await startChain(t, NAMES, CHAIN_POLICY);
  const offered = await offer(chain.port, 200, 400);
  t.same([...offered.statuses], [[200, 200]]);
  for (const name of NAMES) t.equal(chain.received.get(name), 200, name);
});

t.test('the leaf answers 503: attempts at every hop are at most 1.2 times the offered load', async (t) => {
  const chain = await startChain(t, NAMES, CHAIN_POLICY);
  chain.leaf.status = 503;
  const count = 3000;
  const offered = await offer(chain.port, count, 500);
  t.same([...offered.statuses.keys()], [503]);
  const retried = chain.outbound.map((rig) => rig.retries.filter((reason) => reason !== 'budget_exhausted').length);
  const loads = NAMES.map((name) => (chain.received.get(name) ?? 0) / count);
  t.comment(
    `requests at a, b, c, d for each offered: ${loads.map((load) => load.toFixed(3)).join(', ')}; retries ${retried}`,
  );
  for (const [at, load] of loads.slice(0, 3).entries()) t.equal(load, 1, `${NAMES[at]} was asked once`);
  const [leaf = 0] = loads.slice(-1);
  // 20 %, and the budget's floor of 10 a second for the six seconds and the ten before them.
  const floor = 160 / count;
  t.ok(leaf > 1 && leaf <= 1.2 + floor, `${leaf}`);
  t.same(retried.slice(0, 3), [0, 0, 0], 'only next to the failure');
});

t.test('the leaf answers 503, with no floor to the budget: at most 1.2', async (t) => {
  const budget = { percent: 20, intervalMs: 10_000, minRetriesPerSecond: 0 };
  const chain = await startChain(t, NAMES, { ...CHAIN_POLICY, retries: { ...CHAIN_POLICY.retries, budget } });
  chain.leaf.status = 503;
  const offered = await offer(chain.port, 1500, 500);
  const attempts = chain.outbound.reduce((sum, rig) => sum + rig.attempts.length, 0);
  t.comment(`${attempts} attempts at four hops for ${offered.sent} requests`);
  t.ok(attempts <= 4 * 1.2 * offered.sent, `${attempts}`);
  t.ok((chain.received.get('d') ?? 0) <= 1.2 * offered.sent, `${chain.received.get('d')}`);
});

t.test('the leaf is gone: attempts at every hop are at most 1.2 times the offered load', async (t) => {
  const chain = await startChain(t, NAMES, CHAIN_POLICY);
  await offer(chain.port, 20, 200);
  await chain.killLeaf();
  const before = chain.outbound.map((rig) => rig.attempts.length);
  const received = new Map(chain.received);
  const count = 2000;
  const offered = await offer(chain.port, count, 500);
  t.notOk(offered.statuses.has(200));
  const attempts = chain.outbound.map((rig, hop) => (rig.attempts.length - (before[hop] ?? 0)) / count);
  t.comment(`attempts by hop: ${attempts.map((one) => one.toFixed(3)).join(', ')}`);
  // The agent beside the dead leaf says that it could not be reached; the one before it tries once more, within its budget.
  for (const one of attempts) t.ok(one <= 1.2 + 140 / count, `${one}`);
  for (const name of NAMES.slice(0, 3)) {
    t.equal((chain.received.get(name) ?? 0) - (received.get(name) ?? 0), count, `${name} was asked once`);
  }
});

t.test('no work begins after the deadline of the client', async (t) => {
  const chain = await startChain(t, NAMES, CHAIN_POLICY);
  chain.leaf.delayMs = 30;
  await offer(chain.port, 10, 100);
  chain.leaf.delayMs = 2000;
  const startedAt = performance.now();
  const offered = await offer(chain.port, 50, 500, { 'x-outrigger-deadline': '250' });
  const tookMs = performance.now() - startedAt;
  t.same([...offered.statuses.keys()], [504]);
  t.ok(tookMs < 2500, `${tookMs} ms, though the leaf takes 2 s`);
  const last = Math.max(...chain.lastWork.values());
  const lastSentAt = startedAt + 100;
  // The bound is the deadline; slack for the machine.
  t.ok(
    last < lastSentAt + 250 + 200,
    `the last work began ${(last - startedAt).toFixed(0)} ms after the first request`,
  );
  t.same(
    await offer(chain.port, 5, 100, { 'x-outrigger-deadline': '3' }).then(({ statuses }) => [...statuses.keys()]),
    [504],
  );
});
