// The catalog and who leads.

import { at, type Case, list, pluck, refusal, refused, shape } from './world.ts';

export const catalogCases: readonly Case[] = [
  {
    name: 'catalog/services maps names to the union of tags',
    run: async (w) => {
      const tags = at((await w.get('/v1/catalog/services')).json, 'Flt');
      return list(tags).sort();
    },
    expect: ['a', 'b'],
  },
  {
    name: 'catalog nodes, one node and datacenters',
    run: async (w) => {
      const nodes = (await w.get('/v1/catalog/nodes')).json;
      const node = (await w.get(`/v1/catalog/node/${w.node}`)).json;
      const keys = Object.keys(Object(at(node, 'Services', 'reg-1'))).sort();
      return [
        shape(nodes),
        Object.keys(Object(node)),
        keys,
        (await w.get('/v1/catalog/node/none')).json,
        (await w.get('/v1/catalog/datacenters')).json,
      ];
    },
  },
  {
    name: 'a node of its own is registered with a service and a check, and taken out again',
    run: async (w) => {
      const body = {
        Node: 'ext',
        Address: '10.1.1.1',
        Service: { Service: 'ext', ID: 'ext-1', Port: 80 },
        Check: { Name: 'c', Status: 'passing', ServiceID: 'ext-1' },
      };
      const on = (await w.put('/v1/catalog/register', body)).json;
      const entry = (await w.get('/v1/health/service/ext')).json;
      const off = (await w.put('/v1/catalog/deregister', { Node: 'ext', ServiceID: 'ext-1' })).json;
      const empty = (await w.get('/v1/health/service/ext')).json;
      await w.put('/v1/catalog/deregister', { Node: 'ext' });
      return [
        on,
        shape(entry),
        pluck(at(entry, 0, 'Checks'), 'CheckID'),
        off,
        empty,
        (await w.get('/v1/catalog/node/ext')).json,
      ];
    },
  },
  {
    name: 'catalog/register and deregister refuse what they cannot read',
    run: async (w) => {
      const bodies = [{ Node: 'x' }, { Address: '1.1.1.1' }];
      const refusals = await Promise.all(
        bodies.map(async (body) => refusal(await w.put('/v1/catalog/register', body))),
      );
      return [
        ...refusals,
        (await w.put('/v1/catalog/register', '{bad')).status,
        refusal(await w.put('/v1/catalog/deregister', {})),
      ];
    },
    expect: [
      refused(500, 'Must provide address if SkipNodeUpdate is not set'),
      refused(500, 'Must provide node'),
      400,
      refused(500, 'Must provide node'),
    ],
  },
  {
    name: 'status, self and members',
    run: async (w) => {
      const leader = (await w.get('/v1/status/leader')).json;
      const self = (await w.get('/v1/agent/self')).json;
      const members = (await w.get('/v1/agent/members')).json;
      return [
        typeof leader,
        at((await w.get('/v1/status/peers')).json, 0) === leader,
        Object.keys(Object(at(self, 'Config'))).sort(),
        at(members, 0, 'Name') === w.node,
        at(members, 0, 'Status'),
        Object.keys(Object(at(members, 0))).sort(),
      ];
    },
  },
];
