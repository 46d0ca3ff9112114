import { readFileSync } from 'node:fs';
import t from 'tap';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { FleetObserver, withoutName } from '../../../cli/demo/observer.ts';
import { findFreePorts } from '../../../cli/demo/ports.ts';
import { type Frame, renderFrame, renderLine } from '../../../cli/demo/screen.ts';
import { buildScript, DEFAULT_DURATION_MS, describeStory, initialPolicies } from '../../../cli/demo/script.ts';
import {
  agentConfig,
  appOptions,
  buildTopology,
  controlPlaneConfig,
  INSTANCE_COUNT,
  PORT_COUNT,
} from '../../../cli/demo/topology.ts';
import { type DemoFacts, judgeDemo, roundSentence, verdictSentence } from '../../../cli/demo/verdict.ts';
import type { EndpointState } from '../../../contract/frames.ts';
import type { ServiceView } from '../../../control-plane/core/views.ts';
import { seededRandom } from '../../support/seeded-random.ts';

const ports = Array.from({ length: PORT_COUNT }, (_, index) => 20_000 + index);

t.test('the topology is one web, two orders and four payments, and uses each port once', async (t) => {
  const topology = buildTopology(ports);
  t.same(
    topology.instances.map(({ id }) => id),
    ['web-1', 'orders-1', 'orders-2', 'payments-1', 'payments-2', 'payments-3', 'payments-4'],
  );
  const used = topology.instances.flatMap((instance) => Object.values(instance.ports));
  used.push(topology.controlPlanePort, topology.registryPort, topology.faultPort);
  t.same(used.toSorted(), ports);
  t.throws(() => buildTopology(ports.slice(1)), /needs 31 ports/);
  const [web] = topology.instances;
  t.ok(web);
  if (web === undefined) return;
  const consul = 'http://127.0.0.1:8500';
  t.match(agentConfig({ ...topology, consulUrl: consul }, web, '/state'), { consul: { url: consul } });
  t.notOk('registry' in controlPlaneConfig({ ...topology, consulUrl: consul }, '/state'));
  t.ok('registry' in controlPlaneConfig(topology, '/state'));
});

t.test('an app calls the next service through the outbound listener of its own agent', async (t) => {
  const topology = buildTopology(ports);
  const orders = topology.instances[1];
  t.ok(orders);
  if (orders === undefined) return;
  t.match(appOptions(topology)[1], { name: 'orders', next: { service: 'payments', port: orders.ports.outbound } });
  t.match(agentConfig(topology, orders, '/state'), {
    service: { name: 'orders', port: orders.ports.app },
    upstreams: [{ service: 'payments' }],
    controlPlane: { url: `http://127.0.0.1:${topology.controlPlanePort}` },
  });
});

t.test('the script keeps its order at every length, and --break replaces its faults', async (t) => {
  for (const durationMs of [20_000, DEFAULT_DURATION_MS, 600_000]) {
    const steps = buildScript(durationMs, null, 0);
    const times = steps.map(({ atMs }) => atMs);
    t.same(
      times,
      times.toSorted((a, b) => a - b),
    );
    t.ok((times.at(-1) ?? Number.POSITIVE_INFINITY) < durationMs);
  }
  const broken = buildScript(DEFAULT_DURATION_MS, { instance: 'orders-1', mode: 'reset' }, 0);
  t.match(broken, [{ instance: 'orders-1', mode: 'reset' }, { instance: 'orders-1', mode: 'ok' }, { kind: 'policy' }]);
});

t.test('every policy of the demo is a valid document', async (t) => {
  const changes = [0, 1].flatMap((round) => buildScript(DEFAULT_DURATION_MS, null, round));
  const documents = [
    ...initialPolicies(DEFAULT_DURATION_MS),
    ...initialPolicies(20_000),
    ...changes.flatMap((step) => (step.kind === 'policy' ? [step.document] : [])),
  ];
  t.equal(documents.length, 6);
  for (const document of documents) {
    const parsed = parsePolicy(document);
    t.same(parsed.ok ? [] : parsed.problems, []);
  }
});

t.test('the observer counts a reinstatement only for what it saw ejected, agent by agent', async (t) => {
  const observer = new FleetObserver();
  t.same(observer.look([sight('serving', 'serving')]), []);
  t.match(observer.look([sight('ejected', 'serving')]), [/orders-1: payments-3 five 503/]);
  t.same(observer.look([sight('ejected', 'serving')]), [], 'told once');
  t.same(observer.look([sight('probing', 'serving')]), [], 'a probe is not a reinstatement');
  t.same(observer.reinstated, []);
  t.match(observer.look([sight('serving', 'serving')]), [/payments-3 serves again/]);
  t.same([observer.ejected, observer.reinstated], [['payments-3'], ['payments-3']]);
  t.equal(withoutName('payments@10.0.0.7:7001 ejected for 5 s', '10.0.0.7:7001'), 'ejected for 5 s');
  t.equal(
    withoutName('payments@10.0.0.7:7001 ejected for 5 s', '10.0.0.8:7001'),
    'payments@10.0.0.7:7001 ejected for 5 s',
  );
});

t.test(
  'a frame shows the success of end users, edges, states and sentences; a line shows the same in short',
  async (t) => {
    const frame: Frame = {
      readyMs: 4_200,
      elapsedMs: 12_345,
      dashboardUrl: 'http://127.0.0.1:9700',
      next: { inMs: 3_400, text: 'payments-3 answers after 2 s' },
      traffic: { sent: 1_200, succeeded: 1_199, failed: 1, skipped: 0, p50Ms: 4, p99Ms: 31, lastFailure: 'status 502' },
      services: [sight('ejected', 'serving')],
      news: ['  8.0 s  payments-3 answers 500'],
    };
    const plain = renderFrame(frame, { hasColours: false, columns: 0 });
    t.match(plain, /mesh ready in 4\.2 s +12 s +dashboard http:\/\/127\.0\.0\.1:9700/);
    t.match(plain, /99\.91 % of 1200 requests/);
    t.match(plain, /payments-3 +ejected 1\/2 +five 503/);
    t.match(plain, 'payments-3 answers 500');
    t.match(plain, '\nnext, in 4 s: payments-3 answers after 2 s\n');
    t.notMatch(renderFrame({ ...frame, next: null }, { hasColours: false, columns: 0 }), 'next, in');
    const narrow = renderFrame(frame, { hasColours: false, columns: 60 }).split('\n');
    t.ok(narrow.every((line) => line.length <= 60));
    t.match(renderLine(frame), /^ 12 s {2}1200 requests {2}success 99\.91 % .* payments-3 ejected \(1 of 2 agents\)$/);
    t.match(renderLine({ ...frame, services: [sight('serving', 'serving')] }), /all endpoints serving$/);
  },
);

t.test('the story is told before it begins, stretched with the round, and summed up after it', async (t) => {
  const story = { durationMs: DEFAULT_DURATION_MS * 2, breaks: null, isCalm: false, perSecond: 100 };
  t.match(describeStory(story), /^100 requests\/s of end users → web .*:\n {3}16 s {2}payments-3 answers 500\n/);
  t.equal(describeStory(story).split('\n').length, 6);
  t.match(describeStory({ ...story, isCalm: true }), /nothing breaks by itself$/);
  const facts = { readyMs: 1, policy: null, sent: 500, succeeded: 499, skipped: 0 };
  t.match(
    roundSentence({ ...facts, ejected: ['payments-3', 'payments-2'], reinstated: ['payments-3'] }, 2),
    /^round 2 is over: 499 of 500 .* callers left payments-3, payments-2 and took back payments-3;/,
  );
  t.match(roundSentence({ ...facts, ejected: [], reinstated: [] }, 1), 'callers left nobody and took back nobody');
});

t.test('docs/first-steps.md takes four commands, and shows the story that the demo tells', async (t) => {
  const page = readFileSync(new URL('../../../docs/first-steps.md', import.meta.url), 'utf8');
  t.match(page, describeStory({ durationMs: DEFAULT_DURATION_MS, breaks: null, isCalm: false, perSecond: 100 }));
  const commands = [...page.matchAll(/^\$ (.*)$/gm)].map(([, command]) => command);
  t.same(commands.slice(1), ['npm ci', 'npm run demo', 'npx outrigger endpoints payments']);
  t.match(commands[0], /^git clone /);
});

t.test('the verdict names every promise that was broken', async (t) => {
  const kept: DemoFacts = {
    readyMs: 4_200,
    ejected: ['payments-3'],
    reinstated: ['payments-3'],
    policy: { acknowledged: 7, wanted: 7, tookMs: 43 },
    sent: 5_000,
    succeeded: 4_995,
    skipped: 0,
  };
  t.equal(judgeDemo(kept, INSTANCE_COUNT).ok, true, '99.9 % is kept');
  t.match(verdictSentence(judgeDemo(kept, INSTANCE_COUNT)), /ready in 4\.2 s.*7 of 7 agents in 43 ms.*99\.9 %/);
  const cases: readonly [Partial<DemoFacts>, RegExp][] = [
    [{ readyMs: 10_001 }, /took 10\.0 s/],
    [{ readyMs: null }, /never became ready/],
    [{ ejected: [] }, /no endpoint was ejected/],
    [{ reinstated: [] }, /no endpoint was reinstated/],
    [{ policy: { acknowledged: 6, wanted: 7, tookMs: 43 } }, /6 of 7 agents/],
    [{ policy: { acknowledged: 7, wanted: 7, tookMs: 1_001 } }, /took 1001 ms/],
    [{ policy: null }, /was not made/],
    [{ succeeded: 4_994 }, /6 of 5000 requests failed/],
    [{ sent: 0, succeeded: 0 }, /no request was sent/],
  ];
  for (const [change, message] of cases) {
    const verdict = judgeDemo({ ...kept, ...change }, INSTANCE_COUNT);
    t.equal(verdict.ok, false);
    t.match(verdictSentence(verdict), message);
  }
});

t.test('free ports are different and can be listened on', async (t) => {
  const found = await findFreePorts(8, seededRandom(3));
  t.equal(new Set(found).size, 8);
});

function sight(first: EndpointState, second: EndpointState): ServiceView {
  const reason = (state: EndpointState): string | null => (state === 'serving' ? null : 'five 503');
  return {
    service: 'payments',
    measuredBy: 'outbound',
    requestsPerSecond: 1,
    retriesPerSecond: 0,
    inFlight: 0,
    availability: { life: { good: 1, valid: 1, ratio: 1 }, lastMinute: { good: 1, valid: 1, ratio: 1 } },
    retries: 0,
    p50Ms: 1,
    p95Ms: 1,
    p99Ms: 1,
    dataAgeMs: 500,
    endpointCounts: { serving: 1, ejected: 0, probing: 0, draining: 0 },
    isPanicking: false,
    holding: [],
    edges: [],
    endpoints: [
      {
        id: 'payments@payments-3@127.0.0.1:7001',
        address: '127.0.0.1:7001',
        state: first,
        weight: 1,
        inFlight: 0,
        connections: 0,
        ewmaMs: null,
        attempts: 0,
        failures: 0,
        p50Ms: null,
        p95Ms: null,
        p99Ms: null,
        attemptsPerSecond: 0,
        reason: reason(first),
        ejectedUntilEpochMs: null,
        observers: [
          { agentId: 'orders-1', state: first, reason: reason(first) },
          { agentId: 'orders-2', state: second, reason: reason(second) },
        ],
      },
    ],
  };
}
