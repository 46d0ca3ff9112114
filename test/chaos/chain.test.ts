// Four hops, of which the last one fails: the load that arrives anywhere is at most 1.2 times what was offered, because one layer
// repeats and the others know. And nobody works for a caller that does not wait any more.

import { Agent, request } from 'node:http';
import t from 'tap';
import { CHAIN_POLICY, startChain } from '../support/chain-agent.ts';

const NAMES = ['a', 'b', 'c', 'd'] as const;

interface Offered {
  sent: number;
  /** performance.now() of the last one. */
  lastSentAt: number;
  tookMs: number;
  readonly statuses: Map<number, number>;
}

/** Callers at once: enough to keep four hops busy in one process, too few to make it stand still. */
const CALLERS = 12;

/** GETs with a trace of their own each, so many at once; each caller asks again when it has its answer. */
async function offer(port: number, count: number, headers: object = {}): Promise<Offered> {
  const agent = new Agent({ keepAlive: true, maxSockets: CALLERS });
  const startedAt = performance.now();
  const offered: Offered = { sent: 0, lastSentAt: startedAt, tookMs: 0, statuses: new Map() };
  const ask = (): Promise<void> =>
    new Promise((resolve, reject) => {
      offered.sent++;
      offered.lastSentAt = performance.now();
      const traceparent = `00-${offered.sent.toString(16).padStart(32, '1')}-b7ad6b7169203331-01`;
      const call = request({ port, agent, headers: { host: 'a', traceparent, ...headers } }, (response) => {
        const { statusCode = 0 } = response;
        offered.statuses.set(statusCode, (offered.statuses.get(statusCode) ?? 0) + 1);
        response.resume().on('end', () => resolve());
      });
      call.on('error', reject);
      call.end();
    });
  const caller = async (): Promise<void> => {
    while (offered.sent < count) await ask();
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  agent.destroy();
  offered.tookMs = performance.now() - startedAt;
  return offered;
}

/** What the floor of the default budget allows beside its 20 %: 10 a second, and ten seconds of it in reserve. */
function floorShare({ tookMs, sent }: Offered): number {
  return (10 * (tookMs / 1000 + 10)) / sent;
}

t.test('every hop serves: as many requests at each as were offered', async (t) => {
  const chain = await startChain(t, NAMES, CHAIN_POLICY);
  const offered = await offer(chain.port, 200);
  t.same([...offered.statuses], [[200, 200]]);
  for (const name of NAMES) t.equal(chain.received.get(name), 200, name);
});

t.test('the leaf answers 503: attempts at every hop are at most 1.2 times the offered load', async (t) => {
  const chain = await startChain(t, NAMES, CHAIN_POLICY);
  chain.leaf.status = 503;
  const count = 2000;
  const offered = await offer(chain.port, count);
  t.same([...offered.statuses.keys()], [503]);
  const retried = chain.outbound.map((rig) => rig.retries.filter((reason) => reason !== 'budget_exhausted').length);
  const loads = NAMES.map((name) => (chain.received.get(name) ?? 0) / count);
  t.comment(
    `requests at a, b, c, d for each offered: ${loads.map((load) => load.toFixed(3)).join(', ')}; retries ${retried}`,
  );
  for (const [at, load] of loads.slice(0, 3).entries()) t.equal(load, 1, `${NAMES[at]} was asked once`);
  const [leaf = 0] = loads.slice(-1);
  t.ok(leaf > 1 && leaf <= 1.2 + floorShare(offered), `${leaf}`);
  t.same(retried.slice(0, 3), [0, 0, 0], 'only next to the failure');
});

t.test('the leaf answers 503, with no floor to the budget: at most 1.2', async (t) => {
  const budget = { percent: 20, intervalMs: 10_000, minRetriesPerSecond: 0 };
  const chain = await startChain(t, NAMES, { ...CHAIN_POLICY, retries: { ...CHAIN_POLICY.retries, budget } });
  chain.leaf.status = 503;
  const offered = await offer(chain.port, 1500);
  const attempts = chain.outbound.reduce((sum, rig) => sum + rig.attempts.length, 0);
  t.comment(`${attempts} attempts at four hops for ${offered.sent} requests`);
  t.ok(attempts <= 4 * 1.2 * offered.sent, `${attempts}`);
  t.ok((chain.received.get('d') ?? 0) <= 1.2 * offered.sent, `${chain.received.get('d')}`);
});

t.test('the leaf is gone: attempts at every hop are at most 1.2 times the offered load', async (t) => {
  const chain = await startChain(t, NAMES, CHAIN_POLICY);
  await offer(chain.port, 20);
  await chain.killLeaf();
  const before = chain.outbound.map((rig) => rig.attempts.length);
  const received = new Map(chain.received);
  const count = 1500;
  const offered = await offer(chain.port, count);
  t.notOk(offered.statuses.has(200));
  const attempts = chain.outbound.map((rig, hop) => (rig.attempts.length - (before[hop] ?? 0)) / count);
  t.comment(`attempts by hop: ${attempts.map((one) => one.toFixed(3)).join(', ')}`);
  // There is no other d: whoever could not connect to the only one does not ask it twice.
  for (const one of attempts) t.ok(one <= 1.2, `${one}`);
  for (const name of NAMES.slice(0, 3)) {
    t.equal((chain.received.get(name) ?? 0) - (received.get(name) ?? 0), count, `${name} was asked once`);
  }
});

t.test('no work begins after the deadline of the client', async (t) => {
  const chain = await startChain(t, NAMES, CHAIN_POLICY);
  await offer(chain.port, 20);
  chain.leaf.delayMs = 2000;
  const offered = await offer(chain.port, 50, { 'x-outrigger-deadline': '250' });
  t.same([...offered.statuses.keys()], [504]);
  const last = Math.max(...chain.lastWork.values());
  // The bound is the deadline; slack for the machine.
  t.ok(
    last < offered.lastSentAt + 250 + 250,
    `work began ${(last - offered.lastSentAt).toFixed(0)} ms after the last request`,
  );
  const late = await offer(chain.port, 5, { 'x-outrigger-deadline': '3' });
  t.same([...late.statuses.keys()], [504]);
});
