import t from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import { beginAttempt, endAttempt } from '../../../../agent/core/outlier/record.ts';
import { Mesh } from '../../../../agent/mesh/mesh.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointAt, outcome } from '../../../support/views.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

t.test('a listener that throws stops neither the others nor the request in whose midst it was called', async (t) => {
  const clock = new VirtualClock();
  const faults: unknown[] = [];
  const told: number[] = [];
  const events: MeshEvent[] = [];
  const mesh = new Mesh({
    caller: 'orders',
    clock,
    random: seededRandom(1),
    onEvent: (event) => {
      events.push(event);
      throw new Error('event');
    },
    onFault: (error) => faults.push(error instanceof Error ? error.message : error),
  });
  mesh.onChange(() => {
    throw new Error('snapshot');
  });
  mesh.onChange(({ generation }) => told.push(generation));
  mesh.applyEndpoints({ service: 'svc', source: 'consul', endpoints: [endpointAt(1), endpointAt(2)] });
  t.same(faults, ['event', 'snapshot']);
  t.same(told, [1]);
  const view = mesh.snapshot.services.get('svc');
  const [first] = view?.endpoints ?? [];
  if (view === undefined || first === undefined) throw new Error('svc has endpoints');
  for (let n = 0; n < 5; n++) {
    const { epoch } = first.stats;
    beginAttempt(first.stats, clock.now());
    if (endAttempt(first.stats, outcome({ status: 503 }), epoch, view.policy, clock.now())) mesh.requestSweep('svc');
  }
  t.equal(first.stats.state, 'ejected');
  t.equal(events.at(-1)?.kind, 'ejection');
  t.same(told, [1, 2], 'and the next change is told as well');
});

t.test('a removed service leaves nothing behind, unless a request is still in flight', async (t) => {
  const mesh = new Mesh({ caller: 'orders', clock: new VirtualClock(), random: seededRandom(1), onEvent: () => {} });
  const appear = () => {
    mesh.applyEndpoints({ service: 'svc', source: 'consul', endpoints: [endpointAt(1)] });
    return mesh.snapshot.services.get('svc')?.stats;
  };
  const first = appear();
  mesh.removeService('svc');
  const second = appear();
  t.not(second, first, 'a name that was only passing through does not stay for ever');
  if (second !== undefined) second.inFlight = 1;
  mesh.removeService('svc');
  t.equal(appear(), second, 'the end of the request meets the counter of its beginning');
});
