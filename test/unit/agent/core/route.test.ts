import t from 'tap';
import type { CallerPermission } from '#contract/policy/policy.ts';
import type { RouteMatch, RouteRule } from '#contract/policy/route-rule.ts';
import { isPermitted } from '../../../../agent/core/permission.ts';
import { matchRoute } from '../../../../agent/core/route.ts';
import { explainRoute } from '../../../../agent/core/routes/explain-route.ts';
import { queryValue } from '../../../../agent/core/routes/query.ts';
import { routeTableOf } from '../../../../agent/core/routes/route-table.ts';
import { match, ruleTo } from '../../../support/rules.ts';

function rule(name: string, changes: Partial<RouteMatch> | null): RouteRule {
  return ruleTo('svc', { name, matches: changes === null ? [] : [match(changes)] });
}

const none = (): null => null;
const canary = (name: string): string | null => (name === 'x-canary' ? 'yes' : null);

t.test('matchRoute()', async (t) => {
  const table = routeTableOf(
    'svc',
    [
      rule('exact', { path: { type: 'Exact', value: '/v1/health' } }),
      rule('canary', {
        path: { type: 'PathPrefix', value: '/v1' },
        headers: [{ type: 'Exact', name: 'x-canary', value: 'yes' }],
      }),
      rule('post', { path: { type: 'PathPrefix', value: '/v1/' }, method: 'POST' }),
      rule('rest', { path: { type: 'PathPrefix', value: '/v1' } }),
    ],
    null,
  );
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
    t.equal(matchRoute(table, method, path, header)?.name, expected, `${method} ${path}`);
  }
  const open = routeTableOf(
    'svc',
    [rule('root', { path: { type: 'PathPrefix', value: '/' } }), rule('any', null)],
    null,
  );
  t.equal(matchRoute(open, 'GET', '/x', none)?.name, 'root', 'the prefix / covers every path');
  t.equal(matchRoute(open, 'OPTIONS', '*', none)?.name, 'any', 'a rule without matches covers everything');
  t.equal(matchRoute(routeTableOf('svc', [], null), 'GET', '/', none), null);
});

t.test('a table knows whether its rules look at headers: only then is the head of a request remembered', async (t) => {
  const exact = (name: string) => ({ type: 'Exact', name, value: 'yes' }) as const;
  const path = rule('path', { path: { type: 'PathPrefix', value: '/' }, queryParams: [exact('q')] });
  const header = rule('header', { headers: [exact('x-canary')] });
  t.equal(routeTableOf('svc', [], null).readsHeaders, false);
  t.equal(routeTableOf('svc', [path, rule('any', null)], null).readsHeaders, false);
  t.equal(routeTableOf('svc', [path, header], null).readsHeaders, true);
});

t.test('regular expressions are for the whole path, header or parameter; Present asks for no value', async (t) => {
  const value = (type: 'Exact' | 'RegularExpression' | 'Present', name: string, wanted = '') => ({
    type,
    name,
    value: wanted,
  });
  const cases: [Partial<RouteMatch>, string, Record<string, string>, boolean][] = [
    [{ path: { type: 'RegularExpression', value: '/v[12]/.*' } }, '/v2/a?x=/v3', {}, true],
    [{ path: { type: 'RegularExpression', value: '/v[12]' } }, '/v2/a', {}, false],
    [{ path: { type: 'RegularExpression', value: 'v2' } }, '/v2', {}, false],
    [{ headers: [value('RegularExpression', 'x-user', 'u-[0-9]+')] }, '/', { 'x-user': 'u-17' }, true],
    [{ headers: [value('RegularExpression', 'x-user', 'u-[0-9]+')] }, '/', { 'x-user': 'u-17x' }, false],
    [{ headers: [value('RegularExpression', 'x-user', '.*')] }, '/', {}, false],
    [{ headers: [value('Present', 'x-user')] }, '/', { 'x-user': '' }, true],
    [{ headers: [value('Present', 'x-user')] }, '/', {}, false],
    [{ queryParams: [value('Exact', 'v', 'a b')] }, '/?u=1&v=a+b', {}, true],
    [{ queryParams: [value('Exact', 'v', 'a b')] }, '/?v=x&v=a%20b', {}, false],
    [{ queryParams: [value('RegularExpression', 'v', '[0-9]{1,3}')] }, '/?v=42', {}, true],
    [{ queryParams: [value('RegularExpression', 'v', '[0-9]{1,3}')] }, '/?v=4242', {}, false],
    [{ queryParams: [value('Present', 'debug')] }, '/?debug', {}, true],
    [{ queryParams: [value('Present', 'debug')] }, '/?bug&xdebug=1', {}, false],
    [{ queryParams: [value('Present', 'debug')] }, '/debug', {}, false],
  ];
  for (const [changes, target, headers, expected] of cases) {
    const table = routeTableOf('svc', [rule('r', changes)], null);
    const found = matchRoute(table, 'GET', target, (name) => headers[name] ?? null);
    t.equal(found !== null, expected, `${JSON.stringify(changes)} ${target}`);
  }
});

t.test('queryValue()', async (t) => {
  const cases: [string, string, string | null][] = [
    ['/', 'a', null],
    ['/?', 'a', null],
    ['/?a', 'a', ''],
    ['/?a=', 'a', ''],
    ['/?a=1&a=2', 'a', '1'],
    ['/?b=1&&a=2', 'a', '2'],
    ['/?aa=1&a=2', 'a', '2'],
    ['/?a=1=2', 'a', '1=2'],
    ['/?=1', '', null],
    ['/?%61=1', 'a', '1'],
    ['/?a=%C3%A9', 'a', 'é'],
    ['/?a=%FF', 'a', '%FF'],
    ['/?a=%', 'a', '%'],
    ['/?a=1+2', 'a', '1 2'],
    ['/?__proto__=1', '__proto__', '1'],
  ];
  for (const [target, name, expected] of cases) {
    const query = target.indexOf('?');
    t.equal(queryValue(target, query < 0 ? target.length : query, name), expected, `${target} ${name}`);
  }
});

t.test('compiled patterns outlive a rebuild of the view, and a plan with other rules has its own', async (t) => {
  const rules = [rule('r', { path: { type: 'RegularExpression', value: '/a.*' } })];
  const table = routeTableOf('svc', rules, null);
  t.equal(routeTableOf('svc', rules, table), table);
  t.not(routeTableOf('svc', [...rules], table), table);
});

t.test(
  'explainRoute() says which rule matched and what the nearest other one missed, without telling values',
  async (t) => {
    const table = routeTableOf(
      'svc',
      [
        rule('exact', { path: { type: 'Exact', value: '/pay' } }),
        rule('canary', {
          path: { type: 'PathPrefix', value: '/orders' },
          method: 'POST',
          headers: [{ type: 'Exact', name: 'authorization', value: 'open sesame' }],
        }),
        rule('orders', { path: { type: 'PathPrefix', value: '/orders' } }),
        rule('rest', null),
      ],
      null,
    );
    const header = (name: string): string | null => (name === 'authorization' ? 'Bearer hunter2' : null);
    const found = explainRoute(table, { method: 'POST', target: '/orders/1?x=1', header });
    t.equal(found.rule, 'orders');
    t.same(
      found.misses.map(({ rule: name, held, parts }) => [name, held, parts]),
      [
        ['exact', 0, 1],
        ['canary', 2, 3],
      ],
    );
    t.same(found.nearestMiss?.failed, ['header authorization is not "open sesame"']);
    t.equal(found.text, 'rule orders matches; canary would have, but header authorization is not "open sesame"');
    t.notMatch(JSON.stringify(found), /hunter2/);
    const lost = explainRoute(routeTableOf('svc', table.rules.slice(0, 2), null), {
      method: 'GET',
      target: '/orders',
      header: none,
    });
    t.equal(lost.rule, null);
    t.equal(
      lost.text,
      'no rule matches; canary would have, but the method is GET, not POST, and header authorization is not there',
    );
    t.same(explainRoute(routeTableOf('svc', [], null), { method: 'GET', target: '/', header: none }), {
      rule: null,
      misses: [],
      nearestMiss: null,
      text: 'no rule matches',
    });
  },
);

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
