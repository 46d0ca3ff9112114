// Registration through the agent: what is kept, what is generated, what moves an index.

import { at, type Case, list, pluck, refusal, refused, shape, statuses } from './world.ts';

export const registrationCases: readonly Case[] = [
  {
    name: 'a registration keeps weights, tags, meta and tagged addresses',
    run: async (w) => {
      await w.put('/v1/agent/service/register', {
        Name: 'reg',
        ID: 'reg-1',
        Port: 8080,
        Address: '10.0.0.9',
        Tags: ['a', 'b'],
        Meta: { version: '1' },
        Weights: { Passing: 5, Warning: 2 },
        EnableTagOverride: true,
        TaggedAddresses: { lan: { Address: '10.0.0.9', Port: 8081 } },
      });
      const service = at((await w.get('/v1/health/service/reg')).json, 0, 'Service');
      return [
        'ID',
        'Service',
        'Port',
        'Address',
        'Tags',
        'Meta',
        'Weights',
        'EnableTagOverride',
        'TaggedAddresses',
      ].map((key) => at(service, key));
    },
    expect: [
      'reg-1',
      'reg',
      8080,
      '10.0.0.9',
      ['a', 'b'],
      { version: '1' },
      { Passing: 5, Warning: 2 },
      true,
      {
        lan: { Address: '10.0.0.9', Port: 8081 },
        lan_ipv4: { Address: '10.0.0.9', Port: 8080 },
        wan_ipv4: { Address: '10.0.0.9', Port: 8080 },
      },
    ],
  },
  {
    name: 'a health entry has the same fields, all the way down',
    run: async (w) => shape((await w.get('/v1/health/service/reg')).json),
  },
  {
    name: 'a bare service has the same fields and defaults',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'bare' });
      const own = at((await w.get('/v1/health/service/bare')).json, 0, 'Service');
      const agent = at((await w.get('/v1/agent/services')).json, 'bare');
      const flat = (await w.get('/v1/catalog/service/bare')).json;
      return [shape(own), at(own, 'Weights'), agent, shape(flat)];
    },
  },
  {
    name: 'catalog entries have the same fields',
    run: async (w) => shape((await w.get('/v1/catalog/service/reg')).json),
  },
  {
    name: 'keys of a registration are read in any case and with underscores',
    run: async (w) => {
      const body = {
        name: 'snake',
        id: 's1',
        port: 1,
        enable_tag_override: true,
        checks: [{ ttl: '60s', notes: 'n' }],
      };
      const { status } = await w.put('/v1/agent/service/register', body);
      const entry = at((await w.get('/v1/health/service/snake')).json, 0);
      return [status, at(entry, 'Service', 'EnableTagOverride'), at(entry, 'Checks', 1, 'Notes')];
    },
    expect: [200, true, 'n'],
  },
  {
    name: 'Kind and Proxy come back',
    run: async (w) => {
      const body = { Name: 'px', Kind: 'connect-proxy', Port: 1, Proxy: { DestinationServiceName: 'reg' } };
      await w.put('/v1/agent/service/register', body);
      const service = at((await w.get('/v1/health/service/px')).json, 0, 'Service');
      return [at(service, 'Kind'), at(service, 'Proxy')];
    },
    expect: ['connect-proxy', { DestinationServiceName: 'reg', MeshGateway: {}, Expose: {} }],
  },
  {
    name: 'an idempotent registration keeps the index, a changed one moves it',
    run: async (w) => {
      const body = { Name: 'idem', ID: 'idem', Port: 1, Meta: { a: '1' }, Check: { TTL: '60s', Status: 'passing' } };
      await w.put('/v1/agent/service/register', body);
      const first = await w.get('/v1/health/service/idem');
      await w.put('/v1/agent/service/register', body);
      const second = await w.get('/v1/health/service/idem');
      await w.put('/v1/agent/service/register', { ...body, Port: 2 });
      const third = await w.get('/v1/health/service/idem');
      return [second.index === first.index, third.index > first.index];
    },
    expect: [true, true],
  },
  {
    name: 'a new registration keeps the create index of the old one',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'ci', Port: 1 });
      const before = at((await w.get('/v1/health/service/ci')).json, 0, 'Service');
      await w.put('/v1/agent/service/register', { Name: 'ci', Port: 2 });
      const after = at((await w.get('/v1/health/service/ci')).json, 0, 'Service');
      const isNewer = Number(at(after, 'ModifyIndex')) > Number(at(before, 'ModifyIndex'));
      return [at(after, 'CreateIndex') === at(before, 'CreateIndex'), isNewer];
    },
    expect: [true, true],
  },
  {
    name: 'generated check ids and names',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'gen', ID: 'g1', Check: { TTL: '60s' } });
      await w.put('/v1/agent/service/register', {
        Name: 'gen',
        ID: 'g2',
        Checks: [{ TTL: '60s' }, { CheckID: 'own', TTL: '60s' }, { TTL: '60s' }],
      });
      const checks = list((await w.get('/v1/health/checks/gen')).json);
      return checks.map((check) => [at(check, 'CheckID'), at(check, 'Name'), at(check, 'Type')]).sort();
    },
    expect: [
      ['own', "Service 'gen' check", 'ttl'],
      ['service:g1', "Service 'gen' check", 'ttl'],
      ['service:g2:1', "Service 'gen' check", 'ttl'],
      ['service:g2:3', "Service 'gen' check", 'ttl'],
    ],
  },
  {
    name: 'a second registration keeps a check and its status; replace-existing-checks drops the unnamed ones',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'rep', Check: { CheckID: 'rep-a', TTL: '60s' } });
      await w.put('/v1/agent/check/pass/rep-a?note=fine');
      const again = { Name: 'rep', Check: { CheckID: 'rep-b', TTL: '60s', Status: 'warning' } };
      await w.put('/v1/agent/service/register', again);
      const both = (await statuses(w, 'rep')).sort();
      await w.put('/v1/agent/service/register?replace-existing-checks=true', again);
      return [both, await statuses(w, 'rep')];
    },
    expect: [['passing', 'warning'], ['warning']],
  },
  {
    name: 'the npm client registers, lists and deregisters',
    run: async (w) => {
      await w.consul.agent.service.register({ name: 'npm', id: 'npm-1', port: 9, tags: ['x'] });
      const listed = at(await w.consul.agent.service.list(), 'npm-1', 'Tags');
      const seen = await w.consul.health.service('npm');
      await w.consul.agent.service.deregister('npm-1');
      return [listed, pluck(seen, 'Service', 'Port'), await w.consul.health.service('npm')];
    },
    expect: [['x'], [9], []],
  },
  {
    name: 'deregistration takes the checks along; an unknown id is fine, a missing one is not',
    run: async (w) => {
      await w.put('/v1/agent/service/register', {
        Name: 'gone',
        ID: 'gone-1',
        Check: { CheckID: 'gone-c', TTL: '60s' },
      });
      const { status } = await w.put('/v1/agent/service/deregister/gone-1');
      const checks = at((await w.get('/v1/agent/checks')).json, 'gone-c');
      const unknown = await w.put('/v1/agent/service/deregister/never');
      return [status, checks, unknown.status, refusal(await w.put('/v1/agent/service/deregister/'))];
    },
    expect: [200, undefined, 200, refused(500, 'ServiceID missing')],
  },
  {
    name: 'agent/service/:id has a content hash that follows the content',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'hash', Port: 1 });
      const first = await w.get('/v1/agent/service/hash');
      const again = await w.get('/v1/agent/service/hash');
      const hash = String(first.headers['x-consul-contenthash']);
      const waiting = w.get(`/v1/agent/service/hash?hash=${hash}&wait=20s`);
      await w.put('/v1/agent/service/register', { Name: 'hash', Port: 2 });
      const woken = await waiting;
      return [
        at(first.json, 'ContentHash') === hash,
        again.headers['x-consul-contenthash'] === hash,
        at(woken.json, 'Port'),
        shape(first.json),
        refusal(await w.get('/v1/agent/service/none')),
      ];
    },
  },
];
