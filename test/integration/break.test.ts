// `outrigger break INSTANCE FAULT` before a demo that runs: each of the five faults leads to what callers do about it, end users
// hardly notice, and `ok` lifts it again.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { ROOT, until } from '../support/processes.ts';
import { type Demo, findEndpoint, type SeenEndpoint, startDemo, untilEndpoint } from '../support/running-demo.ts';

const OUT_MS = 30_000;
const BACK_MS = 60_000;
/** Requests of end users that may fail while one of four instances is broken; the demo promises 0.1 % of all. */
const MAX_FAILED_RATIO = 0.005;

interface Case {
  readonly instance: string;
  readonly fault: string;
  /**
   * Labels `reason` of `outrigger_retries_total`: what callers saw. Between them and the application is its own agent, which makes a
   * 502 of a reset unless the answer had begun.
   */
  readonly seenAs: string;
}

const CASES: readonly Case[] = [
  { instance: 'payments-1', fault: '500', seenAs: '5xx' },
  { instance: 'payments-2', fault: 'slow', seenAs: 'timeout' },
  { instance: 'payments-3', fault: 'blackhole', seenAs: 'timeout' },
  { instance: 'payments-4', fault: 'reset', seenAs: '5xx|gateway_error|reset|stale_connection' },
];

async function breakIt(demo: Demo, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [`${ROOT}cli/main.ts`, 'break', ...args], {
    env: { ...process.env, ...demo.env },
  });
  return stdout;
}

/** Good and all requests of web's callers since the start. */
async function endUsers(demo: Demo): Promise<{ good: number; valid: number }> {
  const answer = await fetch(`${demo.url}/v1/services/web`);
  const { availability } = (await answer.json()) as { availability: { life: { good: number; valid: number } } }; // the API
  return availability.life;
}

async function retries(demo: Demo, reason: string): Promise<number> {
  const line = new RegExp(`^outrigger_retries_total\\{destination="payments",reason="(?:${reason})"\\} (\\d+)$`, 'gm');
  let sum = 0;
  for (const agent of ['orders-1', 'orders-2']) {
    const metrics = await (await fetch(`${demo.adminUrl(agent)}/metrics`)).text();
    for (const [, count] of metrics.matchAll(line)) sum += Number(count);
  }
  return sum;
}

/** Instances of payments whose checks the registry calls passing. */
async function passing(demo: Demo): Promise<number> {
  const answer = await fetch(`${demo.note.consulUrl}/v1/health/service/payments?passing`);
  return ((await answer.json()) as unknown[]).length;
}

const isOutEverywhere = ({ state, observers }: SeenEndpoint): boolean =>
  state === 'ejected' && observers.length === 2 && observers.every((one) => one.state === 'ejected');
const servesEverywhere = ({ observers }: SeenEndpoint): boolean =>
  observers.length === 2 && observers.every((one) => one.state === 'serving');

/** Checks that end users hardly saw what happened since `before`; says how many did. */
async function checkEndUsers(t: Test, demo: Demo, before: { good: number; valid: number }): Promise<string> {
  const { good, valid } = await endUsers(demo);
  const requests = valid - before.valid;
  const failed = requests - (good - before.good);
  t.ok(requests > 0 && failed <= requests * MAX_FAILED_RATIO, `${failed} of ${requests} requests failed`);
  return `${failed} of ${requests} requests of end users failed`;
}

async function breakAndMend(t: Test, demo: Demo, { instance, fault, seenAs }: Case): Promise<void> {
  await untilEndpoint(demo, instance, servesEverywhere, BACK_MS);
  const [before, retried] = [await endUsers(demo), await retries(demo, seenAs)];
  const startedAt = performance.now();
  t.match(await breakIt(demo, instance, fault), `${instance} breaks: ${fault}`);
  const { reason } = await untilEndpoint(demo, instance, isOutEverywhere, OUT_MS);
  const outMs = performance.now() - startedAt;
  t.match(
    reason,
    /ejected for \d+ s \(\d\w\w time\): (\d+ consecutive|advised by the control plane: 2 callers failed there)/,
  );
  // Callers whose first requests there were none that may be repeated do so with the request that tries it again.
  let again = 0;
  await until(
    async () => {
      again = (await retries(demo, seenAs)) - retried;
      return again > 0;
    },
    OUT_MS,
    () => `callers see ${seenAs} and ask elsewhere; it was out because ${reason}`,
  );
  t.match(await breakIt(demo, instance, 'ok'), `${instance} is well again`);
  await untilEndpoint(demo, instance, servesEverywhere, BACK_MS);
  const backMs = performance.now() - startedAt - outMs;
  t.comment(
    `${fault}: ${again} attempts made elsewhere, out at both callers after ${(outMs / 1000).toFixed(1)} s, back ${(backMs / 1000).toFixed(1)} s after it was ` +
      `mended, ${await checkEndUsers(t, demo, before)}`,
  );
}

const demo = await startDemo(t, '--calm');
for (const one of CASES) {
  t.test(`${one.fault} ejects ${one.instance}, and ok brings it back`, { timeout: 115_000 }, (t) =>
    breakAndMend(t, demo, one),
  );
}

t.test('crash takes it out of the picks and fails its check, until it is well', { timeout: 115_000 }, async (t) => {
  const instance = 'payments-1';
  await untilEndpoint(demo, instance, servesEverywhere, BACK_MS);
  const before = await endUsers(demo);
  const startedAt = performance.now();
  t.match(await breakIt(demo, instance, 'crash'), `${instance} breaks: crash`);
  const isOut = async (): Promise<boolean> => (await findEndpoint(demo, instance))?.state !== 'serving';
  await until(isOut, OUT_MS, () => 'callers leave it, or forget it when the registry does');
  const outMs = performance.now() - startedAt;
  await until(
    async () => (await passing(demo)) === 3,
    OUT_MS,
    () => 'the registry hears of it',
  );
  const heardMs = performance.now() - startedAt;
  t.match(await breakIt(demo, instance, 'ok'), `${instance} is well again`);
  await until(
    async () => (await passing(demo)) === 4,
    BACK_MS,
    () => 'the registry hears that it is well',
  );
  await untilEndpoint(demo, instance, servesEverywhere, BACK_MS);
  t.comment(
    `crash: out after ${(outMs / 1000).toFixed(1)} s, its check fails after ${(heardMs / 1000).toFixed(1)} s, whole after ` +
      `${((performance.now() - startedAt) / 1000).toFixed(1)} s, ${await checkEndUsers(t, demo, before)}`,
  );
});
