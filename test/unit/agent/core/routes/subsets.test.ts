import t from 'tap';
import type { BalancerPolicy } from '#contract/policy/policy.ts';
import { pickEndpoint } from '../../../../../agent/core/pick.ts';
import { compileFilter } from '../../../../../agent/core/routes/endpoint-filter.ts';
import { chooseEndpoints, explainEmpty, unknownSubset } from '../../../../../agent/core/routes/subset-views.ts';
import type { EndpointView, ServiceView } from '../../../../../agent/core/snapshot.ts';
import { createEndpointStats } from '../../../../../agent/core/stats.ts';
import { createServiceStats, createServiceView, PLAIN_CONTEXT } from '../../../../../agent/core/view.ts';
import { seededRandom } from '../../../../support/seeded-random.ts';
import { endpointAt, policyWith } from '../../../../support/views.ts';

t.test('a filter over what discovery keeps', async (t) => {
  const endpoint = endpointAt(3, { tags: ['blue', 'eu'], meta: { version: '1.2', zone: 'a', empty: '' } });
  const cases: [string, boolean][] = [
    ['Service.Meta.version == "1.2"', true],
    ['Service.Meta.version != "1.2"', false],
    ['Service.Meta.missing == "x"', false],
    ['Service.Meta.missing != "x"', true],
    ['Service.Meta.missing is empty', true],
    ['Service.Meta.empty is empty', true],
    ['Service.Meta.zone is not empty', true],
    ['Service.Meta["zone"] == a', true],
    ['Service.Meta contains "zone"', true],
    ['"constructor" in Service.Meta', false],
    ['Service.Meta.constructor is empty', true],
    ['"blue" in Service.Tags', true],
    ['red in Service.Tags', false],
    ['red not in Service.Tags', true],
    ['Service.Tags contains "eu" and Service.Tags not contains "us"', true],
    ['Service.Tags is empty', false],
    ['Service.ID == "3"', true],
    ['Service.Service == svc', true],
    ['Service.Address == "10.0.0.3"', true],
    ['Service.Address contains "10.0.0."', true],
    ['Service.Port == 8080', true],
    ['Service.Port != 8080', false],
    ['Service.Meta.version matches "1[.].*"', true],
    ['Service.Meta.version matches "1"', false],
    ['Service.Meta.missing not matches ".*"', true],
    ['red in Service.Tags or blue in Service.Tags and eu in Service.Tags', true],
    ['(red in Service.Tags or blue in Service.Tags) and us in Service.Tags', false],
    ['not (red in Service.Tags or us in Service.Tags)', true],
    ['not not blue in Service.Tags', true],
    ['this is no filter', false],
  ];
  for (const [text, expected] of cases) t.equal(compileFilter(text, 'svc')(endpoint), expected, text);
  const fixed = { ...endpoint, id: 'svc@10.0.0.3:8080' };
  t.equal(compileFilter('Service.ID is empty', 'svc')(fixed), true, 'a static endpoint has no id in Consul');
});

const SUBSETS = [
  { name: 'stable', filter: 'Service.Meta.version == "1"' },
  { name: 'canary', filter: 'Service.Meta.version == "2"' },
  { name: 'none', filter: 'Service.Meta.version == "3"' },
];

function world(versions: readonly string[], size = 0, policyName: BalancerPolicy = 'peakEwma') {
  const endpoints: EndpointView[] = versions.map((version, index) => {
    const endpoint = endpointAt(index + 1, { meta: { version } });
    return { endpoint, stats: createEndpointStats(endpoint.id) };
  });
  const policy = policyWith({ loadBalancer: { subsetSize: size, policy: policyName } });
  const plan = { service: 'svc', policy, rules: [], subsets: SUBSETS, permission: { kind: 'allow' } } as const;
  const stats = createServiceStats('svc');
  const build = (former: ServiceView | null = null) =>
    createServiceView(plan, former?.endpoints ?? endpoints, stats, { ...PLAIN_CONTEXT, former });
  return { endpoints, plan, build };
}

function subset(view: ServiceView, name: string): ServiceView {
  const found = view.subsets.get(name);
  if (found === undefined) throw new Error(`no subset ${name}`);
  return found;
}

t.test('a subset picks its own endpoints and shares what is measured', async (t) => {
  const { build, endpoints } = world(['1', '1', '2', '1']);
  const view = build();
  t.same([...view.subsets.keys()], ['stable', 'canary', 'none']);
  const canary = subset(view, 'canary');
  t.equal(canary.endpoints[0], endpoints[2], 'the very same endpoint, with its statistics');
  t.equal(canary.stats, view.stats);
  t.not(canary.held, view.held, 'records of both can be let go of apart');
  const random = seededRandom(1);
  for (let pick = 0; pick < 50; pick++) {
    t.equal(pickEndpoint(canary, pick, random, []), endpoints[2]);
    t.not(pickEndpoint(subset(view, 'stable'), pick, random, []), endpoints[2]);
  }
});

t.test('nobody matches: no pick, and the sentence names the filter', async (t) => {
  const view = world(['1', '2']).build();
  const none = subset(view, 'none');
  t.equal(pickEndpoint(none, 0, seededRandom(1), []), null);
  t.equal(
    explainEmpty(none),
    'subset none of svc has no endpoint: its filter matches none (Service.Meta.version == "3")',
  );
  t.equal(explainEmpty(unknownSubset(view, 'gone')), 'svc has no subset gone');
  t.equal(explainEmpty({ ...view, endpoints: [] }), 'svc has no endpoint');
});

t.test(
  'ejection and probing are those of the service; panic too, but for a subset in which nothing serves',
  async (t) => {
    const { build, endpoints } = world(['1', '1', '1', '1', '2', '2']);
    const ejected = endpoints[4];
    const probing = endpoints[0];
    if (ejected === undefined || probing === undefined) throw new Error('no endpoints');
    ejected.stats.state = 'ejected';
    probing.stats.state = 'probing';
    const view = build();
    t.equal(view.isPanicking, false);
    t.same(
      subset(view, 'canary').pickable,
      [endpoints[5]],
      'half of the subset is out, which is no panic of the service',
    );
    t.same(subset(view, 'stable').probing, [probing]);
    t.same(subset(view, 'canary').probing, []);
    t.same(
      subset(view, 'canary').excluded.map(({ endpoint }) => endpoint),
      [ejected],
    );
    const other = endpoints[5];
    if (other !== undefined) other.stats.state = 'ejected';
    t.equal(
      subset(build(), 'canary').pickable.length,
      2,
      'an ejected endpoint may answer, another version will not do',
    );
    for (const { stats } of endpoints.slice(1, 4)) stats.state = 'ejected';
    const panicking = build();
    t.equal(panicking.isPanicking, true);
    t.equal(subset(panicking, 'stable').pickable.length, 4);
  },
);

t.test('round robin: subsets that are asked in turn do not take steps from each other', async (t) => {
  const { build, endpoints } = world(['1', '1', '2', '2'], 0, 'roundRobin');
  let view = build();
  const seen = new Map<EndpointView | null, number>();
  for (let pick = 0; pick < 40; pick++) {
    const chosen = pickEndpoint(subset(view, pick % 2 === 0 ? 'stable' : 'canary'), pick, seededRandom(1), []);
    seen.set(chosen, (seen.get(chosen) ?? 0) + 1);
    if (pick % 8 === 7) view = build(view);
  }
  t.same(
    endpoints.map((one) => seen.get(one)),
    [10, 10, 10, 10],
  );
});

t.test('filters are asked again only when endpoints or filters changed', async (t) => {
  const { build } = world(['1', '2']);
  const first = build();
  const second = build(first);
  t.equal(subset(second, 'stable').endpoints, subset(first, 'stable').endpoints);
});

t.test('a bound on the endpoints of an agent holds for each subset, so that a small one is not left out', async (t) => {
  const { endpoints, plan } = world([...new Array(40).fill('1'), '2'], 5);
  const chosen = chooseEndpoints(endpoints, plan, 'agent-1');
  t.equal(chosen.includes(endpoints[40] as EndpointView), true);
  t.ok(chosen.length <= 11, `${chosen.length}`);
});
