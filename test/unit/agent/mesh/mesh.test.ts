import t from 'tap';
import type { MeshEvent, PolicyPush } from '#contract/frames.ts';
import type { PolicyDocument, PolicyKind } from '#contract/policy/policy.ts';
import type { EndpointSet } from '../../../../agent/core/endpoint.ts';
import { beginAttempt, endAttempt } from '../../../../agent/core/outlier/record.ts';
import { pickEndpoint } from '../../../../agent/core/pick.ts';
import type { EndpointView, ServiceView } from '../../../../agent/core/snapshot.ts';
import { Mesh } from '../../../../agent/mesh/mesh.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointAt, outcome } from '../../../support/views.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function createMesh(): { mesh: Mesh; clock: VirtualClock; events: MeshEvent[] } {
  const clock = new VirtualClock();
  const events: MeshEvent[] = [];
  const mesh = new Mesh({ caller: 'orders', clock, random: seededRandom(1), onEvent: (event) => events.push(event) });
  return { mesh, clock, events };
}

function setOf(service: string, ...numbers: readonly number[]): EndpointSet {
  return { service, source: 'consul', endpoints: numbers.map((n) => endpointAt(n, {}, service)) };
}

function viewIn(mesh: Mesh, service: string): ServiceView {
  const view = mesh.snapshot.services.get(service);
  if (view === undefined) throw new Error(`no ${service}`);
  return view;
}

function endpointIn(mesh: Mesh, service: string, index = 0): EndpointView {
  const view = viewIn(mesh, service).endpoints[index];
  if (view === undefined) throw new Error(`no endpoint ${index} of ${service}`);
  return view;
}

function document(kind: PolicyKind, name: string, spec: Record<string, unknown>): PolicyDocument {
  return { apiVersion: 'outrigger.dev/v1', kind, metadata: { name }, spec };
}

function push(version: number, ...documents: readonly PolicyDocument[]): PolicyPush {
  return { version, nonce: `n${version}`, documents };
}

/** What the exchange does with one attempt. */
function attempt(mesh: Mesh, view: EndpointView, status: number, now: number): void {
  const service = view.endpoint.id.slice(0, view.endpoint.id.indexOf('@'));
  const { epoch } = view.stats;
  beginAttempt(view.stats, now);
  if (endAttempt(view.stats, outcome({ status }), epoch, viewIn(mesh, service).policy, now)) mesh.requestSweep(service);
}

t.test('applyEndpoints()', async (t) => {
  t.test('keeps views that did not change, and measurement always', async (t) => {
    const { mesh } = createMesh();
    mesh.applyEndpoints(setOf('payments', 1, 2));
    mesh.applyEndpoints(setOf('stock', 1));
    const [one, two, stock] = [endpointIn(mesh, 'payments'), endpointIn(mesh, 'payments', 1), viewIn(mesh, 'stock')];
    one.stats.ewmaMs = 7;
    const heavier = { ...endpointAt(1, { weight: 5 }, 'payments') };
    mesh.applyEndpoints({
      service: 'payments',
      source: 'consul',
      endpoints: [endpointAt(3, {}, 'payments'), heavier, two.endpoint],
    });
    t.equal(viewIn(mesh, 'payments').endpoints.length, 3);
    t.not(endpointIn(mesh, 'payments'), one);
    t.equal(endpointIn(mesh, 'payments').endpoint.weight, 5);
    t.equal(endpointIn(mesh, 'payments').stats, one.stats);
    t.equal(endpointIn(mesh, 'payments', 1), two);
    t.equal(viewIn(mesh, 'stock'), stock, 'another service is not rebuilt');
  });
  t.test('makes no snapshot when nothing changed, whatever the order and source', async (t) => {
    const { mesh, events } = createMesh();
    mesh.applyEndpoints(setOf('payments', 1, 2));
    const { snapshot } = mesh;
    mesh.applyEndpoints({ ...setOf('payments', 2, 1, 1), source: 'disk' });
    t.equal(mesh.snapshot, snapshot);
    t.match(events, [{ kind: 'discovery', text: 'payments changed: 2 joined, 0 left, 2 endpoints now' }]);
    t.equal(events.length, 1);
  });
  t.test('an endpoint that returns within ten minutes has its statistics, later it starts anew', async (t) => {
    const { mesh, clock } = createMesh();
    mesh.applyEndpoints(setOf('payments', 1, 2));
    const { stats } = endpointIn(mesh, 'payments', 1);
    mesh.applyEndpoints(setOf('payments', 1));
    clock.advance(599_999);
    mesh.applyEndpoints(setOf('payments', 1, 2));
    t.equal(endpointIn(mesh, 'payments', 1).stats, stats);
    mesh.removeService('payments');
    t.equal(mesh.snapshot.services.size, 0);
    clock.advance(600_000);
    mesh.applyEndpoints(setOf('payments', 1, 2));
    t.not(endpointIn(mesh, 'payments', 1).stats, stats);
  });
  t.test('knows a service without endpoints', async (t) => {
    const { mesh } = createMesh();
    mesh.applyEndpoints(setOf('Payments'));
    t.equal(viewIn(mesh, 'payments').pickable.length, 0);
    t.equal(viewIn(mesh, 'payments').isPanicking, false);
  });
});

t.test('requestSweep() and sweep() walk an endpoint out and back in', async (t) => {
  const { mesh, clock, events } = createMesh();
  mesh.applyEndpoints(setOf('payments', 1, 2, 3, 4));
  mesh.applyEndpoints(setOf('stock', 1));
  events.length = 0;
  const seen: number[] = [];
  mesh.onChange(({ generation }) => seen.push(generation));
  const stock = viewIn(mesh, 'stock');
  const bad = endpointIn(mesh, 'payments');
  const pinned = viewIn(mesh, 'payments');
  for (let time = 0; time < 5; time++) attempt(mesh, bad, 503, 0);
  t.same(viewIn(mesh, 'payments').pickable, viewIn(mesh, 'payments').endpoints.slice(1));
  t.equal(pinned.pickable.length, 4, 'a pinned snapshot does not change');
  t.equal(viewIn(mesh, 'stock'), stock);
  t.match(events, [
    {
      kind: 'ejection',
      service: 'payments',
      endpoint: bad.endpoint.id,
      reason: 'consecutive_5xx',
      atEpochMs: 1_700_000_000_000,
      text: 'payments@10.0.0.1:8080 ejected for 30 s (1st time): 5 consecutive 5xx answers, last 503; 1 of 4 endpoints out, limit 2',
    },
  ]);
  clock.advance(29_900);
  mesh.sweep(clock.now());
  t.equal(bad.stats.state, 'ejected');
  clock.advance(100);
  mesh.sweep(clock.now());
  t.equal(bad.stats.state, 'probing');
  const view = viewIn(mesh, 'payments');
  t.equal(pickEndpoint(view, clock.now(), seededRandom(1), []), bad, 'the next request is the probe');
  attempt(mesh, bad, 200, clock.now());
  t.equal(viewIn(mesh, 'payments').pickable.length, 4);
  t.match(events[1], { kind: 'reinstatement', reason: 'probe_passed' });
  t.equal(events.length, 2);
  t.same(seen, [3, 4, 5], 'listeners saw each change once');
  clock.advance(60_000);
  mesh.sweep(clock.now());
  t.equal(bad.stats.ejectionMultiplier, 0, 'quiet intervals are counted by the timer');
  t.equal(mesh.snapshot.generation, 6, 'and make no snapshot; the last step of the warm-up made one');
  clock.advance(60_000);
  mesh.sweep(clock.now());
  t.equal(mesh.snapshot.generation, 6);
});

t.test('panic begins and ends with an event', async (t) => {
  const { mesh, events } = createMesh();
  mesh.applyEndpoints(setOf('payments', 1, 2, 3, 4));
  for (const index of [0, 1]) {
    for (let time = 0; time < 5; time++) attempt(mesh, endpointIn(mesh, 'payments', index), 500, 0);
  }
  t.equal(viewIn(mesh, 'payments').isPanicking, false);
  mesh.applyEndpoints(setOf('payments', 1, 2, 3));
  t.equal(viewIn(mesh, 'payments').isPanicking, true);
  t.equal(viewIn(mesh, 'payments').pickable.length, 3);
  t.match(events.at(-1), {
    kind: 'panic',
    reason: 'panic_began',
    text: 'payments is in panic and uses every endpoint: 1 of 3 endpoints serving, threshold 50 %',
  });
  mesh.applyEndpoints(setOf('payments', 1, 2, 3, 4));
  t.match(events.at(-1), { kind: 'panic', reason: 'panic_ended' });
});

t.test('applyPolicy()', async (t) => {
  t.test('takes over what is valid and rebuilds only what it is about', async (t) => {
    const { mesh } = createMesh();
    mesh.applyEndpoints(setOf('payments', 1));
    mesh.applyEndpoints(setOf('stock', 1));
    const [payments, stock] = [viewIn(mesh, 'payments'), viewIn(mesh, 'stock')];
    const verdict = mesh.applyPolicy(push(7, document('ServicePolicy', 'payments', { retries: { attempts: 3 } })));
    t.same(verdict, { version: 7, nonce: 'n7', verdict: 'ACK', appliedVersion: 7, problems: [] });
    t.equal(mesh.snapshot.policyVersion, 7);
    t.equal(viewIn(mesh, 'payments').policy.retries.attempts, 3);
    t.equal(viewIn(mesh, 'payments').stats, payments.stats);
    t.equal(endpointIn(mesh, 'payments'), payments.endpoints[0]);
    t.equal(viewIn(mesh, 'stock'), stock);
    mesh.applyPolicy(push(8));
    t.equal(viewIn(mesh, 'payments').policy.retries.attempts, 1, 'a document that is missing was deleted');
  });
  t.test('with one problem keeps the very snapshot it had and names the document', async (t) => {
    const { mesh, events } = createMesh();
    mesh.applyEndpoints(setOf('payments', 1));
    mesh.applyPolicy(push(1));
    const { snapshot } = mesh;
    let told = 0;
    mesh.onChange(() => told++);
    const good = document('ServicePolicy', 'payments', { retries: { attempts: 3 } });
    const verdict = mesh.applyPolicy(push(2, good, document('ServicePolicy', 'stock', { retries: { attempts: 99 } })));
    t.equal(mesh.snapshot, snapshot);
    t.equal(told, 0);
    t.match(verdict, { version: 2, nonce: 'n2', verdict: 'NACK', appliedVersion: 1 });
    t.equal(verdict.problems[0]?.path, 'ServicePolicy/stock: spec.retries.attempts');
    t.match(events.at(-1), {
      kind: 'policy',
      reason: 'policy_nack',
      text: /^policy version 2 refused, version 1 stays in force: /,
    });
    t.equal(mesh.applyPolicy(push(3, good, good)).problems[0]?.code, 'OTR_DUPLICATE');
    t.equal(mesh.snapshot, snapshot);
    const nothing: unknown = null;
    t.match(
      mesh.applyPolicy({ ...push(4), documents: [nothing as PolicyDocument] }).problems[0]?.path,
      /^documents\[0\]:/,
    );
    t.equal(mesh.snapshot, snapshot);
  });
  t.test('a version without effect moves only the version', async (t) => {
    const { mesh } = createMesh();
    mesh.applyEndpoints(setOf('payments', 1));
    const view = viewIn(mesh, 'payments');
    mesh.applyPolicy(push(4));
    t.equal(mesh.snapshot.policyVersion, 4);
    t.equal(viewIn(mesh, 'payments'), view);
  });
  t.test('names the backends that must be discovered', async (t) => {
    const { mesh } = createMesh();
    mesh.applyEndpoints(setOf('payments', 1));
    const rules = [
      {
        name: 'split',
        backendRefs: [
          { name: 'payments-v2', weight: 10 },
          { name: 'payments', weight: 90 },
        ],
      },
    ];
    const spec = { parentRefs: [{ kind: 'Service', name: 'payments' }], rules };
    t.match(mesh.applyPolicy(push(1, document('HTTPRoute', 'payments', spec))), { verdict: 'ACK' });
    t.same(mesh.wantedServices(), ['payments', 'payments-v2']);
  });
  t.test('names those that get copies too, and nobody for a rule that redirects', async (t) => {
    const { mesh } = createMesh();
    mesh.applyEndpoints(setOf('payments', 1));
    const rules = [
      { filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'shadow' } } }] },
      { filters: [{ type: 'RequestRedirect', requestRedirect: { scheme: 'https' } }] },
    ];
    const spec = { parentRefs: [{ kind: 'Service', name: 'payments' }], rules };
    t.match(mesh.applyPolicy(push(1, document('HTTPRoute', 'payments', spec))), { verdict: 'ACK' });
    t.same(mesh.wantedServices(), ['payments', 'shadow']);
  });
  t.test('has a view of each subset, which follows endpoints and filters', async (t) => {
    const { mesh } = createMesh();
    const versions = (...list: string[]) => {
      const set = setOf('payments', ...list.map((_, index) => index + 1));
      const endpoints = set.endpoints.map((one, index) => ({ ...one, meta: { version: list[index] ?? '' } }));
      return { ...set, endpoints };
    };
    const policy = (filter: string) => document('ServicePolicy', 'payments', { subsets: { canary: { filter } } });
    const sizeOf = () => viewIn(mesh, 'payments').subsets.get('canary')?.endpoints.length;
    mesh.applyEndpoints(versions('1', '2', '1'));
    t.equal(sizeOf(), undefined);
    mesh.applyPolicy(push(1, policy('Service.Meta.version == "2"')));
    t.equal(sizeOf(), 1);
    mesh.applyEndpoints(versions('2', '2', '1'));
    t.equal(sizeOf(), 2);
    mesh.applyPolicy(push(2, policy('Service.Meta.version matches "[0-9]"')));
    t.equal(sizeOf(), 3);
    const missing = document('HTTPRoute', 'payments', {
      parentRefs: [{ kind: 'Service', name: 'payments' }],
      rules: [{ backendRefs: [{ name: 'payments', subset: 'blue' }] }],
    });
    const refused = mesh.applyPolicy(push(3, policy('Service.Meta is empty'), missing));
    t.match(refused.problems, [{ path: 'HTTPRoute/payments: spec.rules[0].backendRefs[0].subset' }]);
    t.equal(sizeOf(), 3, 'the former policy stays in force');
  });
});

t.test('a listener that changes the mesh is told of its own change afterwards, in order', async (t) => {
  const { mesh } = createMesh();
  const seen: number[] = [];
  mesh.onChange(({ generation }) => {
    if (generation === 1) mesh.applyEndpoints(setOf('stock', 1));
  });
  const stop = mesh.onChange(({ generation }) => seen.push(generation));
  mesh.applyEndpoints(setOf('payments', 1));
  t.same(seen, [1, 2]);
  stop();
  mesh.removeService('stock');
  t.same(seen, [1, 2]);
});

t.test('inboundView() is one endpoint, without retries or ejection, at twice the timeouts', async (t) => {
  const { mesh } = createMesh();
  const view = mesh.inboundView('orders', { address: '127.0.0.1', port: 3000 });
  t.match(view.policy.timeouts, { connectMs: 2000, requestMs: 30_000, backendRequestMs: 10_000, idleMs: 120_000 });
  t.equal(view.policy.retries.attempts, 0);
  const [app] = view.pickable;
  if (app === undefined) throw new Error('no app');
  for (let time = 0; time < 50; time++) {
    beginAttempt(app.stats, 0);
    t.equal(endAttempt(app.stats, outcome({ status: 503 }), 0, view.policy, 0), false);
  }
  t.equal(mesh.inboundView('orders', { address: '127.0.0.1', port: 3000 }), view, 'the same object each time');
  mesh.applyPolicy(push(1, document('ServicePolicy', 'orders', { timeouts: { request: '60s' } })));
  const renewed = mesh.inboundView('orders', { address: '127.0.0.1', port: 3000 });
  t.equal(renewed.policy.timeouts.requestMs, 120_000);
  t.equal(renewed.stats, view.stats);
  t.equal(renewed.endpoints[0], app);
});
