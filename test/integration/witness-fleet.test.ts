// What witnesses are worth, in real time through real streams: fifty callers at two calls a second, one bad endpoint of ten, with and
// without heeding advice; and one caller whose network is broken, which must not do any harm.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { ask, startControlPlane } from '../support/control-plane-client.ts';
import { LiveCallers, type LiveCallersOptions } from '../support/live-callers.ts';
import { until } from '../support/processes.ts';

const FOR_MS = 25_000;
const BAD = 3;
const BROKEN = 7;

interface Shown {
  readonly advisories: readonly { readonly service: string; readonly endpoint: string; readonly kind: string }[];
  readonly suspended: readonly string[];
}

t.test('50 callers at 2 rps, 1 bad endpoint of 10; and 1 broken caller of 50', { timeout: 90_000 }, async (t) => {
  const { url } = await startControlPlane(t);
  const fleet = { url, callers: 50, endpoints: 10, callsPerSecond: 2, heedsAdvice: true };
  const start = (rest: Pick<LiveCallersOptions, 'name' | 'service' | 'seed' | 'isFailing'>, heedsAdvice = true) =>
    new LiveCallers(t, { ...fleet, ...rest, heedsAdvice });
  const isBad = (_caller: number, endpoint: number): boolean => endpoint === BAD;
  const together = start({ name: 'web', service: 'payments', seed: 1, isFailing: isBad });
  const alone = start({ name: 'shop', service: 'carts', seed: 1, isFailing: isBad }, false);
  const broken = start({ name: 'app', service: 'ledger', seed: 2, isFailing: (caller) => caller === BROKEN });
  const all = [together, alone, broken];
  await until(() => all.every(({ areConnected }) => areConnected), 20_000);
  // Every agent has reported once: the control plane knows whom to advise.
  await sleep(2_500);
  for (const one of all) one.run();
  const shown = async (): Promise<Shown> => (await ask(`${url}/v1/advisories`, 'GET')).body as unknown as Shown;
  await until(async () => (await shown()).suspended.length > 0, 60_000);
  t.same((await shown()).suspended, [`app-${BROKEN}`], 'the API shows the suspension');
  await until(() => broken.suspended.has(BROKEN), 5_000);
  await sleep(FOR_MS);
  const { advisories, suspended } = await shown();
  for (const one of all) one.stop();

  const least = 50 * 2 * (FOR_MS / 1_000) * 0.8;
  for (const { calls } of all) t.ok(calls >= least, `${calls} calls were made`);
  t.comment(
    `with witnesses ${together.failed} of ${together.calls} calls failed, without ${alone.failed} of ${alone.calls}`,
  );
  t.ok(together.failed <= 30, `with witnesses ${together.failed} calls failed`);
  t.ok(alone.failed >= 3 * together.failed, `without, ${alone.failed} calls failed`);
  t.equal(together.ejecting.size, 50, 'callers that never met it stay away, too');
  t.same(
    advisories.filter(({ service }) => service === 'payments').map(({ endpoint, kind }) => ({ endpoint, kind })),
    [{ endpoint: `payments@${7_000 + BAD}`, kind: 'instance' }],
  );

  t.comment(
    `broken caller: ${broken.failed} of ${broken.calls} calls failed, ejections ${JSON.stringify([...broken.ejections])}`,
  );
  t.same(
    advisories.filter(({ service }) => service === 'ledger'),
    [],
  );
  t.equal(broken.ejections.get('advised') ?? 0, 0, 'the broken caller moves nobody');
  t.notOk(
    [...broken.ejecting].some((caller) => caller !== BROKEN),
    'nobody else ejects anybody',
  );
  t.same(suspended, [`app-${BROKEN}`]);
  t.same([...broken.suspended], [BROKEN], 'it knows that it is suspended, and nobody else is');
});
