// The agent's own limits: connections, descriptors, a late event loop, tunnels that last too long.

import { spawn } from 'node:child_process';
import t, { type Test } from 'tap';
import { Admission } from '../../agent/proxy/admission.ts';
import { LoopWatch } from '../../agent/proxy/loop-watch.ts';
import { startOrigin } from '../support/origin.ts';
import { ROOT, until } from '../support/processes.ts';
import { startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const LAST = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

/** The first answer that is no refusal, or the last one of five seconds: places become free only when sockets are seen to be gone. */
async function servedAgain(t: Test, port: number): Promise<string> {
  let answer = '';
  for (const end = performance.now() + 5000; !answer.startsWith('HTTP/1.1 200 ') && performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    answer = await exchangeRaw(t, port, LAST);
  }
  return answer;
}

t.test('K8 overload is two late ticks that grow, and ends with one in good time', async (t) => {
  const verdicts = (lates: readonly number[], share = 0.9) => {
    const watch = new LoopWatch(200);
    return lates.map((late) => {
      watch.note(late, share);
      return watch.isOverloaded;
    });
  };
  t.same(verdicts([0, 5, 30, 0]), [false, false, false, false]);
  t.same(verdicts([0, 900, 0]), [false, false, false], 'one stall is no overload');
  t.same(verdicts([60, 140]), [false, true], 'the next would be at 220: turned away at 140');
  t.same(verdicts([60, 140], 0.5), [false, false], 'not when others have the processor');
  t.same(verdicts(Array(9).fill(110), 0.5), [...Array(7).fill(false), true, true], 'unless it lasts');
  t.same(verdicts([60, 140, 120, 49]), [false, true, true, false], 'until it is well below');
  t.same(verdicts([60, 70, 80, 90, 95, 99]), Array(6).fill(false), 'late, but not getting there');
  const watch = new LoopWatch(200);
  for (const late of [150, 250]) watch.note(late, 1);
  watch.reset();
  t.equal(watch.isOverloaded, false);
});

t.test('K8 a late event loop answers 503 with Retry-After, and then serves again', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] }, { limits: { maxLoopDelayMs: 100 } });
  const client = await rawClient(t, rig.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  // Work of growing length between any two turns of the loop, as a queue that is too long makes it.
  let busyMs = 40;
  let isBusy = true;
  const work = () => {
    const end = performance.now() + busyMs;
    while (performance.now() < end);
    busyMs = Math.min(busyMs * 2, 160);
    if (isBusy) setImmediate(work);
  };
  setImmediate(work);
  const asking = setInterval(() => client.write(GET), 5);
  await client.until((text) => text.includes('503'), 5000);
  isBusy = false;
  clearInterval(asking);
  t.match(
    client.received(),
    /HTTP\/1.1 503 Service Unavailable\r\n[\s\S]*x-outrigger-reason: overloaded\r\nretry-after: 1\r\n/,
  );
  t.match(await servedAgain(t, rig.port), /^HTTP\/1.1 200 /);
});

t.test('K4 K8 one connection too many takes the place of the oldest idle one, else gets 503', async (t) => {
  const origin = await startOrigin(t);
  const rig = await startRig(t, { a: [origin.port] }, { limits: { maxConnections: 2 } });
  const [first, second] = [await rawClient(t, rig.port), await rawClient(t, rig.port)];
  for (const client of [first, second]) {
    client.write(GET);
    await client.until((text) => text.endsWith('ok'));
  }
  const third = await rawClient(t, rig.port);
  origin.answer = () => {};
  third.write(GET);
  await first.closed();
  second.write(GET);
  await until(() => origin.requests() === 4, 2000);
  const fourth = await rawClient(t, rig.port);
  t.match(await fourth.closed(), /^HTTP\/1.1 503 [\s\S]*x-outrigger-reason: overloaded\r\nretry-after: 1\r\n/);
  t.match(rig.records.at(-1), { result: 'overloaded', status: 503 });
  third.reset();
  origin.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
  t.match(await servedAgain(t, rig.port), /^HTTP\/1.1 200 /);
});

t.test('K5 descriptors are shared out before they run out', async (t) => {
  t.equal(new Admission(256).maxConnections, 96);
  t.equal(new Admission(10).maxConnections, 1);
  t.equal(new Admission(null).isFull, false);
  // The child listens with 128 descriptors: 32 callers, each with a connection to the origin.
  const origin = await startOrigin(t);
  const script = `ulimit -n 128; exec "${process.execPath}" test/support/small-agent.ts ${origin.port}`;
  const child = spawn('sh', ['-c', script], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const port = Number(await new Promise((resolve) => child.stdout.once('data', resolve)));
  const live = await rawClient(t, port);
  live.write(GET);
  await live.until((text) => text.endsWith('ok'));
  origin.answer = ({ socket }) => setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'), 300);
  live.write(GET);
  const crowd = await Promise.all(Array.from({ length: 200 }, () => rawClient(t, port)));
  for (const client of crowd) client.write(GET);
  await until(() => crowd.every((client) => client.received() !== '' || client.socket.destroyed), 5000);
  const served = crowd.filter((client) => client.received().startsWith('HTTP/1.1 200')).length;
  const shed = crowd.filter((client) => client.received().startsWith('HTTP/1.1 503')).length;
  t.comment(`${served} served, ${shed} told 503, ${crowd.length - served - shed} closed`);
  t.ok(served > 0 && shed > 0, `${served} served, ${shed} told 503`);
  await live.until((text) => text.split('ok').length === 3);
  for (const client of crowd) client.reset();
  origin.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
  t.match(await servedAgain(t, port), /^HTTP\/1.1 200 /, 'and serves again');
});

t.test('H16 a tunnel ends when nothing moves in it, and at the end of its life', async (t) => {
  const ask = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n';
  const origin = await startOrigin(t, ({ socket }) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    socket.removeAllListeners('data');
    socket.on('data', (bytes: Buffer) => socket.write(bytes));
  });
  for (const limits of [{ tunnelIdleMs: 150 }, { tunnelLifetimeMs: 250 }]) {
    const rig = await startRig(t, { a: [origin.port] }, { limits });
    const client = await rawClient(t, rig.port);
    client.write(ask);
    await client.until((text) => text.endsWith('\r\n\r\n'));
    const talking = 'tunnelLifetimeMs' in limits ? setInterval(() => client.write('ping'), 20) : undefined;
    await client.closed();
    clearInterval(talking);
    await until(() => origin.open() === 0, 2000);
    t.match(rig.ends, [{ result: 'ok', status: 101 }]);
  }
});
