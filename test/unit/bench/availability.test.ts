// The pure parts of the availability bench: when which fault befalls whom, and how its figures are cut.

import t from 'tap';
import type { CallResult } from '../../../bench/availability/callers.ts';
import { type AvailabilityRun, percentOf, renderAvailability } from '../../../bench/availability/report.ts';
import {
  CALM_MS,
  FAULT_MS,
  FAULT_TEXT,
  type FaultKind,
  faultAt,
  lengthOf,
  PAUSE_MS,
  planFaults,
} from '../../../bench/availability/schedule.ts';

t.test('every kind once in each round, one after the other, never at all instances but for the restart', async (t) => {
  const faults = planFaults(3, 5);
  const kinds = Object.keys(FAULT_TEXT) as FaultKind[];
  t.equal(faults.length, 3 * kinds.length);
  for (const kind of kinds) t.equal(faults.filter((fault) => fault.kind === kind).length, 3, kind);
  let end = CALM_MS;
  for (const { kind, instances, fromMs, untilMs } of faults) {
    t.equal(fromMs, end);
    t.equal(untilMs, fromMs + FAULT_MS);
    end = untilMs + PAUSE_MS;
    t.equal(new Set(instances).size, instances.length, 'each once');
    t.ok(
      instances.every((one) => one >= 0 && one < 5),
      kind,
    );
    if (kind !== 'restart') t.ok(instances.length < 5, kind);
  }
  t.equal(lengthOf(faults), end);
  const victims = faults.filter(({ kind }) => kind === 'crash').map(({ instances }) => instances[0]);
  t.equal(new Set(victims).size, 3, 'another one in each round');
});

t.test('a request belongs to the fault that began last, its pause included', async (t) => {
  const faults = planFaults(1, 5);
  t.equal(faultAt(faults, CALM_MS - 1), null);
  t.equal(faultAt(faults, CALM_MS), faults[0]);
  t.equal(faultAt(faults, CALM_MS + FAULT_MS + PAUSE_MS - 1), faults[0]);
  t.equal(faultAt(faults, CALM_MS + FAULT_MS + PAUSE_MS), faults[1]);
});

t.test('a single failure is never rounded away', async (t) => {
  t.equal(percentOf(0, 0), '–');
  t.equal(percentOf(10, 10), '100 %');
  t.equal(percentOf(9_999_999, 10_000_000), '99.9999 %');
  t.equal(percentOf(99_999_999, 100_000_000), '99.9999 %');
  t.equal(percentOf(1, 3), '33.3333 %');
});

t.test('the tables count failures by method and fault, and what was executed twice', async (t) => {
  const call = (id: string, method: 'GET' | 'POST', startedMs: number, outcome: string): CallResult => ({
    id,
    method,
    startedMs,
    latencyMs: 5,
    outcome,
  });
  const run: AvailabilityRun = {
    machine: { cpu: 'c', cores: 2, memoryGib: 1, kernel: 'k', node: 'n', commit: 'a', load: '0', at: 'now' },
    perSecond: 10,
    faults: planFaults(1, 5),
    results: [
      {
        name: 'one',
        version: '1',
        calls: [
          call('a', 'GET', 0, '200'),
          call('b', 'GET', CALM_MS, 'timeout'),
          call('c', 'POST', CALM_MS, '503'),
          call('d', 'POST', CALM_MS, '200'),
        ],
      },
    ],
    executions: new Map([
      ['c', 1],
      ['d', 2],
    ]),
  };
  const text = renderAvailability(run);
  t.match(text, /\| one +\| +1 of 2 \| +50 % \| +1 of 2 \| +50 % \| +1 \| +5 \| +5 \|/);
  t.match(text, /\| nothing +\| 0 \+ 0 \|/);
  t.match(text, new RegExp(`\\| ${FAULT_TEXT.crash} +\\| 1 \\+ 1 \\|`));
});
