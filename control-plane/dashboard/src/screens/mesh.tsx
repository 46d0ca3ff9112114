// Answers: what runs, who calls whom, and where does it hurt?

import type { AgentView } from '../../../core/agent-view.ts';
import type { ServiceView } from '../../../core/views.ts';
import { useApp } from '../app.ts';
import { count, healthOf, latency, rate, share } from '../format.ts';
import { p95Of } from '../live/history.ts';
import { meshEdges } from '../mesh/edges.ts';
import { Graph } from '../mesh/graph.tsx';
import { Empty, Figure, Filter, matches, Pill, ServiceLink, STATE_CLASS } from '../parts/pieces.tsx';
import { WindowTable } from '../parts/window-table.tsx';

/** Above this a picture says less than the table. */
const GRAPH_LIMIT = 120;

export function MeshScreen() {
  const { live, route } = useApp();
  const { services, agents, version, atEpochMs } = live.mesh.value;
  const filter = (route.value.query.q ?? '').trim().toLowerCase();
  const all = [...services.values()].sort((a, b) => (a.service < b.service ? -1 : 1));
  const edges = meshEdges(all);
  return (
    <>
      <h1 class="hidden">Mesh</h1>
      <Totals services={all} agents={[...agents.values()]} version={version} />
      <section class="card" aria-labelledby="graph-title">
        <header class="card-head">
          <h2 id="graph-title">Calls</h2>
          <span class="spring" />
          <span class="legend">
            <span>width: requests/s</span>
            <span>
              <i class="key good" /> ≥ 99.9 %
            </span>
            <span>
              <i class="key warn" /> ≥ 98 %
            </span>
            <span>
              <i class="key bad" /> below
            </span>
          </span>
        </header>
        {all.length === 0 ? (
          <Empty>
            {atEpochMs === null
              ? 'Waiting for the control plane.'
              : 'No agent has reported yet. Start one with controlPlane.url set to this address.'}
          </Empty>
        ) : all.length > GRAPH_LIMIT ? (
          <Empty>{count(all.length)} services are too many for a picture; filter the table below.</Empty>
        ) : (
          <Graph services={all} edges={edges} />
        )}
      </section>
      <section class="card">
        <header class="card-head">
          <h2>Services</h2>
          <span class="spring" />
          <Filter label="Filter services" />
        </header>
        <ServicesTable services={all.filter(({ service }) => matches(filter, service))} />
      </section>
    </>
  );
}

function Totals(props: {
  readonly services: readonly ServiceView[];
  readonly agents: readonly AgentView[];
  readonly version: number;
}) {
  const { services, agents, version } = props;
  const sum = (of: (view: ServiceView) => number): number => services.reduce((total, view) => total + of(view), 0);
  const valid = sum(({ availability }) => availability.lastMinute.valid);
  const good = sum(({ availability }) => availability.lastMinute.good);
  const success = valid === 0 ? null : good / valid;
  const out = sum(({ endpointCounts }) => endpointCounts.ejected + endpointCounts.probing);
  const inSync = agents.filter(({ policy }) => policy.isInSync).length;
  return (
    <dl id="totals" class="figures">
      <Figure name="Requests, all hops" value={`${rate(sum((view) => view.requestsPerSecond))} /s`} />
      <Figure name="Success, 1 min" value={share(success)} health={healthOf(success)} />
      <Figure name="Services" value={count(services.length)} />
      <Figure name="Endpoints serving" value={count(sum(({ endpointCounts }) => endpointCounts.serving))} />
      <Figure name="Ejected" value={count(out)} health={out > 0 ? 'bad' : ''} />
      <Figure name="Policy version" value={String(version)} />
      <Figure
        name="Agents in sync"
        value={`${inSync} / ${agents.length}`}
        health={inSync < agents.length ? 'warn' : ''}
      />
    </dl>
  );
}

const COLUMNS = [
  { title: 'Service' },
  { title: 'Requests /s', isNumber: true },
  { title: 'Success, 1 min', isNumber: true },
  { title: 'Availability, life', isNumber: true, about: 'since this control plane first heard of the service' },
  { title: 'p50', isNumber: true },
  { title: 'p95', isNumber: true },
  { title: 'p99', isNumber: true },
  { title: 'Retries /s', isNumber: true },
  { title: 'In flight', isNumber: true },
  { title: 'Endpoints' },
] as const;

function ServicesTable({ services }: { readonly services: readonly ServiceView[] }) {
  return (
    <WindowTable
      id="services"
      caption="Services"
      columns={COLUMNS}
      rows={services}
      empty="No service matches."
      row={(view) => <ServiceRow key={view.service} view={view} />}
    />
  );
}

function ServiceRow({ view }: { readonly view: ServiceView }) {
  const app = useApp();
  const { lastMinute, life } = view.availability;
  const states = Object.entries(view.endpointCounts).filter(([, n]) => n > 0);
  const open = (event: KeyboardEvent): void => {
    if (event.key === 'Enter' && event.target === event.currentTarget) app.go('service', view.service);
  };
  return (
    <tr data-row={view.service} tabIndex={-1} onKeyDown={open}>
      <th scope="row" class="name">
        <ServiceLink service={view.service} />
      </th>
      <td class="number">{rate(view.requestsPerSecond)}</td>
      <td class={`number ${healthOf(lastMinute.ratio)}`}>{share(lastMinute.ratio)}</td>
      <td class={`number ${healthOf(life.ratio)}`}>{share(life.ratio)}</td>
      <td class="number">{latency(view.p50Ms)}</td>
      <td class="number">{latency(p95Of(view))}</td>
      <td class="number">{latency(view.p99Ms)}</td>
      <td class="number">{rate(view.retriesPerSecond)}</td>
      <td class="number">{count(view.inFlight)}</td>
      <td>
        {states.length === 0 && <span class="muted">no caller in the mesh</span>}
        {states.map(([state, n]) => (
          <Pill key={state} kind={STATE_CLASS[state as keyof typeof STATE_CLASS]}>
            {n} {state}
          </Pill>
        ))}
        {view.isPanicking && <Pill kind="bad">panic: ejections ignored</Pill>}
        {view.holding.length > 0 && <Pill kind="warn">fail static</Pill>}
      </td>
    </tr>
  );
}
