// What a person orders about one endpoint: carried out at once, kept through discovery, ended by its time, refused in words.

import t from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import type { EndpointSet } from '../../../../agent/core/endpoint.ts';
import type { OperatorOrder } from '../../../../agent/core/outlier/operator.ts';
import { serviceReports } from '../../../../agent/core/service-report.ts';
import type { ServiceView } from '../../../../agent/core/snapshot.ts';
import { Mesh } from '../../../../agent/mesh/mesh.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointAt } from '../../../support/views.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function createMesh(count: number): { mesh: Mesh; clock: VirtualClock; events: MeshEvent[]; view(): ServiceView } {
  const clock = new VirtualClock();
  const events: MeshEvent[] = [];
  const mesh = new Mesh({ caller: 'orders', clock, random: seededRandom(1), onEvent: (event) => events.push(event) });
  mesh.applyEndpoints(setOf(count));
  const view = (): ServiceView => {
    const found = mesh.snapshot.services.get('pay');
    if (found === undefined) throw new Error('no pay');
    return found;
  };
  return { mesh, clock, events, view };
}

function setOf(count: number, changes: object = {}): EndpointSet {
  const endpoints = Array.from({ length: count }, (_, index) => endpointAt(index + 1, changes, 'pay'));
  return { service: 'pay', source: 'consul', endpoints };
}

function order(changes: Partial<OperatorOrder>): OperatorOrder {
  return { verb: 'eject', endpoint: '2', durationMs: 60_000, reason: '', operator: null, isForced: false, ...changes };
}

const statesOf = (view: ServiceView) => view.endpoints.map(({ stats }) => stats.state);
const pickableOf = (view: ServiceView) => view.pickable.map(({ endpoint }) => endpoint.id.split('@')[1]);

t.test('eject takes out at once, says so in full, and ends in one live request', async (t) => {
  const { mesh, clock, events, view } = createMesh(4);
  const ruling = mesh.overrule('Pay', order({ reason: 'memory leak', operator: 'alice' }));
  const text = 'pay@10.0.0.2:8080 ejected for 60 s by operator alice: memory leak; 1 of 4 endpoints out';
  t.match(ruling, { kind: 'decided', decision: { kind: 'eject', reason: 'operator', text } });
  t.same(pickableOf(view()), ['1', '3', '4']);
  t.match(events.at(-1), {
    kind: 'ejection',
    service: 'pay',
    endpoint: 'pay@2@10.0.0.2:8080',
    reason: 'operator',
    text,
  });
  const [report] = serviceReports({
    snapshot: mesh.snapshot,
    discovery: [],
    now: clock.now(),
    epochMs: clock.epochMs(),
    connectionsOf: () => 0,
  });
  t.match(report?.endpoints[1], { state: 'ejected', reason: text, ejectedUntilEpochMs: clock.epochMs() + 60_000 });

  clock.advance(59_000);
  mesh.applyEndpoints(setOf(4, { weight: 3 }));
  mesh.sweep(clock.now());
  t.same(statesOf(view())[1], 'ejected', 'kept through an answer of discovery');
  clock.advance(1_000);
  mesh.sweep(clock.now());
  t.same(statesOf(view())[1], 'probing');
});

t.test('the multiplier of the detectors does not grow, and a second order replaces the first', async (t) => {
  const { mesh, clock, view } = createMesh(4);
  mesh.overrule('pay', order({}));
  mesh.overrule('pay', order({ durationMs: 5_000 }));
  t.equal(view().endpoints[1]?.stats.ejectionMultiplier, 0);
  clock.advance(5_000);
  mesh.sweep(clock.now());
  t.equal(statesOf(view())[1], 'probing');
});

t.test('a passing health check does not undo what a person ordered', async (t) => {
  const { mesh, clock, view } = createMesh(4);
  mesh.overrule('pay', order({}));
  for (let second = 0; second < 10; second++) {
    clock.advance(1_000);
    mesh.recordCheck('pay', 'pay@2@10.0.0.2:8080', { isPassed: true, text: 'status 200' });
  }
  t.equal(statesOf(view())[1], 'ejected');
});

t.test('drain leaves the endpoint alone even in panic; restore brings it back at once', async (t) => {
  const { mesh, clock, events, view } = createMesh(4);
  mesh.overrule('pay', order({ verb: 'drain' }));
  t.equal(statesOf(view())[1], 'draining');
  mesh.overrule('pay', order({ endpoint: '1' }));
  mesh.overrule('pay', order({ endpoint: '10.0.0.3:8080' }));
  t.equal(view().isPanicking, true);
  t.same(pickableOf(view()), ['1', '3', '4'], 'panic uses what is ejected, not what is drained');
  clock.advance(12_000);
  const back = mesh.overrule('pay', order({ verb: 'restore', operator: 'bob', reason: 'disk is in' }));
  const text = 'pay@10.0.0.2:8080 restored 12 s after its last ejection by operator bob: disk is in';
  t.match(back, { kind: 'decided', decision: { text } });
  t.equal(statesOf(view())[1], 'serving');
  t.ok(events.some((event) => event.kind === 'reinstatement' && event.reason === 'operator' && event.text === text));
});

t.test('a drain ends by its time as an ejection does', async (t) => {
  const { mesh, clock, view } = createMesh(2);
  mesh.overrule('pay', order({ verb: 'drain', durationMs: 10_000 }));
  clock.advance(9_999);
  mesh.sweep(clock.now());
  t.equal(statesOf(view())[1], 'draining');
  clock.advance(1);
  mesh.sweep(clock.now());
  t.equal(statesOf(view())[1], 'probing');
});

t.test('the last endpoint that serves is kept unless forced, and then it still carries what comes', async (t) => {
  const { mesh, events, view } = createMesh(2);
  mesh.overrule('pay', order({ endpoint: '1' }));
  const { length } = events;
  for (const verb of ['eject', 'drain'] as const) {
    t.match(mesh.overrule('pay', order({ verb })), { kind: 'refused', why: 'last_serving', text: /only endpoint/ });
  }
  t.equal(events.length, length, 'nothing happened');
  t.same(statesOf(view()), ['ejected', 'serving']);
  t.match(mesh.overrule('pay', order({ isForced: true })), { kind: 'decided' });
  t.same(pickableOf(view()), ['1', '2']);
  const alone = createMesh(1);
  alone.mesh.overrule('pay', order({ verb: 'drain', endpoint: '1', isForced: true }));
  t.same(pickableOf(alone.view()), ['1']);
});

t.test('refusals name what there is', async (t) => {
  const { mesh } = createMesh(2);
  t.match(mesh.overrule('nobody', order({})), { why: 'unknown', text: "no endpoint '2' is known; there are: none" });
  t.match(mesh.overrule('pay', order({ endpoint: '9' })), { why: 'unknown', text: /there are: 1, 2$/ });
  t.match(mesh.overrule('pay', order({ verb: 'restore' })), { why: 'serving_already' });
  const twin = endpointAt(3, { id: 'pay@2@10.0.0.3:8080' }, 'pay');
  mesh.applyEndpoints({ ...setOf(2), endpoints: [...setOf(2).endpoints, twin] });
  t.match(mesh.overrule('pay', order({})), { why: 'ambiguous', text: /means 2 endpoints; name one by its id: pay@2@/ });
  t.match(mesh.overrule('pay', order({ endpoint: twin.id })), { kind: 'decided' });
});

t.test('no order lasts longer than a day', async (t) => {
  const { mesh, view } = createMesh(2);
  mesh.overrule('pay', order({ durationMs: 10 * 86_400_000 }));
  t.equal(view().endpoints[1]?.stats.ejectedUntil, 86_400_000);
});
