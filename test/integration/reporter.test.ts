import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { createControlPlaneClient } from '../../agent/sync/control-plane-client.ts';
import { createReporter, type Reporter } from '../../agent/sync/reporter.ts';
import { orderReport } from '../support/control-plane-client.ts';
import { type Teardown, until } from '../support/processes.ts';
import { ScriptedControlPlane } from '../support/scripted-control-plane.ts';

function createReports(
  t: Teardown,
  controlPlane: ScriptedControlPlane,
  intervalMs: number,
): { reporter: Reporter; events: MeshEvent[] } {
  const client = createControlPlaneClient({ urls: [controlPlane.url], token: null, tokenFile: null }, systemRandom);
  const events: MeshEvent[] = [];
  let sequence = 0;
  const reporter = createReporter({
    client,
    agentId: 'orders-1',
    clock: systemClock,
    random: systemRandom,
    intervalMs,
    timeoutMs: 200,
    backOff: { baseMs: 20, capMs: 100 },
    buildReport: () => ({
      sequence: ++sequence,
      sentAtEpochMs: 0,
      startedAtEpochMs: 0,
      service: 'orders',
      softwareVersion: '0.1.0',
      adminUrl: '',
      isReady: true,
      isDraining: false,
      policy: { appliedVersion: 0, wantedVersion: 0, problems: [] },
      services: [],
      edges: [],
      events: events.splice(0),
      eventsDropped: 0,
    }),
  });
  t.teardown(async () => {
    await reporter.stop();
    client.close();
  });
  return { reporter, events };
}

const event = (n: number): MeshEvent => ({
  atEpochMs: n,
  kind: 'ejection',
  service: null,
  endpoint: null,
  reason: 'x',
  text: String(n),
});

t.test('reports come at their interval, at once when asked, and many askings are one report', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const { reporter } = createReports(t, controlPlane, 400);
  reporter.start();
  await until(() => controlPlane.reports.length === 1, 2_000);
  const askedAt = performance.now();
  for (let i = 0; i < 10; i++) reporter.reportNow();
  await until(() => controlPlane.reports.length === 2, 2_000);
  t.ok(performance.now() - askedAt < 350, 'sooner than the interval');
  await sleep(120);
  t.equal(controlPlane.reports.length, 2);
  await until(() => controlPlane.reports.length === 3, 2_000);
  t.same(
    controlPlane.reports.map(({ sequence }) => sequence),
    [1, 2, 3],
  );
});

t.test('a control plane that is gone or silent costs one report at a time, and no event is lost', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  controlPlane.isSilent = true;
  const { reporter, events } = createReports(t, controlPlane, 50);
  events.push(event(1));
  reporter.start();
  await until(() => controlPlane.reports.length === 1, 2_000);
  for (let i = 0; i < 100; i++) reporter.reportNow();
  await sleep(100);
  t.equal(controlPlane.reports.length, 1, 'at most one under way');
  events.push(event(2));
  await until(() => reporter.status().failed >= 2, 3_000);
  t.match(reporter.status().failure, /no answer in time/);
  controlPlane.isSilent = false;
  await until(() => reporter.status().sent >= 1, 3_000);
  t.match(controlPlane.reports.findLast(({ events }) => events.length > 0)?.events, [{ text: '1' }, { text: '2' }]);
  for (let n = 0; n < 150; n++) events.push(event(n));
  reporter.reportNow();
  await until(() => controlPlane.reports.some(({ eventsDropped }) => eventsDropped === 50), 3_000);
  const full = controlPlane.reports.find(({ eventsDropped }) => eventsDropped === 50);
  t.equal(full?.events.length, 100);
  t.equal(full?.events.at(-1)?.text, '149');
});

t.test('a report that cannot be made is one that failed; the next ones go on', async (t) => {
  const controlPlane = await new ScriptedControlPlane().start(t);
  const client = createControlPlaneClient({ urls: [controlPlane.url], token: null, tokenFile: null }, systemRandom);
  let calls = 0;
  const reporter = createReporter({
    client,
    agentId: 'orders-1',
    clock: systemClock,
    random: systemRandom,
    intervalMs: 30,
    backOff: { baseMs: 20, capMs: 50 },
    buildReport: () => {
      if (++calls <= 2) throw new Error('a bug');
      return orderReport(calls);
    },
  });
  t.teardown(async () => {
    await reporter.stop();
    client.close();
  });
  reporter.start();
  await until(() => reporter.status().sent > 0, 2_000);
  t.equal(reporter.status().failed, 2);
});
