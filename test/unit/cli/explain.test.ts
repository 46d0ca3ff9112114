// `explain route` in prepared situations: the deciding document:line of each step, and why the other rules were not it.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { explainRequest, type RequestExplanation } from '../../../cli/explain/explain-request.ts';
import { readLocatedPolicies } from '../../../cli/policy-files.ts';
import { runCommandLine } from '../../../cli/program.ts';
import type { Terminal } from '../../../cli/terminal.ts';
import { temporaryFolder } from '../../support/processes.ts';

// Lines are counted in the tests below: 1 is apiVersion of the first document.
const POLICIES = `apiVersion: outrigger.dev/v1
kind: MeshDefaults
metadata: { name: global }
spec:
  timeouts: { request: 9s }
  retries:
    attempts: 1
---
apiVersion: outrigger.dev/v1
kind: ServicePolicy
metadata: { name: orders }
spec:
  timeouts:
    connect: 250ms
  subsets:
    stable: { filter: 'Service.Meta.version == "1"' }
    canary: { filter: 'Service.Meta.version == "2"' }
  overrides:
    - caller: batch-*
      timeouts: { request: 60s }
---
apiVersion: outrigger.dev/v1
kind: HTTPRoute
metadata: { name: orders }
spec:
  parentRefs: [{ kind: Service, name: orders }]
  rules:
    - name: canary
      matches:
        - headers: [{ name: x-canary, value: "1" }]
          path: { type: PathPrefix, value: /cart }
      backendRefs: [{ name: orders, subset: canary }]
    - name: reads
      matches:
        - path: { type: PathPrefix, value: /cart }
          method: GET
      timeouts: { request: 1s }
      retry: { attempts: 3 }
      backendRefs:
        - { name: orders, subset: stable, weight: 90 }
        - { name: orders, subset: canary, weight: 10 }
    - name: search
      matches:
        - path: { type: Exact, value: /search }
          queryParams: [{ name: q, type: Present }]
      backendRefs: [{ name: stock }]
---
apiVersion: outrigger.dev/v1
kind: ServiceIntentions
metadata: { name: orders }
spec:
  defaultAction: deny
  sources:
    - { name: web, action: allow }
    - name: batch-1
      permissions:
        - { action: deny, http: { methods: [DELETE], pathPrefix: / } }
        - { action: allow, http: { methods: [GET], pathPrefix: /cart } }
`;

const HOSTED = `apiVersion: outrigger.dev/v1
kind: HTTPRoute
metadata: { name: orders }
spec:
  parentRefs: [{ kind: Service, name: orders }]
  rules:
    - name: by-host
      matches: [{ headers: [{ name: Host, value: orders.mesh }] }]
`;

interface Asked {
  readonly from?: string;
  readonly to?: string;
  readonly method?: string;
  readonly target?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function explain(t: Parameters<typeof temporaryFolder>[0], asked: Asked): RequestExplanation {
  const file = join(temporaryFolder(t), 'mesh.yaml');
  writeFileSync(file, POLICIES);
  const policies = readLocatedPolicies([file]).map((policy) => ({ ...policy, file: 'mesh.yaml' }));
  return explainRequest(policies, {
    caller: asked.from ?? 'web',
    service: asked.to ?? 'orders',
    method: asked.method ?? 'GET',
    target: asked.target ?? '/cart/7',
    headers: new Map(Object.entries(asked.headers ?? {})),
  });
}

const settingOf = ({ backends }: RequestExplanation, name: string) => {
  const { value, at, from } = backends[0]?.settings.find((setting) => setting.name === name) ?? {};
  return [value, at ?? from];
};

const SITUATIONS: readonly [
  what: string,
  asked: Asked,
  read: (found: RequestExplanation) => unknown,
  wanted: unknown,
][] = [
  [
    'an allowed source',
    {},
    ({ permission }) => permission,
    { isAllowed: true, text: 'allowed: source web', at: 'mesh.yaml:54:7' },
  ],
  [
    'a source nobody names',
    { from: 'mail' },
    ({ permission }) => permission,
    { isAllowed: false, text: 'denied: no source is mail, default deny', at: 'mesh.yaml:52:3' },
  ],
  [
    'a service without intentions',
    { to: 'stock' },
    ({ permission }) => permission,
    { isAllowed: true, text: 'allowed: no ServiceIntentions name it', at: null },
  ],
  [
    'a permission that denies',
    { from: 'batch-1', method: 'DELETE' },
    ({ permission }) => permission,
    { isAllowed: false, text: 'denied: source batch-1, permission 1', at: 'mesh.yaml:57:11' },
  ],
  [
    'a permission that allows',
    { from: 'batch-1' },
    ({ permission }) => permission,
    { isAllowed: true, text: 'allowed: source batch-1, permission 2', at: 'mesh.yaml:58:11' },
  ],
  [
    'no permission that fits',
    { from: 'batch-1', target: '/admin' },
    ({ permission }) => permission,
    { isAllowed: false, text: 'denied: no permission of source batch-1 fits, default deny', at: 'mesh.yaml:52:3' },
  ],
  ['the rule by path and method', {}, ({ route }) => [route.rule, route.at], ['reads', 'mesh.yaml:33:7']],
  [
    'the rule by header',
    { method: 'POST', headers: { 'x-canary': '1' } },
    ({ route }) => [route.rule, route.at],
    ['canary', 'mesh.yaml:28:7'],
  ],
  ['a method goes before a header', { headers: { 'x-canary': '1' } }, ({ route }) => route.rule, 'reads'],
  [
    'the rule by query parameter',
    { target: '/search?q=a' },
    ({ route }) => [route.rule, route.at],
    ['search', 'mesh.yaml:42:7'],
  ],
  [
    'why not the nearest rule',
    { target: '/search' },
    ({ route }) => route.misses.find(({ rule }) => rule === 'search'),
    { rule: 'search', held: 1, parts: 2, failed: ['query parameter q is not there'], at: 'mesh.yaml:42:7' },
  ],
  [
    'why not by method',
    { method: 'POST' },
    ({ route }) => route.misses.find(({ rule }) => rule === 'reads')?.failed,
    ['the method is POST, not GET'],
  ],
  [
    'why not by path',
    {},
    ({ route }) => route.misses.find(({ rule }) => rule === 'search')?.failed[0],
    'the path is not exactly /search',
  ],
  ['no rule matches: nothing is sent', { method: 'POST' }, ({ route, backends }) => [route.rule, backends], [null, []]],
  [
    'a service without routes',
    { to: 'stock' },
    ({ route, backends }) => [route.text, backends.map(({ service, share }) => [service, share])],
    ['the service has no routes', [['stock', 100]]],
  ],
  [
    'shares of the backends',
    {},
    ({ backends }) => backends.map(({ subset, share, at }) => [subset, share, at]),
    [
      ['stable', 90, 'mesh.yaml:40:11'],
      ['canary', 10, 'mesh.yaml:41:11'],
    ],
  ],
  [
    'who belongs to the subset of a backend',
    {},
    ({ backends }) => backends.map(({ filter }) => filter),
    [
      { text: 'Service.Meta.version == "1"', at: 'mesh.yaml:16:5' },
      { text: 'Service.Meta.version == "2"', at: 'mesh.yaml:17:5' },
    ],
  ],
  [
    'another service as the backend',
    { target: '/search?q=' },
    ({ backends }) => backends.map(({ service }) => service),
    ['stock'],
  ],
  ['a timeout by the rule', {}, (found) => settingOf(found, 'timeouts.request'), ['1s', 'mesh.yaml:37:19']],
  ['retries by the rule', {}, (found) => settingOf(found, 'retries.attempts'), ['3', 'mesh.yaml:38:16']],
  ['a timeout by the ServicePolicy', {}, (found) => settingOf(found, 'timeouts.connect'), ['250ms', 'mesh.yaml:14:5']],
  [
    'a timeout by MeshDefaults',
    { target: '/search?q=' },
    (found) => settingOf(found, 'timeouts.request'),
    ['9s', 'mesh.yaml:5:15'],
  ],
  [
    'a timeout by an override',
    { from: 'batch-1', method: 'POST', headers: { 'x-canary': '1' } },
    (found) => settingOf(found, 'timeouts.request'),
    ['60s', 'mesh.yaml:20:19'],
  ],
  [
    'retries by MeshDefaults',
    { method: 'POST', headers: { 'x-canary': '1' } },
    (found) => settingOf(found, 'retries.attempts'),
    ['1', 'mesh.yaml:7:5'],
  ],
  ['a value that nobody says', {}, (found) => settingOf(found, 'loadBalancer.policy')[1], 'default'],
];

for (const [what, asked, read, wanted] of SITUATIONS) {
  t.test(what, async (t) => t.same(read(explain(t, asked)), wanted));
}

t.test('the command works on files, without any control plane', async (t) => {
  const file = join(temporaryFolder(t), 'mesh.yaml');
  writeFileSync(file, POLICIES);
  const run = async (...args: string[]) => {
    const said = { out: '', err: '' };
    const terminal: Terminal = {
      out: (text) => {
        said.out += text;
      },
      err: (text) => {
        said.err += text;
      },
      isInteractive: false,
      hasColours: false,
      columns: 0,
      env: {},
      epochMs: () => 0,
      exitCode: 0,
    };
    return { code: await runCommandLine(['explain', 'route', ...args], terminal), ...said };
  };
  const found = await run('get', 'http://orders.mesh/cart/7?x=1', '--from', 'web', '-H', 'X-Canary: 0', '-f', file);
  t.equal(found.code, 0, found.err);
  t.match(found.out, /^GET \/cart\/7\?x=1 from web to orders; nothing is sent\n/);
  t.match(found.out, /route +rule reads +.*mesh\.yaml:33:7/);
  t.match(found.out, /backend +orders subset stable, 90 % of such requests/);
  t.equal((await run('GET', 'http://orders/', '--from', 'mail', '-f', file)).code, 1);
  t.match(await run('GET', 'http://orders/nowhere', '--from', 'web', '-f', file), {
    code: 1,
    out: /answer +404 no_route/,
  });
  // A rule may look at Host, which is not among the headers that a person gives.
  const hosted = join(temporaryFolder(t), 'hosted.yaml');
  writeFileSync(hosted, HOSTED);
  t.match((await run('GET', 'http://orders.mesh/', '-f', hosted)).out, /route +rule by-host +.*hosted\.yaml:7:7/);
  t.match(await run('GET', 'http://orders/', '-f', hosted), {
    code: 1,
    out: /not by-host: header host is not "orders\.mesh"/,
  });
  t.match(await run('GET', '/cart', '-f', file), { code: 2, err: /names no service/ });
  t.match(await run('GET', 'http://orders/', '-H', 'nonsense', '-f', file), { code: 2, err: /name: value/ });
  const data = JSON.parse((await run('GET', 'http://orders/cart', '--from', 'web', '-f', file, '-o', 'json')).out);
  t.match(data, { route: { rule: 'reads' }, permission: { isAllowed: true } });
});
