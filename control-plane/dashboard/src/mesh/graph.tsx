// The mesh as a picture: services in columns, calls as lines. Width says how many, colour how well, a badge what is ejected.

import type { ServiceView } from '../../../core/views.ts';
import { healthOf, latency, rate, share } from '../format.ts';
import { formatRoute } from '../route.ts';
import { isOutside, type MeshEdge } from './edges.ts';
import { type Layout, layOut, NODE_HEIGHT, NODE_WIDTH, type Placed } from './layout.ts';

const NAME_LENGTH = 22;

export function Graph({
  services,
  edges,
}: {
  readonly services: readonly ServiceView[];
  readonly edges: readonly MeshEdge[];
}) {
  const outside = edges
    .map(({ source }) => source)
    .filter((source) => !services.some(({ service }) => service === source));
  const layout = layOut([...services.map(({ service }) => service), ...outside], edges);
  const byName = new Map(services.map((view) => [view.service, view]));
  return (
    <div class="scroll graph">
      <svg width={layout.width} height={layout.height} viewBox={`0 0 ${layout.width} ${layout.height}`}>
        <title>Services and their calls</title>
        {edges.map((edge) => (
          <EdgeLine key={`${edge.source}\n${edge.destination}`} edge={edge} layout={layout} />
        ))}
        {[...layout.nodes.values()].map((placed) => (
          <Node key={placed.name} placed={placed} view={byName.get(placed.name) ?? null} />
        ))}
      </svg>
    </div>
  );
}

function EdgeLine({ edge, layout }: { readonly edge: MeshEdge; readonly layout: Layout }) {
  const from = layout.nodes.get(edge.source);
  const to = layout.nodes.get(edge.destination);
  if (from === undefined || to === undefined) return null;
  const [x1, y1] = [from.x + NODE_WIDTH, from.y + NODE_HEIGHT / 2];
  const [x2, y2] = [to.x, to.y + NODE_HEIGHT / 2];
  const bend = Math.max(50, Math.abs(x2 - x1) / 2);
  const health = edge.requestsPerSecond === 0 && edge.successShare === null ? '' : healthOf(edge.successShare);
  const text = `${edge.source} calls ${edge.destination}: ${rate(edge.requestsPerSecond)} requests/s, ${share(edge.successShare)} succeed, p99 ${latency(edge.p99Ms)}`;
  const middle = { x: (x1 + x2) / 2, y: (y1 + y2) / 2 };
  return (
    <g class={`edge ${health}`} data-edge={`${edge.source} ${edge.destination}`}>
      <title>{text}</title>
      <path
        d={`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`}
        stroke-width={widthOf(edge.requestsPerSecond)}
      />
      {x2 > x1 && (
        <text x={middle.x} y={middle.y - 9} text-anchor="middle">
          {edge.requestsPerSecond === 0 ? 'idle' : `${rate(edge.requestsPerSecond)}/s`}
        </text>
      )}
    </g>
  );
}

/** By magnitude: 1 px at rest, about 3 at ten a second, 5 at a hundred, 7 at a thousand. */
function widthOf(requestsPerSecond: number): number {
  return 1 + 2 * Math.log10(1 + requestsPerSecond);
}

function Node({ placed, view }: { readonly placed: Placed; readonly view: ServiceView | null }) {
  const { name, x, y } = placed;
  const out = view === null ? 0 : view.endpointCounts.ejected + view.endpointCounts.probing;
  const all = view === null ? 0 : Object.values(view.endpointCounts).reduce((sum, one) => sum + one, 0);
  const ratio = view?.availability.lastMinute.ratio ?? null;
  const about =
    view === null
      ? 'not in the mesh'
      : `${all === 0 ? `${rate(view.requestsPerSecond)} requests/s` : `${view.endpointCounts.serving} of ${all} serving`}`;
  const shown = isOutside(name) ? 'outside' : name.length > NAME_LENGTH ? `${name.slice(0, NAME_LENGTH - 1)}…` : name;
  const body = (
    <>
      <title>{isOutside(name) ? 'callers that no agent stands beside' : name}</title>
      <rect width={NODE_WIDTH} height={NODE_HEIGHT} rx="8" />
      <rect class="stripe" width="4" height={NODE_HEIGHT - 16} x="0" y="8" rx="2" />
      <text class="name" x="16" y="27">
        {shown}
      </text>
      <text class="about" x="16" y="47">
        {about}
        {ratio !== null && ` · ${share(ratio)}`}
      </text>
      {out > 0 && (
        <g class="badge" transform={`translate(${NODE_WIDTH - 4} 4)`}>
          <circle r="12" />
          <text text-anchor="middle" y="4.5">
            {out}
          </text>
        </g>
      )}
    </>
  );
  const place = `translate(${x} ${y})`;
  if (view === null) {
    return (
      <g class="node outside" transform={place}>
        {body}
      </g>
    );
  }
  const label = `${name}, ${about}, ${share(ratio)} succeed${out > 0 ? `, ${out} ejected` : ''}`;
  return (
    <g transform={place}>
      <a
        class={`node ${healthOf(ratio)}`}
        href={formatRoute({ screen: 'service', subject: name })}
        aria-label={label}
        data-node={name}
      >
        {body}
      </a>
    </g>
  );
}
