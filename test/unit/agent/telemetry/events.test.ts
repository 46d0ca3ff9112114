import pino from 'pino';
import t from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import { EventLog } from '../../../../agent/telemetry/events.ts';

function event(number: number, kind: MeshEvent['kind'] = 'discovery'): MeshEvent {
  return { atEpochMs: number, kind, service: 'orders', endpoint: null, reason: 'changed', text: `event ${number}.` };
}

function numbers(events: readonly MeshEvent[]): number[] {
  return events.map(({ atEpochMs }) => atEpochMs);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

function openEvents(capacity: number): { events: EventLog; lines: string[] } {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
  return { events: new EventLog({ log, capacity }), lines };
}

t.test('every event is logged with its own sentence, ejections as warnings', async (t) => {
  const { events, lines } = openEvents(10);
  events.add(event(1));
  events.add(event(2, 'ejection'));
  const [first, second] = lines.map((line) => JSON.parse(line));
  t.match(first, { level: 30, event: 'discovery', service: 'orders', reason: 'changed', msg: 'event 1.' });
  t.match(second, { level: 40, event: 'ejection', msg: 'event 2.' });
});

t.test('the ring keeps the newest, oldest first', async (t) => {
  const { events } = openEvents(5);
  t.same(events.recent(), []);
  for (const number of range(1, 12)) events.add(event(number));
  t.same(numbers(events.recent()), range(8, 12));
  t.same(numbers(events.recent(2)), [11, 12]);
  t.same(numbers(events.recent(100)), range(8, 12));
});

t.test('drain() gives each event once; what does not fit is counted, and the newest are kept', async (t) => {
  const { events } = openEvents(1000);
  t.same(events.drain(), { events: [], eventsDropped: 0 });
  for (const number of range(1, 3)) events.add(event(number));
  t.same(numbers(events.drain().events), [1, 2, 3]);
  t.same(events.drain(), { events: [], eventsDropped: 0 });
  for (const number of range(4, 253)) events.add(event(number));
  const { events: drained, eventsDropped } = events.drain();
  t.same(numbers(drained), range(154, 253));
  t.equal(eventsDropped, 150);
  t.equal(events.recent().length, 253, 'draining takes nothing from the ring');
});

t.test('a ring smaller than a report drops what it has overwritten', async (t) => {
  const { events } = openEvents(5);
  for (const number of range(1, 9)) events.add(event(number));
  const { events: drained, eventsDropped } = events.drain();
  t.same(numbers(drained), range(5, 9));
  t.equal(eventsDropped, 4);
});
