// Sessions and locks.

import { setTimeout as sleep } from 'node:timers/promises';
import { at, type Case, list, NO_SESSION, pluck, refusal, refused, session, shape, until, watch } from './world.ts';

export const sessionCases: readonly Case[] = [
  {
    name: 'a session is created, described, listed and destroyed',
    run: async (w) => {
      const id = await session(w, { Name: 'mine', TTL: '15s', LockDelay: '2s' });
      const info = await w.get(`/v1/session/info/${id}`);
      const listed = pluck((await w.get('/v1/session/list')).json, 'ID').includes(id);
      const ofNode = pluck((await w.get(`/v1/session/node/${w.node}`)).json, 'ID').includes(id);
      const renewed = (await w.put(`/v1/session/renew/${id}`)).json;
      const destroyed = (await w.put(`/v1/session/destroy/${id}`)).json;
      const gone = (await w.get(`/v1/session/info/${id}`)).json;
      const { ID: _id, Node: _node, CreateIndex: _c, ModifyIndex: _m, ...rest } = Object(at(info.json, 0));
      return [rest, shape(info.json), listed, ofNode, pluck(renewed, 'ID')[0] === id, destroyed, gone];
    },
  },
  {
    name: 'sessions refuse bad TTLs, behaviours, nodes and checks',
    run: async (w) => {
      const bodies = [{ TTL: '5s' }, { TTL: 'odd' }, { Behavior: 'odd' }, { Node: 'none' }, { Checks: ['none'] }];
      const refusals = await Promise.all(bodies.map(async (body) => refusal(await w.put('/v1/session/create', body))));
      return [
        refusals.map((seen) => at(seen, 0)),
        at(refusals[0], 1),
        at(refusals[2], 1),
        at(refusals[3], 1),
        at(refusals[4], 1),
        (await w.put('/v1/session/create', '{bad')).status,
      ];
    },
    expect: [
      [500, 500, 500, 500, 500],
      "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]",
      "Invalid Behavior setting 'odd'",
      'Missing node registration',
      "Missing check 'none' registration",
      400,
    ],
  },
  {
    name: 'a lock: taken, kept against others, counted, given back only by its holder',
    run: async (w) => {
      const [a, b] = [await session(w), await session(w)];
      const lock = async (verb: string, id: string): Promise<unknown> =>
        (await w.put(`/v1/kv/lock?${verb}=${id}`, 'v')).json;
      const first = [
        await lock('acquire', a),
        await lock('acquire', a),
        await lock('acquire', b),
        await lock('release', b),
      ];
      const held = at((await w.get('/v1/kv/lock')).json, 0);
      const then = [await lock('release', a), await lock('acquire', b)];
      const taken = at((await w.get('/v1/kv/lock')).json, 0);
      return [
        first,
        at(held, 'Session') === a,
        at(held, 'LockIndex'),
        then,
        at(taken, 'Session') === b,
        at(taken, 'LockIndex'),
      ];
    },
    expect: [[true, true, false, false], true, 1, [true, true], true, 2],
  },
  {
    name: 'a plain write keeps the holder',
    run: async (w) => {
      const id = await session(w);
      await w.put(`/v1/kv/plain?acquire=${id}`, 'v');
      await w.put('/v1/kv/plain', 'w');
      const entry = at((await w.get('/v1/kv/plain')).json, 0);
      return [at(entry, 'Session') === id, at(entry, 'LockIndex')];
    },
    expect: [true, 0],
  },
  {
    name: 'destroying a session releases its lock, wakes watchers, and delays the next holder',
    run: async (w) => {
      const id = await session(w, { LockDelay: '60s' });
      await w.put(`/v1/kv/rel?acquire=${id}`, 'v');
      const { index } = await w.get('/v1/kv/rel');
      const waiting = watch(w, '/v1/kv/rel', index);
      await sleep(50);
      await w.put(`/v1/session/destroy/${id}`);
      const reply = await waiting.reply;
      const next = await session(w);
      return [
        reply.index > index,
        at(reply.json, 0, 'Session'),
        at(reply.json, 0, 'Value'),
        at(reply.json, 0, 'LockIndex'),
        (await w.put(`/v1/kv/rel?acquire=${next}`, 'v')).json,
      ];
    },
    expect: [true, undefined, 'dg==', 1, false],
  },
  {
    name: 'without a lock delay the next holder comes at once; behaviour delete deletes the key',
    run: async (w) => {
      const id = await session(w, { LockDelay: '0s', Behavior: 'delete' });
      await w.put(`/v1/kv/del?acquire=${id}`, 'v');
      await w.put(`/v1/session/destroy/${id}`);
      const { status } = await w.get('/v1/kv/del');
      const next = await session(w);
      return [status, (await w.put(`/v1/kv/del?acquire=${next}`, 'v')).json];
    },
    expect: [404, true],
  },
  {
    name: 'a session ends with its check',
    run: async (w) => {
      await w.put('/v1/agent/check/register', { Name: 'bound', TTL: '60s', Status: 'passing' });
      const id = await session(w, { Checks: ['bound'], LockDelay: '0s' });
      await w.put(`/v1/kv/bound?acquire=${id}`, 'v');
      await w.put('/v1/agent/check/fail/bound');
      await until('end of the session', async () => list((await w.get(`/v1/session/info/${id}`)).json).length === 0);
      await w.put('/v1/agent/check/deregister/bound');
      return at((await w.get('/v1/kv/bound')).json, 0, 'Session');
    },
    expect: undefined,
  },
  {
    name: 'locks need a session that exists',
    run: async (w) => [
      refusal(await w.put('/v1/kv/ns?acquire=odd', 'v')),
      refusal(await w.put(`/v1/kv/ns?acquire=${NO_SESSION}`, 'v')),
      refusal(await w.put('/v1/kv/ns?acquire=', 'v')),
      (await w.put(`/v1/kv/ns?release=${NO_SESSION}`, 'v')).json,
    ],
    expect: [
      refused(500, 'failed session lookup: index error: UUID must be 36 characters'),
      refused(500, `invalid session "${NO_SESSION}"`),
      refused(500, 'missing session'),
      false,
    ],
  },
  {
    name: 'the npm client makes and ends sessions',
    run: async (w) => {
      const { ID } = await w.consul.session.create({ ttl: '20s', lockdelay: '0s' });
      const locked = await w.consul.kv.set({ key: 'npm/lock', value: 'v', acquire: ID });
      await w.consul.session.destroy(ID);
      return [locked, at(await w.consul.kv.get('npm/lock'), 'Session')];
    },
    expect: [true, undefined],
  },
];
