// Answers: what happened, in which order, and what did it do to the errors?

import { useEffect, useRef, useState } from 'preact/hooks';
import type { FleetEvent } from '../../../core/views.ts';
import { useApp } from '../app.ts';
import { clockTime, plural, rate } from '../format.ts';
import { Chart, RIGHT_PX } from '../parts/chart.tsx';
import { Empty, Filter, matches } from '../parts/pieces.tsx';
import { groupEvents, LANES, type Lane, laneOf, placeMarks, toneOf } from '../timeline/lanes.ts';

const SPANS = [
  ['2', '2 min'],
  ['5', '5 min'],
  ['15', '15 min'],
  ['60', '1 h'],
] as const;
const LANE_PX = 28;
/** Names of the lanes stand here; the chart's axis of values is as wide, so that one instant is one place in both. */
const LABEL_PX = 104;
const LIST_LIMIT = 200;

export function TimelineScreen() {
  const app = useApp();
  const { live, route } = app;
  const { q = '', span = '5', lane = '' } = route.value.query;
  const { events } = live.mesh.value;
  live.samples.value; // draws anew with each sample
  const toMs = live.now.value;
  const fromMs = toMs - (SPANS.some(([minutes]) => minutes === span) ? Number(span) : 5) * 60_000;
  const filter = q.trim().toLowerCase();
  const shown = events.filter(
    (event) =>
      (lane === '' || laneOf(event) === lane) &&
      matches(filter, event.text, event.service, event.agentId, event.endpoint),
  );
  const samples = live.history.total;
  return (
    <>
      <section class="card">
        <header class="card-head">
          <h1>Timeline</h1>
          <span class="spring" />
          <label>
            Last{' '}
            <select value={span} onChange={(event) => app.setQuery({ span: event.currentTarget.value })}>
              {SPANS.map(([minutes, name]) => (
                <option key={minutes} value={minutes}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <label>
            Show{' '}
            <select value={lane} onChange={(event) => app.setQuery({ lane: event.currentTarget.value })}>
              <option value="">everything</option>
              {LANES.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          <Filter label="Filter events" />
        </header>
        <Lanes events={shown} fromMs={fromMs} toMs={toMs} />
        <Chart
          title="All hops, since this page was opened"
          height={170}
          axisPx={LABEL_PX}
          lines={[
            { name: 'failed /s', colour: 'bad', isFilled: true },
            { name: 'retries /s', colour: 'warn', isDashed: true },
          ]}
          data={[
            samples.map(({ atEpochMs }) => atEpochMs / 1000),
            samples.map((sample) => sample.failuresPerSecond),
            samples.map((sample) => sample.retriesPerSecond),
          ]}
          format={rate}
          fromS={fromMs / 1000}
          toS={toMs / 1000}
        />
      </section>
      <section class="card">
        <header class="card-head">
          <h2>Events</h2>
          <span class="muted">newest first</span>
        </header>
        <EventList events={shown} />
      </section>
    </>
  );
}

function Lanes(props: { readonly events: readonly FleetEvent[]; readonly fromMs: number; readonly toMs: number }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(800);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const [left, right] = [LABEL_PX, width - RIGHT_PX];
  const marks = placeMarks(props.events, { fromMs: props.fromMs, toMs: props.toMs, left, right });
  const y = (lane: Lane): number => LANES.indexOf(lane) * LANE_PX + LANE_PX / 2;
  return (
    <div ref={box} class="lanes">
      <svg width={width} height={LANES.length * LANE_PX} role="img" aria-label={`${marks.length} events, listed below`}>
        {LANES.map((lane) => (
          <g key={lane} class="lane">
            <line x1={left} x2={right} y1={y(lane)} y2={y(lane)} />
            <text x={left - 12} y={y(lane) + 4} text-anchor="end">
              {lane}
            </text>
          </g>
        ))}
        {marks.map((mark) => (
          <circle key={mark.sequence} class={`mark ${mark.tone}`} cx={mark.x} cy={y(mark.lane)} r="5">
            <title>{mark.text}</title>
          </circle>
        ))}
      </svg>
    </div>
  );
}

function EventList({ events }: { readonly events: readonly FleetEvent[] }) {
  if (events.length === 0) return <Empty>Nothing of this kind has happened yet.</Empty>;
  const newest = groupEvents(events).slice(-LIST_LIMIT).reverse();
  return (
    <ol id="timeline" class="events">
      {newest.map(({ event, agentIds }) => (
        <li key={event.sequence} data-row={event.sequence} tabIndex={-1}>
          <time dateTime={new Date(event.atEpochMs).toISOString()}>{clockTime(event.atEpochMs)}</time>
          <span class={`tone ${toneOf(event)}`}>{event.kind}</span>
          <span class="text">{event.text}</span>
          <span class="muted agent" title={agentIds.join(', ')}>
            {agentIds.length > 1 ? plural(agentIds.length, 'agent') : (event.agentId ?? 'control plane')}
          </span>
        </li>
      ))}
    </ol>
  );
}
