// What the mesh adds to balancing: when an endpoint counts as new, how its weight grows, which endpoints an agent sees, and
// where its fellow callers are.

import t from 'tap';
import type { Endpoint } from '../../../../agent/core/endpoint.ts';
import type { ServiceView } from '../../../../agent/core/snapshot.ts';
import { Mesh } from '../../../../agent/mesh/mesh.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointAt } from '../../../support/views.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function createMesh(self?: { id: string; zone: string | null }): { mesh: Mesh; clock: VirtualClock } {
  const clock = new VirtualClock();
  clock.advance(1_000_000);
  const own = self === undefined ? {} : { self };
  const mesh = new Mesh({ caller: 'orders', ...own, clock, random: seededRandom(1), onEvent: () => {} });
  return { mesh, clock };
}

function tell(mesh: Mesh, service: string, endpoints: readonly Partial<Endpoint>[]): void {
  const all = endpoints.map((changes, index) => endpointAt(index + 1, changes, service));
  mesh.applyEndpoints({ service, source: 'consul', endpoints: all });
}

function push(mesh: Mesh, loadBalancer: unknown): void {
  const document = { apiVersion: 'outrigger.dev/v1', kind: 'MeshDefaults', metadata: { name: 'global' } } as const;
  const verdict = mesh.applyPolicy({ version: 1, nonce: 'n', documents: [{ ...document, spec: { loadBalancer } }] });
  t.same(verdict.problems, []);
}

function viewOf(mesh: Mesh, service: string): ServiceView {
  const view = mesh.snapshot.services.get(service);
  if (view === undefined) throw new Error(`no ${service}`);
  return view;
}

t.test('an endpoint that joins a running service warms up step by step; all at the start do not', async (t) => {
  const { mesh, clock } = createMesh();
  const weights = () =>
    Array.from(viewOf(mesh, 'payments').groups[0]?.weights ?? [], (weight) => Math.round(weight * 100));
  tell(mesh, 'payments', [{}, {}]);
  t.same(weights(), [100, 100], 'where all are new none is');
  tell(mesh, 'payments', [{}, {}, {}]);
  t.same(weights(), [100, 100, 10]);
  const seen: number[] = [];
  for (let step = 0; step < 330; step++) {
    clock.advance(100);
    mesh.sweep(clock.now());
    seen.push(weights()[2] ?? 0);
  }
  t.same(
    [seen[149], seen[224], seen[329]].map((weight) => Math.abs((weight ?? 0) - 50) < 3),
    [true, false, false],
  );
  t.ok(seen.every((weight, index) => weight >= (seen[index - 1] ?? 0)) && new Set(seen).size > 30);
  t.equal(seen.at(-1), 100);
  const { generation } = mesh.snapshot;
  clock.advance(5_000);
  mesh.sweep(clock.now());
  t.equal(mesh.snapshot.generation, generation, 'and then the view stays');
  tell(mesh, 'payments', [{}, {}]);
  tell(mesh, 'payments', [{}, {}, {}]);
  t.same(weights(), [100, 100, 10], 'who left and came back has restarted');
  tell(mesh, 'payments', []);
  tell(mesh, 'payments', [{}, {}, {}]);
  t.same(weights(), [100, 100, 100], 'nobody was there to carry the rest');
});

t.test(
  'an agent sees its own subset, keeps it over other changes, and sees all again without the policy',
  async (t) => {
    const seenBy = (id: string) => {
      const { mesh } = createMesh({ id, zone: null });
      tell(mesh, 'payments', Array(40).fill({}));
      push(mesh, { subset: { size: 5 } });
      return { mesh, ids: viewOf(mesh, 'payments').endpoints.map(({ endpoint }) => endpoint.id) };
    };
    const one = seenBy('orders-1');
    t.equal(one.ids.length, 5);
    t.same(seenBy('orders-1').ids, one.ids);
    t.notSame(seenBy('orders-2').ids, one.ids);
    tell(one.mesh, 'payments', Array(41).fill({}));
    const kept = viewOf(one.mesh, 'payments').endpoints.filter(({ endpoint }) => one.ids.includes(endpoint.id));
    t.ok(kept.length >= 4);
    push(one.mesh, {});
    t.equal(viewOf(one.mesh, 'payments').endpoints.length, 41);
  },
);

t.test('zones: the own service is watched, and a move of the callers divides the traffic anew', async (t) => {
  const { mesh } = createMesh({ id: 'orders-1', zone: 'a' });
  tell(mesh, 'payments', [{ zone: 'a' }, { zone: 'a' }, { zone: 'b' }, { zone: 'b' }]);
  t.same(mesh.wantedServices(), []);
  push(mesh, { zoneAware: { enabled: true } });
  t.same(mesh.wantedServices(), ['orders']);
  t.same(
    viewOf(mesh, 'payments').groups.map(({ zone }) => zone),
    ['a'],
  );
  tell(mesh, 'orders', [{ zone: 'a' }, { zone: 'a' }, { zone: 'a' }, { zone: 'b' }]);
  const { groups, groupShares } = viewOf(mesh, 'payments');
  t.same(
    groups.map(({ zone }) => zone),
    ['a', 'b'],
  );
  t.same(
    groupShares.map((share) => Math.round(share * 1000)),
    [667, 1000],
    'half of the capacity for three quarters of the callers',
  );
});

t.test('a hash table serves on while only states, policies and other services change', async (t) => {
  const { mesh } = createMesh();
  tell(mesh, 'payments', [{}, {}, {}]);
  push(mesh, { policy: 'maglev', hashOn: [{ source: true }] });
  const tableIn = () => viewOf(mesh, 'payments').groups[0]?.members?.table;
  const table = tableIn();
  t.ok(table !== undefined);
  push(mesh, { policy: 'maglev', hashOn: [{ header: 'x-user' }] });
  tell(mesh, 'payments', [{}, { tags: ['v2'] }, {}]);
  t.equal(tableIn(), table);
  tell(mesh, 'payments', [{}, { weight: 3 }, {}]);
  t.not(tableIn(), table);
});
