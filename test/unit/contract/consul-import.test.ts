// Config entries of Consul, as its API writes them, and what becomes of them here.

import fc from 'fast-check';
import t from 'tap';
import { importConsulEntries } from '#contract/consul/import-entries.ts';
import { checkConsistency } from '#contract/policy/consistency.ts';

const ROUTER = {
  Kind: 'service-router',
  Name: 'web',
  Routes: [
    {
      Match: {
        HTTP: {
          PathPrefix: '/admin',
          Header: [
            { Name: 'X-Debug', Exact: '1' },
            { Name: 'x-lang', Prefix: 'de.' },
          ],
          QueryParam: [{ Name: 'v', Present: true }],
          Methods: ['GET', 'POST'],
        },
      },
      Destination: {
        Service: 'admin',
        ServiceSubset: 'v2',
        PrefixRewrite: '/',
        RequestTimeout: '2s',
        NumRetries: 3,
        RetryOnStatusCodes: [503],
        RequestHeaders: { Set: { 'x-from': 'router' }, Remove: ['x-secret'] },
      },
    },
    { Match: { HTTP: { PathExact: '/health', CaseInsensitive: true } }, Destination: { Service: 'health' } },
    { Match: { HTTP: { Header: [{ Name: 'x', Exact: '1', Invert: true }] } }, Destination: { Service: 'other' } },
  ],
  CreateIndex: 12,
  ModifyIndex: 40,
};

const RESOLVER = {
  Kind: 'service-resolver',
  Name: 'admin',
  DefaultSubset: 'v1',
  Subsets: {
    v1: { Filter: 'Service.Meta.version == "1"' },
    v2: { Filter: 'Service.Meta.version == "2"', OnlyPassing: true },
  },
  ConnectTimeout: 250_000_000,
  LoadBalancer: {
    Policy: 'maglev',
    HashPolicies: [
      { Field: 'header', FieldValue: 'x-user' },
      { SourceIP: true },
      { Field: 'query_parameter', FieldValue: 'q' },
    ],
  },
  Failover: { '*': { Datacenters: ['dc2'] } },
};

const SPLITTER = {
  Kind: 'service-splitter',
  Name: 'api',
  Splits: [
    { Weight: 90, ServiceSubset: 'v1' },
    { Weight: 9.99, ServiceSubset: 'v2' },
    { Weight: 0.01, Service: 'api-next' },
  ],
};

t.test('a router becomes an HTTPRoute, rule by rule', async (t) => {
  const { documents, notes, refused } = importConsulEntries(ROUTER);
  t.same(refused, []);
  t.match(documents[0], {
    kind: 'HTTPRoute',
    metadata: { name: 'web' },
    spec: {
      rules: [
        {
          name: 'route-1',
          matches: [
            {
              path: { type: 'PathPrefix', value: '/admin' },
              method: 'GET',
              headers: [
                { type: 'Exact', name: 'X-Debug', value: '1' },
                { type: 'RegularExpression', name: 'x-lang', value: 'de\\..*' },
              ],
              queryParams: [{ type: 'Present', name: 'v' }],
            },
            { method: 'POST' },
          ],
          backendRefs: [{ name: 'admin', subset: 'v2' }],
          timeouts: { request: '2s' },
          retry: { attempts: 3, codes: [503] },
          filters: [
            { type: 'RequestHeaderModifier', requestHeaderModifier: { remove: ['x-secret'] } },
            { type: 'URLRewrite', urlRewrite: { path: { replacePrefixMatch: '/' } } },
          ],
        },
        { name: 'route-2', matches: [{ path: { type: 'Exact', value: '/health' } }] },
        { name: 'route-3', backendRefs: [{ name: 'other' }] },
      ],
    },
  });
  const said = notes.map(({ path }) => path);
  for (const path of [
    'Routes',
    'Routes[0].Match.HTTP.PathPrefix',
    'Routes[1].Match.HTTP.CaseInsensitive',
    'Routes[2].Match.HTTP.Header[0]',
  ]) {
    t.ok(said.includes(path), path);
  }
});

t.test('a resolver becomes a ServicePolicy, with its default subset as a route', async (t) => {
  const { documents, notes, refused } = importConsulEntries([RESOLVER]);
  t.same(refused, []);
  t.match(documents[0], {
    kind: 'ServicePolicy',
    metadata: { name: 'admin' },
    spec: {
      subsets: { v1: { filter: 'Service.Meta.version == "1"' } },
      timeouts: { connect: '250ms' },
      loadBalancer: { policy: 'maglev', hashOn: [{ header: 'x-user' }, { source: true }] },
    },
  });
  t.match(documents[1], { kind: 'HTTPRoute', spec: { rules: [{ backendRefs: [{ name: 'admin', subset: 'v1' }] }] } });
  t.same(notes.map(({ path }) => path).sort(), [
    'Failover',
    'LoadBalancer.HashPolicies[2].Field',
    'Subsets.v2.OnlyPassing',
  ]);
  t.same(checkConsistency(documents), []);
});

t.test('a splitter keeps its shares to a hundredth of a percent', async (t) => {
  const { documents } = importConsulEntries([
    SPLITTER,
    { Kind: 'service-resolver', Name: 'api', Subsets: RESOLVER.Subsets },
  ]);
  const rules = documents.find(({ kind }) => kind === 'HTTPRoute')?.spec.rules;
  t.match(rules, [
    {
      backendRefs: [
        { name: 'api', subset: 'v1', weight: 9000 },
        { name: 'api', subset: 'v2', weight: 999 },
        { name: 'api-next', weight: 1 },
      ],
    },
  ]);
});

t.test('defaults of a caller become overrides at the services it names, intentions keep their words', async (t) => {
  const { documents, notes } = importConsulEntries([
    {
      Kind: 'service-defaults',
      Name: 'web',
      Protocol: 'grpc',
      UpstreamConfig: {
        Defaults: { ConnectTimeoutMs: 100 },
        Overrides: [
          {
            Name: 'api',
            ConnectTimeoutMs: 250,
            Limits: { MaxConnections: 10, MaxPendingRequests: 20 },
            PassiveHealthCheck: { Interval: 2_000_000_000, MaxFailures: 3 },
            MeshGateway: { Mode: 'local' },
          },
        ],
      },
    },
    {
      Kind: 'service-intentions',
      Name: 'api',
      Sources: [
        { Name: 'web', Action: 'allow', Precedence: 9, Type: 'consul' },
        {
          Name: 'ops',
          Permissions: [
            { Action: 'allow', HTTP: { PathPrefix: '/metrics', Methods: ['GET'] } },
            { Action: 'allow', HTTP: { Header: [{ Name: 'x', Present: true }] } },
          ],
        },
      ],
    },
  ]);
  t.match(
    documents.find(({ kind }) => kind === 'ServicePolicy'),
    {
      metadata: { name: 'api' },
      spec: {
        overrides: [
          {
            caller: 'web',
            timeouts: { connect: '250ms' },
            limits: { maxConnections: 10, maxPendingRequests: 20 },
            outlierDetection: { interval: '2s', consecutive5xxErrors: 3 },
          },
        ],
      },
    },
  );
  t.match(documents.find(({ kind }) => kind === 'ServiceIntentions')?.spec, {
    defaultAction: 'deny',
    sources: [
      { name: 'web', action: 'allow' },
      { name: 'ops', permissions: [{ action: 'allow', http: { methods: ['GET'], pathPrefix: '/metrics' } }] },
    ],
  });
  const said = notes.map(({ entry, path }) => `${entry} ${path}`);
  for (const path of [
    'service-defaults/web Protocol',
    'service-defaults/web UpstreamConfig.Defaults',
    'service-defaults/web UpstreamConfig.Overrides[0].MeshGateway',
  ]) {
    t.ok(said.includes(path), path);
  }
  t.ok(
    said.some((one) => one.startsWith('service-intentions/api Sources[1].Permissions[1]')),
    'a permission by header is said to be lost',
  );
});

t.test('what is no entry, or not valid, is said and hurts nobody', async (t) => {
  const { documents, notes, refused } = importConsulEntries([
    null,
    7,
    { Kind: 'ingress-gateway', Name: 'x' },
    { Kind: 'service-router', Name: 'web', Routes: 'no' },
    { Kind: 'service-resolver', Name: 'b a d', ConnectTimeout: '3s' },
  ]);
  t.equal(documents.length, 0);
  t.ok(notes.length >= 3);
  t.ok(refused.length >= 1);
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      importConsulEntries(value);
      importConsulEntries([{ Kind: 'service-router', Name: 'a', Routes: value }]);
      importConsulEntries([{ Kind: 'service-resolver', Name: 'a', Subsets: value, LoadBalancer: value }]);
      importConsulEntries([{ Kind: 'service-intentions', Name: 'a', Sources: value }]);
    }),
    { seed: 7, numRuns: 300 },
  );
});
