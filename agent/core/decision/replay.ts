// Makes a recorded pick again: the same function, over the same view, with measurement and chance as they were. What comes out
// must be the recorded endpoint; a test holds this over 100,000 requests.

import { pickEndpoint } from '../pick.ts';
import type { EndpointGroup, EndpointView, ServiceView } from '../snapshot.ts';
import { Draws } from './draws.ts';
import type { PickTrace } from './pick-trace.ts';

/**
 * @param chosen  what was recorded; needed only to know who was owed the probe
 * @returns       the endpoint that is picked; undefined when the view is no longer kept
 */
export function replayPick(trace: PickTrace, chosen: EndpointView | null): EndpointView | null | undefined {
  const { view } = trace.held;
  if (view === null) return undefined;
  if (trace.way === 'again') return chosen;
  const former = new Map<EndpointView, EndpointView>();
  for (const sample of trace.samples()) {
    const { inFlight, ewmaMs, ewmaAt, penaltyMs, penaltyAt, endpoint } = sample;
    const stats = { ...endpoint.stats, inFlight, ewmaMs, ewmaAt, penaltyMs, penaltyAt };
    former.set(endpoint, { endpoint: endpoint.endpoint, stats });
  }
  const asOf = (one: EndpointView) => former.get(one) ?? one;
  const draws = new Draws();
  draws.reseed(trace.seed);
  const again = pickEndpoint(
    viewAsOf(view, trace, asOf, chosen),
    trace.now,
    draws.next,
    trace.tried.map(asOf),
    trace.hash,
    null,
    trace.isRepeatable,
  );
  return again === null ? null : (view.endpoints.find(({ endpoint }) => endpoint === again.endpoint) ?? null);
}

function viewAsOf(
  view: ServiceView,
  trace: PickTrace,
  asOf: (one: EndpointView) => EndpointView,
  chosen: EndpointView | null,
): ServiceView {
  const { picks, roundRobinAt, serviceInFlight } = trace;
  const groupAsOf = (group: EndpointGroup): EndpointGroup => ({
    ...group,
    views: group.views.map(asOf),
    byMember: group.byMember.map((one) => (one === null ? null : asOf(one))),
  });
  return {
    ...view,
    groups: view.groups.map(groupAsOf),
    pickable: view.pickable.map(asOf),
    probing: trace.way === 'probe' && chosen !== null ? [owedAProbe(chosen)] : [],
    cursor: { at: roundRobinAt },
    stats: { ...view.stats, picks, inFlight: serviceInFlight },
  };
}

/** At the time of the pick, whatever became of it since. */
function owedAProbe({ endpoint, stats }: EndpointView): EndpointView {
  return { endpoint, stats: { ...stats, state: 'probing', isProbeInFlight: false, probeVerdict: 'none' } };
}
