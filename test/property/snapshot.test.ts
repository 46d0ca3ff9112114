// The mesh after any sequence of updates is the mesh built once from what they left; and what an update did not touch keeps
// its identity.

import fc from 'fast-check';
import t from 'tap';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { EndpointSet } from '../../agent/core/endpoint.ts';
import type { MeshSnapshot } from '../../agent/core/snapshot.ts';
import { Mesh } from '../../agent/mesh/mesh.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { endpointAt } from '../support/views.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const SEED = 20_260_403;
const SERVICES = ['payments', 'stock', 'web'] as const;

type Update =
  | { readonly kind: 'endpoints'; readonly set: EndpointSet }
  | { readonly kind: 'remove'; readonly service: string }
  | { readonly kind: 'policy'; readonly documents: readonly PolicyDocument[]; readonly isValid: boolean };

const name = fc.constantFrom(...SERVICES);
const endpoints: fc.Arbitrary<Update> = fc
  .tuple(name, fc.array(fc.record({ n: fc.integer({ min: 1, max: 6 }), weight: fc.integer({ min: 1, max: 3 }) })))
  .map(([service, list]) => {
    // Ids are unique within a set; the last weight drawn for a number counts.
    const weights = new Map(list.map(({ n, weight }) => [n, weight]));
    const all = [...weights].map(([n, weight]) => endpointAt(n, { weight }, service));
    return { kind: 'endpoints', set: { service, source: 'consul', endpoints: all } };
  });
/** As Consul answers again and again: the same ones in the same order, of which some may say something else; or one id twice. */
const again: fc.Arbitrary<Update> = fc
  .tuple(name, fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 }), fc.boolean())
  .map(([service, weights, isTwice]) => {
    const all = weights.map((weight, index) => endpointAt([3, 1, 4, 2][index] ?? 1, { weight }, service));
    const twice = isTwice ? [endpointAt(1, { weight: 9 }, service)] : [];
    return { kind: 'endpoints', set: { service, source: 'consul', endpoints: [...all, ...twice] } };
  });
const policy: fc.Arbitrary<Update> = fc
  .tuple(fc.uniqueArray(fc.tuple(name, fc.integer({ min: 0, max: 12 })), { selector: ([service]) => service }))
  .map(([list]) => ({
    kind: 'policy',
    documents: list.map(([service, attempts]) => ({
      apiVersion: 'outrigger.dev/v1',
      kind: 'ServicePolicy',
      metadata: { name: service },
      spec: { retries: { attempts } },
    })),
    isValid: list.every(([, attempts]) => attempts <= 10),
  }));
const remove: fc.Arbitrary<Update> = name.map((service) => ({ kind: 'remove', service }));
const updates = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: endpoints },
    { weight: 4, arbitrary: again },
    { weight: 3, arbitrary: policy },
    remove,
  ),
  {
    maxLength: 25,
  },
);

function createMesh(): Mesh {
  return new Mesh({ caller: 'orders', clock: new VirtualClock(), random: seededRandom(1), onEvent: () => {} });
}

/** Everything a request can see, but for measurement; how far a joiner has warmed up is measurement too. */
function visible({ policyVersion, services }: MeshSnapshot): unknown {
  const entries = [...services.values()].map(({ stats: _, warmUntil: _until, ...view }) => ({
    ...view,
    groups: view.groups.map(({ priority, zone, views }) => [priority, zone, views.map(({ endpoint }) => endpoint.id)]),
    members: view.members.map(({ endpoint }) => endpoint.id),
    endpoints: view.endpoints.map(({ endpoint }) => endpoint),
    pickable: view.pickable.map(({ endpoint }) => endpoint.id),
    probing: view.probing.map(({ endpoint }) => endpoint.id),
  }));
  return { policyVersion, services: entries.sort((a, b) => (a.service < b.service ? -1 : 1)) };
}

function apply(mesh: Mesh, update: Update, version: number): void {
  if (update.kind === 'endpoints') mesh.applyEndpoints(update.set);
  else if (update.kind === 'remove') mesh.removeService(update.service);
  else mesh.applyPolicy({ version, nonce: `n${version}`, documents: update.documents });
}

t.test('any sequence of updates equals one rebuild from the final inputs', async (t) => {
  fc.assert(
    fc.property(updates, (all) => {
      const mesh = createMesh();
      const sets = new Map<string, EndpointSet>();
      let last: { readonly version: number; readonly update: Update } | null = null;
      for (const [index, update] of all.entries()) {
        apply(mesh, update, index + 1);
        if (update.kind === 'endpoints') sets.set(update.set.service, update.set);
        else if (update.kind === 'remove') sets.delete(update.service);
        else if (update.isValid) last = { version: index + 1, update };
      }
      const rebuilt = createMesh();
      if (last !== null) apply(rebuilt, last.update, last.version);
      for (const set of sets.values()) rebuilt.applyEndpoints(set);
      t.same(visible(mesh.snapshot), visible(rebuilt.snapshot));
    }),
    { seed: SEED, numRuns: 150 },
  );
});

t.test('survivors keep their identity, and a refused policy keeps the snapshot itself', async (t) => {
  fc.assert(
    fc.property(updates, (all) => {
      const mesh = createMesh();
      for (const [index, update] of all.entries()) {
        const before = mesh.snapshot;
        const frozen = JSON.stringify(visible(before));
        apply(mesh, update, index + 1);
        const after = mesh.snapshot;
        if (JSON.stringify(visible(before)) !== frozen) return false;
        if (update.kind === 'policy' && !update.isValid && after !== before) return false;
        const touched =
          update.kind === 'endpoints' ? update.set.service : update.kind === 'remove' ? update.service : null;
        for (const [service, view] of before.services) {
          const next = after.services.get(service);
          if (next === undefined) continue;
          if (update.kind !== 'policy' && service !== touched && next !== view) return false;
          if (next.stats !== view.stats) return false;
          for (const one of view.endpoints) {
            const kept = next.endpoints.find(({ endpoint }) => endpoint.id === one.endpoint.id);
            if (kept === undefined) continue;
            if (kept.stats !== one.stats) return false;
            if (kept.endpoint.weight === one.endpoint.weight && kept !== one) return false;
          }
        }
      }
      return true;
    }),
    { seed: SEED, numRuns: 300 },
  );
  t.pass();
});
