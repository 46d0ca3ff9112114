import t from 'tap';
import { chooseBackend } from '../../../../../agent/core/routes/split.ts';
import { backend, ruleTo } from '../../../../support/rules.ts';
import { seededRandom } from '../../../../support/seeded-random.ts';

const none = (): null => null;
const never = () => {
  throw new Error('drawn');
};

t.test('by chance: follows the weights and never takes a backend of weight 0', async (t) => {
  const split = ruleTo('svc', { backends: [backend('a', 0), backend('b', 90), backend('c', 10), backend('d', 0)] });
  const random = seededRandom(7);
  const counts = [0, 0, 0, 0];
  for (let pick = 0; pick < 10_000; pick++) {
    const index = chooseBackend(split, random, none, '::1');
    counts[index] = (counts[index] ?? 0) + 1;
  }
  t.equal(counts[0], 0);
  t.equal(counts[3], 0);
  t.ok(Math.abs((counts[1] ?? 0) - 9000) < 150, `${counts}`);
  t.equal(
    chooseBackend(split, () => 1 - 2 ** -53, none, '::1'),
    2,
    'the largest draw stays inside',
  );
  t.equal(chooseBackend(ruleTo('one'), never, none, '::1'), 0, 'a single backend draws nothing');
});

t.test('by key: the same key goes to the same backend without a draw, in proportion to the weights', async (t) => {
  const split = ruleTo('svc', {
    backends: [backend('api', 0), backend('api', 90, 'stable'), backend('api', 10, 'canary')],
    sticky: [{ kind: 'header', name: 'x-user' }],
  });
  const counts = [0, 0, 0];
  for (let user = 0; user < 20_000; user++) {
    const header = () => `user-${user}`;
    const index = chooseBackend(split, never, header, '::1');
    counts[index] = (counts[index] ?? 0) + 1;
    if (user < 100) t.equal(chooseBackend(split, never, header, '10.0.0.1'), index);
  }
  t.equal(counts[0], 0, 'weight 0 gets no key');
  t.ok(Math.abs((counts[1] ?? 0) - 18_000) < 250, `${counts}`);
});

t.test('a request without the key falls back to chance', async (t) => {
  const backends = [backend('a'), backend('b')];
  const split = ruleTo('svc', { backends, sticky: [{ kind: 'cookie', name: 'sid' }] });
  const seen = new Set<number>();
  const random = seededRandom(3);
  for (let request = 0; request < 100; request++) seen.add(chooseBackend(split, random, none, '::1'));
  t.equal(seen.size, 2);
  const bySource = ruleTo('svc', { backends, sticky: [{ kind: 'source' }] });
  t.equal(chooseBackend(bySource, never, none, '10.0.0.1'), chooseBackend(bySource, never, none, '10.0.0.1'));
});
