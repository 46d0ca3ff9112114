import t from 'tap';
import type { CallerPermission, RouteMatch, RouteRule } from '#contract/policy/policy.ts';
import { isPermitted } from '../../../../agent/core/permission.ts';
import { chooseBackend, matchRoute } from '../../../../agent/core/route.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointViews, viewOf } from '../../../support/views.ts';

function rule(name: string, match: Partial<RouteMatch> | null, backends = [{ service: 'svc', weight: 1 }]): RouteRule {
  const matches = match === null ? [] : [{ path: null, method: null, headers: [], ...match }];
  return { name, matches, backends, requestHeaders: null, responseHeaders: null, policies: [] };
}

t.test('matchRoute()', async (t) => {
  const view = {
    ...viewOf(endpointViews(1)),
    rules: [
      rule('exact', { path: { type: 'Exact', value: '/v1/health' } }),
      rule('canary', { path: { type: 'PathPrefix', value: '/v1' }, headers: [{ name: 'x-canary', value: 'yes' }] }),
      rule('post', { path: { type: 'PathPrefix', value: '/v1/' }, method: 'POST' }),
      rule('rest', { path: { type: 'PathPrefix', value: '/v1' } }),
    ],
  };
  const none = (): null => null;
  const canary = (name: string): string | null => (name === 'x-canary' ? 'yes' : null);
  const cases: [string, string, typeof canary, string | undefined][] = [
    ['GET', '/v1/health', canary, 'exact'],
    ['GET', '/v1/health?full=1', none, 'exact'],
    ['GET', '/v1/healthy', none, 'rest'],
    ['GET', '/v1', canary, 'canary'],
    ['POST', '/v1', none, 'post'],
    ['POST', '/v1/a', none, 'post'],
    ['GET', '/v1?x=/y', none, 'rest'],
    ['GET', '/v1x', none, undefined],
    ['GET', '/', none, undefined],
    ['GET', '', none, undefined],
  ];
  for (const [method, path, header, expected] of cases) {
    t.equal(matchRoute(view, method, path, header)?.name, expected, `${method} ${path}`);
  }
  const open = { ...view, rules: [rule('root', { path: { type: 'PathPrefix', value: '/' } }), rule('any', null)] };
  t.equal(matchRoute(open, 'GET', '/x', none)?.name, 'root', 'the prefix / covers every path');
  t.equal(matchRoute(open, 'OPTIONS', '*', none)?.name, 'any', 'a rule without matches covers everything');
  t.equal(matchRoute({ ...view, rules: [] }, 'GET', '/', none), null);
});

t.test('chooseBackend() follows the weights and never takes a backend of weight 0', async (t) => {
  const split = rule('split', null, [
    { service: 'a', weight: 0 },
    { service: 'b', weight: 90 },
    { service: 'c', weight: 10 },
    { service: 'd', weight: 0 },
  ]);
  const random = seededRandom(7);
  const counts = [0, 0, 0, 0];
  for (let pick = 0; pick < 10_000; pick++) {
    const index = chooseBackend(split, random);
    counts[index] = (counts[index] ?? 0) + 1;
  }
  t.equal(counts[0], 0);
  t.equal(counts[3], 0);
  t.ok(Math.abs((counts[1] ?? 0) - 9000) < 150, `${counts}`);
  t.equal(
    chooseBackend(split, () => 1 - 2 ** -53),
    2,
    'the largest draw stays inside',
  );
  t.equal(
    chooseBackend(rule('one', null), () => {
      throw new Error('drawn');
    }),
    0,
    'a single backend draws nothing',
  );
});

t.test('isPermitted()', async (t) => {
  const from = 'ServiceIntentions/svc' as const;
  t.equal(isPermitted({ kind: 'allow' }, 'GET', '/'), true);
  t.equal(isPermitted({ kind: 'deny', from }, 'GET', '/'), false);
  const permission: CallerPermission = {
    kind: 'permissions',
    from,
    permissions: [
      { action: 'deny', methods: null, pathPrefix: '/admin', pathExact: null },
      { action: 'allow', methods: ['GET', 'HEAD'], pathPrefix: '/', pathExact: null },
      { action: 'allow', methods: ['POST'], pathPrefix: null, pathExact: '/orders' },
    ],
  };
  const cases: [string, string, boolean][] = [
    ['GET', '/anything', true],
    ['POST', '/orders', true],
    ['POST', '/orders?x=1', true],
    ['POST', '/orders/1', false],
    ['DELETE', '/anything', false],
    ['GET', '/admin', false],
    ['GET', '/admin/users', false],
    ['GET', '/public/../admin', false],
    ['GET', '/public/%2e%2e/admin', false],
    ['GET', '/%61dmin', false],
    ['GET', '//admin', false],
    ['GET', '/./admin', false],
    ['GET', '/administrator', false],
    ['GET', '/public/./x/..', true],
  ];
  for (const [method, path, expected] of cases) {
    t.equal(isPermitted(permission, method, path), expected, `${method} ${path}`);
  }
});
