// Answers: how is this service doing, who is hurt by it, what is left of its budget, and which rules hold?

import type { ServiceView } from '../../../core/views.ts';
import { useApp } from '../app.ts';
import { count, healthOf, latency, rate, share } from '../format.ts';
import { p95Of } from '../live/history.ts';
import { type MeshEdge, meshEdges } from '../mesh/edges.ts';
import { Empty, Figure, Pill, ServiceLink } from '../parts/pieces.tsx';
import { formatRoute } from '../route.ts';
import { ServiceCharts } from '../service/charts.tsx';
import { EffectivePolicy } from '../service/effective.tsx';
import { SloPanel } from '../service/slo.tsx';

export function ServiceScreen({ service }: { readonly service: string }) {
  const { live } = useApp();
  const { services, atEpochMs } = live.mesh.value;
  const view = services.get(service);
  if (view === undefined) {
    return (
      <>
        <h1>{service}</h1>
        <Empty>
          {atEpochMs === null ? 'Waiting for the control plane.' : 'No agent knows a service of this name. '}
          <a href="#/mesh">All services</a>
        </Empty>
      </>
    );
  }
  const edges = meshEdges(services.values());
  const callers = edges.filter(({ destination }) => destination === service);
  const callees = edges.filter(({ source }) => source === service);
  return (
    <>
      <Head view={view} />
      <ServiceCharts service={service} />
      <div class="columns">
        <SloPanel service={service} />
        <section class="card">
          <header class="card-head">
            <h2>Callers and callees</h2>
          </header>
          <EdgeTable title="Called by" edges={callers} other={({ source }) => source} empty="Nobody calls it." />
          <EdgeTable title="Calls" edges={callees} other={({ destination }) => destination} empty="It calls nobody." />
        </section>
      </div>
      <EffectivePolicy service={service} callers={callers.map(({ source }) => source)} />
    </>
  );
}

function Head({ view }: { readonly view: ServiceView }) {
  const { lastMinute } = view.availability;
  const { serving, ejected, probing, draining } = view.endpointCounts;
  const all = serving + ejected + probing + draining;
  return (
    <>
      <div class="title">
        <h1>{view.service}</h1>
        {view.isPanicking && <Pill kind="bad">panic: ejections ignored</Pill>}
        {view.holding.map(({ agentId, reason }) => (
          <Pill key={agentId} kind="warn">
            fail static at {agentId}: {reason}
          </Pill>
        ))}
        <span class="spring" />
        <a href={formatRoute({ screen: 'endpoints', query: { q: view.service } })}>Endpoints</a>
        <a href={formatRoute({ screen: 'timeline', query: { q: view.service } })}>Timeline</a>
        <a href={formatRoute({ screen: 'policies', subject: `ServicePolicy/${view.service}` })}>Policy</a>
      </div>
      <dl class="figures">
        <Figure name="Requests" value={`${rate(view.requestsPerSecond)} /s`} />
        <Figure name="Success, 1 min" value={share(lastMinute.ratio)} health={healthOf(lastMinute.ratio)} />
        <Figure name="p50" value={latency(view.p50Ms)} />
        <Figure name="p95" value={latency(p95Of(view))} />
        <Figure name="p99" value={latency(view.p99Ms)} />
        <Figure name="Retries" value={`${rate(view.retriesPerSecond)} /s`} />
        <Figure name="In flight" value={count(view.inFlight)} />
        <Figure
          name="Endpoints serving"
          value={all === 0 ? '–' : `${serving} / ${all}`}
          health={all > 0 && serving < all ? 'bad' : ''}
        />
      </dl>
    </>
  );
}

function EdgeTable(props: {
  readonly title: string;
  readonly edges: readonly MeshEdge[];
  readonly other: (edge: MeshEdge) => string;
  readonly empty: string;
}) {
  if (props.edges.length === 0) return <Empty>{props.empty}</Empty>;
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">{props.title}</th>
            <th scope="col" class="number">
              Requests /s
            </th>
            <th scope="col" class="number">
              Success, 1 min
            </th>
            <th scope="col" class="number">
              p50
            </th>
            <th scope="col" class="number">
              p99
            </th>
          </tr>
        </thead>
        <tbody>
          {props.edges.map((edge) => (
            <tr key={props.other(edge)}>
              <th scope="row" class="name">
                <ServiceLink service={props.other(edge)} />
              </th>
              <td class="number">{rate(edge.requestsPerSecond)}</td>
              <td class={`number ${healthOf(edge.successShare)}`}>{share(edge.successShare)}</td>
              <td class="number">{latency(edge.p50Ms)}</td>
              <td class="number">{latency(edge.p99Ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
