// The agent's configuration: defaults, file, environment, and every problem at once.

import t from 'tap';
import { loadAgentConfig } from '../../../agent/config.ts';

const load = (text: string | null, env: Record<string, string> = {}) =>
  loadAgentConfig({ ...(text === null ? {} : { file: 'agent.yaml' }), env, readFile: () => text ?? '' });

function problemsOf(text: string | null, env: Record<string, string> = {}): string[] {
  const loaded = load(text, env);
  return loaded.ok
    ? []
    : loaded.problems.map(({ code, path, file, line, column }) =>
        [code, path, ...(file === undefined ? [] : [`${file}:${line}:${column}`])].join(' '),
      );
}

t.test('a name is enough, and the defaults are those of the design', async (t) => {
  t.same(load('service: { name: orders, port: 3000 }'), {
    ok: true,
    value: {
      service: {
        name: 'orders',
        id: 'orders-3000',
        port: 3000,
        address: '127.0.0.1',
        appAddress: '127.0.0.1',
        tags: [],
        meta: {},
        zone: null,
        weight: 1,
        check: null,
        register: 'inbound',
      },
      listeners: {
        outbound: { host: '127.0.0.1', port: 15_001 },
        inbound: { host: '0.0.0.0', port: 15_006 },
        admin: { host: '127.0.0.1', port: 15_000 },
        metrics: null,
        sharePorts: false,
      },
      upstreams: [],
      consul: { url: 'http://127.0.0.1:8500', token: null, tokenFile: null, datacenter: null },
      controlPlane: { urls: ['http://127.0.0.1:9700'], token: null, tokenFile: null },
      discovery: 'consul',
      policies: null,
      stateDir: './state',
      log: { level: 'info', access: 'failures' },
    },
  });
  const loaded = load(null, { OUTRIGGER_SERVICE_NAME: 'web', HOSTNAME: 'f00' });
  t.match(loaded, {
    ok: true,
    value: { service: { id: 'web-f00', port: null, register: 'none' }, listeners: { inbound: null } },
  });
});

t.test('discovery by the control plane needs it, and Consul to fall back on', async (t) => {
  const text = 'service: { name: web }\ndiscovery: control-plane\n';
  t.match(load(text), { ok: true, value: { discovery: 'control-plane' } });
  t.same(problemsOf(`${text}consul: false`), ['OTR_INCONSISTENT discovery agent.yaml:2:12']);
  t.same(problemsOf(`${text}controlPlane: false`), ['OTR_INCONSISTENT discovery agent.yaml:2:12']);
});

t.test('a whole file', async (t) => {
  const loaded = load(`
service: { name: orders, id: orders-1, port: 3000, address: 10.0.0.5, tags: [v1], meta: {version: "1"}, zone: a, weight: 2,
           check: { http: /healthz }, register: app }
listeners: { outbound: "[::1]:0", inbound: 0.0.0.0:1, admin: localhost:2 }
upstreams:
  - { service: payments, listen: 127.0.0.1:9001, protocol: http, endpoints: ["10.0.0.7:7001"] }
  - service: stock
consul: { url: https://consul:8501/, tokenFile: /run/token, datacenter: dc1 }
controlPlane: false
policies: ./policies
stateDir: /state
log: { level: warn, access: off }
`);
  t.match(loaded, {
    ok: true,
    value: {
      service: {
        address: '10.0.0.5',
        weight: 2,
        zone: 'a',
        check: { http: '/healthz', intervalMs: 2_000, timeoutMs: 1_000 },
        register: 'app',
      },
      listeners: { outbound: { host: '::1', port: 0 } },
      upstreams: [
        {
          service: 'payments',
          listen: { host: '127.0.0.1', port: 9_001 },
          protocol: 'http',
          endpoints: [{ host: '10.0.0.7', port: 7_001 }],
        },
        { service: 'stock', listen: null, endpoints: null },
      ],
      consul: { url: 'https://consul:8501', token: null, tokenFile: '/run/token', datacenter: 'dc1' },
      controlPlane: null,
      log: { level: 'warn', access: 'off' },
    },
  });
});

t.test('variables go before the file, key by key', async (t) => {
  const file = 'service: { name: orders, port: 3000 }\nconsul: false\n';
  const loaded = load(file, {
    OUTRIGGER_SERVICE_PORT: '3001',
    OUTRIGGER_SERVICE_TAGS: 'v1, canary',
    OUTRIGGER_SERVICE_META: 'version=1,team=a=b',
    OUTRIGGER_SERVICE_CHECK_HTTP: '/healthz',
    OUTRIGGER_SERVICE_REGISTER: 'false',
    OUTRIGGER_LISTENERS_OUTBOUND: '127.0.0.1:0',
    OUTRIGGER_UPSTREAMS: 'payments,stock',
    OUTRIGGER_CONSUL_URL: 'http://consul:8500',
    OUTRIGGER_CONTROL_PLANE: 'false',
    OUTRIGGER_LOG_LEVEL: '',
    OUTRIGGER_CONFIG: 'agent.yaml',
    OUTRIGGER_TEST_ANYTHING: '1',
    PATH: '/bin',
  });
  t.match(loaded, {
    ok: true,
    value: {
      service: {
        port: 3001,
        tags: ['v1', 'canary'],
        meta: { version: '1', team: 'a=b' },
        check: { http: '/healthz' },
        register: 'none',
      },
      listeners: { outbound: { port: 0 } },
      upstreams: [{ service: 'payments' }, { service: 'stock' }],
      consul: { url: 'http://consul:8500' },
      controlPlane: null,
      log: { level: 'info' },
    },
  });
  const json = load(file, {
    OUTRIGGER_UPSTREAMS: '[{"service":"a","listen":"127.0.0.1:9001"}]',
    OUTRIGGER_SERVICE_META: '{"a":"b"}',
  });
  t.match(json, { ok: true, value: { upstreams: [{ listen: { port: 9001 } }], service: { meta: { a: 'b' } } } });
});

t.test('every problem at once, each where it is', async (t) => {
  t.same(
    problemsOf(
      'service:\n  nmae: orders\n  port: 99999\nlisteners: { outbound: 15001 }\nconsul: { url: ftp://x, token: 12345 }\nlogs: {}\n',
      {
        OUTRIGGER_LOG_LEVEL: 'verbose',
        OUTRIGGER_UPSTREAMS: 'Payments',
        OUTRIGGER_SERVICE_PROT: '1',
      },
    ),
    [
      'OTR_UNKNOWN_KEY OUTRIGGER_SERVICE_PROT',
      'OTR_MISSING service.name agent.yaml:1:1',
      'OTR_UNKNOWN_KEY service.nmae agent.yaml:2:3',
      'OTR_RANGE service.port agent.yaml:3:9',
      'OTR_TYPE listeners.outbound agent.yaml:4:24',
      'OTR_FORMAT consul.url agent.yaml:5:16',
      'OTR_TYPE consul.token agent.yaml:5:32',
      'OTR_UNKNOWN_KEY logs agent.yaml:6:1',
      'OTR_FORMAT OUTRIGGER_UPSTREAMS[0].service',
      'OTR_ENUM OUTRIGGER_LOG_LEVEL',
    ],
  );
  const loaded = load('service: { name: a }\nconsul: { token: 98765 }\n');
  t.notMatch(JSON.stringify(loaded), /98765/, 'a token is in no message');
  t.match(load('service: { nmae: a }'), { ok: false, problems: [{}, { hint: 'did you mean name?' }] });
  t.match(load('service: { name: a }', { OUTRIGGER_SERVICE_PROT: '1' }), {
    problems: [{ hint: 'did you mean OUTRIGGER_SERVICE_PORT?' }],
  });
});

t.test('values that contradict each other', async (t) => {
  t.same(problemsOf('service: { name: a, register: true }'), ['OTR_INCONSISTENT service.register agent.yaml:1:31']);
  t.same(problemsOf('service: { name: a }\nconsul: { token: a, tokenFile: b }'), [
    'OTR_INCONSISTENT consul.tokenFile agent.yaml:2:32',
  ]);
  t.same(problemsOf('service: { name: a }\nlisteners: { admin: 127.0.0.1:15001 }'), [
    'OTR_DUPLICATE listeners.admin agent.yaml:2:21',
  ]);
  t.same(problemsOf('service: { name: a, port: 1 }\nupstreams: [{ service: b, listen: 127.0.0.1:15006 }]'), [
    'OTR_DUPLICATE upstreams[0].listen agent.yaml:2:35',
  ]);
  t.same(problemsOf('service: { name: a }\nupstreams: [{ service: b, protocol: tcp }]'), [
    'OTR_MISSING upstreams[0].listen agent.yaml:2:13',
  ]);
  const tcp = load('service: { name: a }\nupstreams: [{ service: b, protocol: tcp, listen: 127.0.0.1:5432 }]');
  t.match(tcp, { ok: true, value: { upstreams: [{ protocol: 'tcp', listen: { port: 5432 } }] } });
  t.same(problemsOf('service: { name: a }\nupstreams: [{ service: b }, { service: b }]'), [
    'OTR_DUPLICATE upstreams[1].service agent.yaml:2:40',
  ]);
  t.same(problemsOf('service: { name: a }', { OUTRIGGER_CONSUL: 'false', OUTRIGGER_CONSUL_URL: 'http://c' }), [
    'OTR_INCONSISTENT OUTRIGGER_CONSUL',
  ]);
});

t.test('files that cannot be read, are no YAML, or are two', async (t) => {
  const unreadable = loadAgentConfig({
    file: 'x.yaml',
    env: {},
    readFile: () => {
      throw new Error('ENOENT');
    },
  });
  t.match(unreadable, { ok: false, problems: [{ code: 'OTR_FILE', file: 'x.yaml', message: /ENOENT/ }] });
  t.match(problemsOf('service: ['), [/^OTR_SYNTAX/]);
  t.same(problemsOf('service: { name: a }\n---\nservice: { name: b }'), ['OTR_DUPLICATE  agent.yaml:3:1']);
  t.same(problemsOf('- a'), ['OTR_TYPE  agent.yaml:1:1']);
  t.same(problemsOf('service: { name: a, meta: { __proto__: x } }').length, 1);
});

t.test('replicas of the control plane, from a file or between commas', async (t) => {
  const urls = ['http://cp-1:9700', 'http://cp-2:9700', 'http://cp-3:9700'];
  const file =
    'service: { name: web }\ncontrolPlane: { url: http://cp-1:9700, replicas: [http://cp-2:9700/, http://cp-3:9700] }\n';
  const fromFile = loadAgentConfig({ file: 'a.yaml', env: {}, readFile: () => file });
  t.match(fromFile, { ok: true, value: { controlPlane: { urls } } });
  const env = {
    OUTRIGGER_SERVICE_NAME: 'web',
    OUTRIGGER_CONTROL_PLANE_URL: 'http://cp-1:9700',
    OUTRIGGER_CONTROL_PLANE_REPLICAS: 'http://cp-2:9700,http://cp-3:9700,http://cp-1:9700',
  };
  t.match(loadAgentConfig({ env, readFile: () => '' }), { ok: true, value: { controlPlane: { urls } } });
});
