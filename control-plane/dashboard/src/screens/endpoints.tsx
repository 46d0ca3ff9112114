// Answers: which endpoint is bad, since when, why, and what do I do about it?

import { useState } from 'preact/hooks';
import { useApp } from '../app.ts';
import { OverruleDialog, type Verb } from '../endpoints/overrule-dialog.tsx';
import {
  type EndpointRow,
  endpointRows,
  failureRatio,
  filterRows,
  SORTS,
  type SortKey,
  sortRows,
} from '../endpoints/rows.ts';
import { count, countdown, failureShare, latency, plural, rate } from '../format.ts';
import { Filter, Pill, ServiceLink, STATE_CLASS } from '../parts/pieces.tsx';
import { WindowTable } from '../parts/window-table.tsx';

const COLUMNS = [
  { title: 'Service', key: 'service' },
  { title: 'Endpoint', key: 'name' },
  { title: 'Address' },
  { title: 'State', key: 'state' },
  { title: 'Weight', isNumber: true, isWide: true },
  { title: 'Attempts /s', key: 'rate', isNumber: true },
  { title: 'In flight', key: 'flight', isNumber: true },
  { title: 'Conns', isNumber: true, isWide: true, about: 'open connections of all agents' },
  { title: 'Peak EWMA', key: 'ewma', isNumber: true, about: 'latency that picks are made by, of the slowest caller' },
  { title: 'Attempts', isNumber: true, isWide: true },
  { title: 'Failed', key: 'failures', isNumber: true },
  { title: 'Back in', isNumber: true },
  { title: 'Why' },
  { title: 'Do' },
] as const;

const STATES = ['ejected', 'probing', 'draining', 'serving'] as const;

export function EndpointsScreen() {
  const app = useApp();
  const { query } = app.route.value;
  const [order, setOrder] = useState<{ key: SortKey; isDown: boolean }>({ key: 'service', isDown: false });
  const [asked, setAsked] = useState<{ row: EndpointRow; verb: Verb } | null>(null);
  const { services, atEpochMs } = app.live.mesh.value;
  const all = endpointRows(services.values());
  const rows = sortRows(filterRows(all, query.q ?? '', query.state ?? ''), order.key, order.isDown);
  const now = app.live.serverNow;
  const onSort = (key: string): void => {
    const known = SORTS.find((one) => one === key);
    if (known !== undefined) setOrder({ key: known, isDown: known === order.key ? !order.isDown : false });
  };
  return (
    <>
      <section class="card fill">
        <header class="card-head">
          <h1>Endpoints</h1>
          <span class="muted">
            {rows.length === all.length ? count(all.length) : `${count(rows.length)} of ${count(all.length)}`}
          </span>
          <span class="spring" />
          <label>
            State{' '}
            <select
              id="state"
              value={query.state ?? ''}
              onChange={(event) => app.setQuery({ state: event.currentTarget.value })}
            >
              <option value="">any</option>
              {STATES.map((state) => (
                <option key={state}>{state}</option>
              ))}
            </select>
          </label>
          <Filter label="Filter endpoints" />
        </header>
        <WindowTable
          id="endpoints"
          caption="Endpoints"
          columns={COLUMNS}
          rows={rows}
          sort={{ ...order, onSort }}
          empty={
            all.length > 0
              ? 'No endpoint matches the filter.'
              : atEpochMs === null
                ? 'Waiting for the control plane.'
                : 'No agent watches an endpoint yet.'
          }
          row={(row) => <Row key={row.key} row={row} now={now} onAsk={(verb) => setAsked({ row, verb })} />}
        />
      </section>
      {asked !== null && <OverruleDialog {...asked} onClose={() => setAsked(null)} />}
    </>
  );
}

function Row(props: { readonly row: EndpointRow; readonly now: number; readonly onAsk: (verb: Verb) => void }) {
  const { row, now, onAsk } = props;
  const { endpoint, service, name, dissenters } = row;
  const { state, observers, attempts, failures, reason } = endpoint;
  const isOut = state !== 'serving';
  const failed = failures === 0 ? '' : failureRatio(endpoint) > 0.01 ? 'bad' : 'warn';
  const seen = dissenters === 0 ? '' : `for ${observers.length - dissenters} of ${plural(observers.length, 'agent')}`;
  return (
    <tr data-row={row.key} tabIndex={-1} class={isOut ? `row-${STATE_CLASS[state]}` : ''}>
      <td>
        <ServiceLink service={service} />
      </td>
      <th scope="row" class="name" title={endpoint.id}>
        {name}
      </th>
      <td class="mono">{endpoint.address}</td>
      <td>
        <Pill kind={STATE_CLASS[state]}>{state}</Pill>
        {seen !== '' && <span class="muted small">{seen}</span>}
      </td>
      <td class="number wide">{count(endpoint.weight)}</td>
      <td class="number">{rate(endpoint.attemptsPerSecond)}</td>
      <td class="number">{count(endpoint.inFlight)}</td>
      <td class="number wide">{count(endpoint.connections)}</td>
      <td class="number">{latency(endpoint.ewmaMs)}</td>
      <td class="number wide">{count(attempts)}</td>
      <td class={`number ${failed}`} title={`${count(failures)} of ${count(attempts)} failed`}>
        {failureShare(failures, attempts)}
      </td>
      <td class="number">{isOut ? countdown(endpoint.ejectedUntilEpochMs, now) : ''}</td>
      <td class="sentence" title={reason ?? ''}>
        {row.why}
      </td>
      <td class="do">
        {isOut && (
          <button type="button" onClick={() => onAsk('restore')} aria-label={`Restore ${name}`}>
            Restore
          </button>
        )}
        {!isOut && (
          <>
            <button type="button" onClick={() => onAsk('eject')} aria-label={`Eject ${name}`}>
              Eject
            </button>
            <button type="button" onClick={() => onAsk('drain')} aria-label={`Drain ${name}`}>
              Drain
            </button>
          </>
        )}
      </td>
    </tr>
  );
}
