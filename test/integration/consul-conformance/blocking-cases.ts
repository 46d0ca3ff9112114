// Indexes and blocking queries.

import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { at, type Case, list, NO_SESSION, pluck, watch } from './world.ts';

export const blockingCases: readonly Case[] = [
  {
    name: 'every indexed read carries index, known leader and last contact',
    run: async (w) => {
      const paths = [
        'health/service/reg',
        'health/service/none',
        'health/node/none',
        'health/checks/reg',
        'health/state/any',
        'catalog/services',
        'catalog/service/reg',
        'catalog/nodes',
        `catalog/node/${w.node}`,
        'catalog/node/none',
        'kv/none',
        'kv/?recurse',
        'kv/?keys',
        'session/list',
        `session/info/${NO_SESSION}`,
        'session/node/none',
      ];
      const replies = await Promise.all(paths.map((path) => w.get(`/v1/${path}`)));
      return replies.map(({ index, headers }, i) => [
        paths[i]?.replace(w.node, 'NODE'),
        index >= 1,
        headers['x-consul-knownleader'],
        headers['x-consul-lastcontact'],
      ]);
    },
  },
  {
    name: 'a blocked query wakes on a change of its service',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'wake', ID: 'wake-1', Port: 1 });
      const { index } = await w.get('/v1/health/service/wake');
      const waiting = watch(w, '/v1/health/service/wake', index);
      await sleep(50);
      const wasOpen = waiting.isOpen();
      await w.put('/v1/agent/service/register', { Name: 'wake', ID: 'wake-2', Port: 2 });
      const reply = await waiting.reply;
      return [wasOpen, reply.index > index, pluck(reply.json, 'Service', 'ID')];
    },
    expect: [true, true, ['wake-1', 'wake-2']],
  },
  {
    name: 'a blocked query sleeps through another service and through an idempotent registration',
    run: async (w) => {
      const { index } = await w.get('/v1/health/service/wake');
      const waiting = watch(w, '/v1/health/service/wake', index);
      await sleep(50);
      await w.put('/v1/agent/service/register', { Name: 'noise', Port: 1 });
      await w.put('/v1/agent/service/register', { Name: 'wake', ID: 'wake-2', Port: 2 });
      await w.put('/v1/kv/noise', 'x');
      await sleep(150);
      const slept = waiting.isOpen();
      await w.put('/v1/agent/service/deregister/wake-2');
      return [slept, pluck((await waiting.reply).json, 'Service', 'ID')];
    },
    expect: [true, ['wake-1']],
  },
  {
    name: 'a query that times out carries the same index',
    run: async (w) => {
      const { index } = await w.get('/v1/health/service/wake');
      const reply = await w.get(`/v1/health/service/wake?index=${index}&wait=100ms`);
      return [reply.status, reply.index === index, list(reply.json).length];
    },
    expect: [200, true, 1],
  },
  {
    name: 'an index behind answers at once, an index ahead waits',
    run: async (w) => {
      const { index } = await w.get('/v1/health/service/wake');
      const behind = await watch(w, '/v1/health/service/wake', index - 1).reply;
      const ahead = watch(w, '/v1/health/service/wake', index + 1000, '300ms');
      await sleep(100);
      const waits = ahead.isOpen();
      return [behind.index === index, waits, (await ahead.reply).index === index];
    },
    expect: [true, true, true],
  },
  {
    name: 'the last instance to leave wakes its watchers with a larger index and an empty list',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'last', Port: 1 });
      const { index } = await w.get('/v1/health/service/last');
      const waiting = watch(w, '/v1/health/service/last', index);
      await sleep(50);
      await w.put('/v1/agent/service/deregister/last');
      const reply = await waiting.reply;
      return [reply.index > index, reply.json];
    },
    expect: [true, []],
  },
  {
    name: 'a service without instances has the index of the last extinction, and its first instance wakes',
    run: async (w) => {
      const { index } = await w.get('/v1/health/service/unborn');
      await w.put('/v1/agent/service/register', { Name: 'noise', Port: 2 });
      const same = (await w.get('/v1/health/service/unborn')).index === index;
      const waiting = watch(w, '/v1/health/service/unborn', index);
      await sleep(50);
      await w.put('/v1/agent/service/register', { Name: 'unborn', Port: 1 });
      return [same, list((await waiting.reply).json).length];
    },
    expect: [true, 1],
  },
  {
    name: 'a check that changes wakes the watchers of its service',
    run: async (w) => {
      await w.put('/v1/agent/service/register', { Name: 'chk', Check: { CheckID: 'chk', TTL: '60s' } });
      const { index } = await w.get('/v1/health/service/chk');
      const waiting = watch(w, '/v1/health/service/chk?passing', index);
      await sleep(50);
      await w.put('/v1/agent/check/pass/chk');
      return list((await waiting.reply).json).length;
    },
    expect: 1,
  },
  {
    name: 'the same status again does not move the index, with or without another note',
    run: async (w) => {
      const { index } = await w.get('/v1/health/service/chk');
      await w.put('/v1/agent/check/pass/chk?note=one');
      await w.put('/v1/agent/check/pass/chk?note=two');
      const agent = at((await w.get('/v1/agent/checks')).json, 'chk', 'Output');
      return [(await w.get('/v1/health/service/chk')).index === index, agent];
    },
    expect: [true, 'two'],
  },
  {
    name: 'a client that leaves a blocked query disturbs nobody',
    run: async (w) => {
      const { index } = await w.get('/v1/health/service/wake');
      const socket = connect(w.port, '127.0.0.1');
      socket.write(`GET /v1/health/service/wake?index=${index}&wait=20s HTTP/1.1\r\nHost: x\r\n\r\n`);
      await sleep(50);
      socket.destroy();
      await w.put('/v1/agent/service/register', { Name: 'wake', ID: 'wake-3', Port: 3 });
      return (await w.get('/v1/health/service/wake')).index > index;
    },
    expect: true,
  },
  {
    name: 'stale, consistent and cached are accepted, pretty indents',
    run: async (w) => {
      const replies = await Promise.all(
        ['stale', 'consistent', 'cached', 'near=_agent'].map((q) => w.get(`/v1/health/service/reg?${q}`)),
      );
      const pretty = await w.get('/v1/health/service/reg?pretty');
      const plain = await w.get('/v1/health/service/reg');
      return [
        replies.map(({ status, json }) => [status, list(json).length]),
        pretty.text.startsWith('[\n    {\n'),
        plain.text.startsWith('[{"'),
        plain.headers['content-type'],
      ];
    },
    expect: [
      [
        [200, 1],
        [200, 1],
        [200, 1],
        [200, 1],
      ],
      true,
      true,
      'application/json',
    ],
  },
];
