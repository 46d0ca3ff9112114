// Instances that answer badly: errors, broken answers, garbage, slowness (faults U4 to U6, U11, U13, U14, U16 of docs/faults.md).

import t from 'tap';
import {
  type Answer,
  describeFailures,
  failuresOf,
  MATRIX_POLICY,
  pause,
  percentile,
  startWorld,
} from '../support/chaos.ts';

t.test('U5 only 500: out after five in a row, at most five errors', async (t) => {
  const world = await startWorld(t, 3);
  const load = world.load(200);
  await pause(500);
  const [first] = world.instances;
  if (first === undefined) return;
  const at = performance.now();
  await first.behave({ badStatus: 500, badShare: 1 });
  const ejected = await world.ejection(first, at, 10_000);
  t.match(ejected.text, /5 consecutive 5xx answers, last 500/);
  await pause(500);
  await load.stop();
  const failed = load.answers.filter(({ status }) => status !== 200);
  t.comment(`${failed.length} errors, out after ${(ejected.at - at).toFixed(0)} ms`);
  // Those that were under way when the fifth came back are not the agent's doing.
  const underWay = failed.filter(({ sentAt }) => sentAt > ejected.at).length;
  t.equal(underWay, 0, 'none after the ejection');
  t.ok(failed.length <= 6, describeFailures(failed));
});

t.test('U5 with a policy that repeats 5xx no GET shows one', async (t) => {
  const world = await startWorld(t, 3, { ...MATRIX_POLICY, retries: { on: ['5xx', 'connectFailure', 'reset'] } });
  const load = world.load(200);
  await world.instances[0]?.behave({ badStatus: 500, badShare: 1 });
  await pause(1500);
  await load.stop();
  t.same(describeFailures(failuresOf(load.answers, 'GET')), '');
});

t.test('U6 a third of 503: the success rate tells, and callers see at most 2 % errors', async (t) => {
  const outlierDetection = {
    ...MATRIX_POLICY.outlierDetection,
    interval: '2s',
    consecutive5xxErrors: 0,
    consecutiveGatewayErrors: 0,
    successRate: { minimumHosts: 5, requestVolume: 20 },
  };
  const world = await startWorld(t, 5, { ...MATRIX_POLICY, outlierDetection });
  const [first] = world.instances;
  if (first === undefined) return;
  const at = performance.now();
  await first.behave({ badStatus: 503, badShare: 0.3 });
  const load = world.load(400);
  const ejected = await world.ejection(first, at, 15_000);
  t.comment(`out after ${((ejected.at - at) / 1000).toFixed(1)} s: ${ejected.text}`);
  t.match(ejected.reason, /success_rate|failure_percentage/);
  await pause(1000);
  await load.stop();
  const failed = load.answers.filter(({ status }) => status !== 200);
  t.comment(`${failed.length} of ${load.answers.length} requests showed an error`);
  t.ok(failed.length / load.answers.length <= 0.02, describeFailures(failed));
});

t.test('U11 U13 an answer that breaks off is seen to break off, and only those are hit', async (t) => {
  for (const manner of ['reset', 'cut'] as const) {
    const world = await startWorld(t, 3);
    const load = world.load(200);
    await pause(300);
    await world.instances[0]?.behave({ manner });
    await pause(1000);
    await world.instances[0]?.behave({});
    await pause(300);
    await load.stop();
    await world.stop();
    const failed = load.answers.filter(({ status, kind }) => status !== 200 || kind !== 'whole');
    t.comment(`${manner}: ${describeFailures(failed)}`);
    t.ok(failed.length > 0, `${manner} happened`);
    const kinds = new Set(failed.map(({ kind }) => kind));
    t.ok(
      [...kinds].every((kind) => kind === 'broken' || kind === 'ECONNRESET'),
      [...kinds].join(),
    );
    t.equal(load.answers.filter(({ kind }) => kind === 'mixed').length, 0);
  }
});

t.test('U14 garbage: never passed on, out after three, no answer belongs to another request', async (t) => {
  const world = await startWorld(t, 3);
  const load = world.load(200);
  await pause(300);
  const [first] = world.instances;
  if (first === undefined) return;
  const at = performance.now();
  await first.behave({ manner: 'garbage' });
  const ejected = await world.ejection(first, at, 10_000);
  t.match(ejected.text, /3 consecutive failures to answer/);
  await pause(500);
  await load.stop();
  t.same(describeFailures(failuresOf(load.answers, 'GET')), '', 'GETs were answered by others');
  const posts = failuresOf(load.answers, 'POST');
  t.ok(
    posts.every(({ status, reason }) => status === 502 && reason === 'upstream_protocol_error'),
    describeFailures(posts),
  );
  t.ok(posts.length <= 4, describeFailures(posts));
  t.equal(load.answers.filter(({ kind }) => kind === 'mixed').length, 0);
});

function shareOf(answers: readonly Answer[], pid: number): number {
  return answers.length === 0 ? 0 : answers.filter(({ from }) => from === pid).length / answers.length;
}

t.test(
  'U4 two seconds slower: below 5 % of the traffic in 5 s, the tail is back, and no healthy one is out',
  async (t) => {
    const world = await startWorld(t, 5, {
      ...MATRIX_POLICY,
      timeouts: { connect: '1s', backendRequest: '4s', request: '8s' },
    });
    for (const instance of world.instances) await instance.behave({ delayMs: 5 });
    const load = world.load(300);
    await pause(1500);
    const before = percentile(load.answers, 0.99);
    const [slow] = world.instances;
    if (slow === undefined) return;
    const at = performance.now();
    await slow.behave({ delayMs: 2005 });
    await pause(8000);
    await load.stop();
    const later = load.since(at + 5000);
    const share = shareOf(later, slow.pid());
    const after = percentile(later, 0.99);
    t.comment(
      `share ${(share * 100).toFixed(2)} % after 5 s; p99 ${before.toFixed(1)} ms before, ${after.toFixed(1)} ms after`,
    );
    t.ok(share < 0.05, `${share}`);
    // Fewer than one in a hundred are late for its sake, so it has no part in the p99; what else is in there is the machine's.
    const late = later.filter(({ tookMs }) => tookMs >= 2000).length;
    t.ok(late < later.length / 100, `${late} of ${later.length} took two seconds`);
    t.same(describeFailures(load.answers.filter(({ status }) => status !== 200)), '');
    const innocent = world.events.filter(
      ({ kind, endpoint }) => kind === 'ejection' && !endpoint?.endsWith(`:${slow.port}`),
    );
    t.same(innocent, []);
  },
);

t.test('U4 three times slower, one of five: below 5 % of the traffic in 5 s, and no healthy one is out', async (t) => {
  const world = await startWorld(t, 5);
  for (const instance of world.instances) await instance.behave({ delayMs: 40 });
  const load = world.load(150);
  await pause(1500);
  const [slow] = world.instances;
  if (slow === undefined) return;
  const at = performance.now();
  await slow.behave({ delayMs: 120 });
  await pause(9000);
  await load.stop();
  const shares = [0, 1, 2, 3, 4].map((second) => {
    const [from, to] = [at + second * 1000, at + (second + 1) * 1000];
    return shareOf(
      load.answers.filter(({ sentAt }) => sentAt >= from && sentAt < to),
      slow.pid(),
    );
  });
  const share = shareOf(load.since(at + 5000), slow.pid());
  t.comment(`shares by second ${shares.map((one) => one.toFixed(3)).join(' ')}, then ${share.toFixed(4)}`);
  t.ok(share < 0.05, `${share}`);
  const innocent = world.events.filter(
    ({ kind, endpoint }) => kind === 'ejection' && !endpoint?.endsWith(`:${slow.port}`),
  );
  t.same(innocent, []);
  t.same(describeFailures(load.answers.filter(({ status }) => status !== 200)), '');
});

t.test('U16 a cold instance joins: slow start keeps the tail', async (t) => {
  const world = await startWorld(t, 4);
  for (const instance of world.instances) await instance.behave({ delayMs: 5 });
  const [cold, ...warm] = world.instances;
  if (cold === undefined) return;
  world.discover(warm);
  await cold.behave({ delayMs: 505 });
  const load = world.load(300);
  await pause(3000);
  world.discover(world.instances);
  const at = performance.now();
  await pause(5000);
  await cold.behave({ delayMs: 5 });
  await pause(500);
  await load.stop();
  const during = load.answers.filter(({ sentAt }) => sentAt >= at && sentAt < at + 5000);
  const slow = during.filter(({ from }) => from === cold.pid());
  const p99 = percentile(during, 0.99);
  const p99Before = percentile(
    load.answers.filter(({ sentAt }) => sentAt < at),
    0.99,
  );
  t.comment(
    `${slow.length} of ${during.length} requests met the cold instance; p99 ${p99Before.toFixed(1)}, then ${p99.toFixed(1)} ms`,
  );
  t.ok(slow.length > 0, 'it is used');
  t.ok(slow.length / during.length < 0.01, `${slow.length} of ${during.length}`);
  t.same(describeFailures(load.answers.filter(({ status }) => status !== 200)), '');
});
