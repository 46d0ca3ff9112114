// The control plane's configuration: defaults, file, environment, and the rule that an open address needs tokens.

import t from 'tap';
import { loadControlPlaneConfig } from '../../../control-plane/config.ts';

const load = (text: string | null, env: Record<string, string> = {}) =>
  loadControlPlaneConfig({ ...(text === null ? {} : { file: 'cp.yaml' }), env, readFile: () => text ?? '' });
const problemsOf = (text: string | null, env: Record<string, string> = {}) => {
  const loaded = load(text, env);
  return loaded.ok ? [] : loaded.problems.map(({ code, path }) => `${code} ${path}`);
};

t.test('nothing has to be said', async (t) => {
  const defaults = {
    listen: { host: '127.0.0.1', port: 9700 },
    store: { kind: 'sqlite', path: './state/policies.db' },
    registry: { listen: { host: '127.0.0.1', port: 8500 } },
    watched: 'registry',
    auth: null,
    tls: null,
    requestsPerMinute: 6000,
    slo: { webhooks: [] },
    log: { level: 'info' },
  };
  t.same(load(null), { ok: true, value: defaults });
  t.same(load('# nothing\n'), { ok: true, value: defaults });
});

t.test('file and variables', async (t) => {
  const file =
    'listen: 0.0.0.0:9700\nstore: { sqlite: /data/p.db }\nregistry: false\nauth: { tokensFile: tokens.yaml }\nlog: { level: debug }\n';
  t.match(load(file), {
    ok: true,
    value: {
      listen: { host: '0.0.0.0' },
      store: { path: '/data/p.db' },
      registry: null,
      auth: { tokensFile: 'tokens.yaml' },
      log: { level: 'debug' },
    },
  });
  const env = {
    OUTRIGGER_LISTEN: '127.0.0.1:0',
    OUTRIGGER_STORE_SQLITE: 'x.db',
    OUTRIGGER_REGISTRY_LISTEN: '127.0.0.1:0',
    OUTRIGGER_TOKEN: 'cli',
  };
  t.match(load(file, env), {
    ok: true,
    value: { listen: { port: 0 }, store: { path: 'x.db' }, registry: { listen: { port: 0 } } },
  });
});

t.test(
  'the Consul that is watched for agents is the one that is there anyway, unless another one is named',
  async (t) => {
    const watched = (text: string) => {
      const loaded = load(text);
      return loaded.ok ? loaded.value.watched : loaded.problems;
    };
    const named = { url: 'http://c:8500', token: null, tokenFile: null, datacenter: null };
    t.equal(watched(''), 'registry');
    t.equal(watched('registry: false'), null);
    t.same(watched('store: { consul: { url: "http://c:8500" } }'), named);
    t.same(watched('registry: false\ndiscovery: { consul: { url: "http://c:8500" } }'), named);
    t.equal(watched('discovery: { consul: false }'), null);
    t.same(problemsOf('discovery: { consul: { url: "http://c:8500", token: a, tokenFile: b } }'), [
      'OTR_INCONSISTENT discovery.consul.tokenFile',
    ]);
  },
);

t.test('an address off loopback without tokens, one port twice, unknown keys', async (t) => {
  t.same(problemsOf('listen: 0.0.0.0:9700'), ['OTR_INCONSISTENT listen']);
  t.same(problemsOf(null, { OUTRIGGER_LISTEN: '[::]:9700' }), ['OTR_INCONSISTENT OUTRIGGER_LISTEN']);
  for (const host of ['127.0.0.1', 'localhost', '[::1]', '127.1.2.3']) t.same(problemsOf(`listen: "${host}:9700"`), []);
  t.same(problemsOf('listen: 127.0.0.1:8500'), ['OTR_DUPLICATE registry.listen']);
  t.same(problemsOf('store: { postgres: x }\nauth: {}\n', { OUTRIGGER_REGISTRY: 'true' }), [
    'OTR_UNKNOWN_KEY store.postgres',
    'OTR_MISSING auth',
    'OTR_TYPE OUTRIGGER_REGISTRY',
  ]);
});

t.test('policies in Consul, and then no embedded registry unless it is asked for', async (t) => {
  t.match(load('store: { consul: { url: http://127.0.0.1:8500 } }'), {
    ok: true,
    value: {
      store: { kind: 'consul', url: 'http://127.0.0.1:8500', prefix: 'outrigger/', token: null, tokenFile: null },
      registry: null,
    },
  });
  const env = { OUTRIGGER_STORE_CONSUL_TOKEN: 'secret', OUTRIGGER_REGISTRY_LISTEN: '127.0.0.1:0' };
  t.match(load('store: { consul: { url: http://c:1, prefix: mesh/a/ } }', env), {
    ok: true,
    value: { store: { prefix: 'mesh/a/', token: 'secret' }, registry: { listen: { port: 0 } } },
  });
  t.same(problemsOf('store: { sqlite: x.db, consul: { url: http://c:1 } }'), ['OTR_INCONSISTENT store.sqlite']);
  t.same(problemsOf('store: { consul: { url: http://c:1, token: a, tokenFile: b } }'), [
    'OTR_INCONSISTENT store.consul.tokenFile',
  ]);
  t.same(problemsOf('store: { consul: {} }'), ['OTR_MISSING store.consul.url']);
  t.same(problemsOf('store: { consul: { url: http://c:1, prefix: no-slash } }'), ['OTR_FORMAT store.consul.prefix']);
});
