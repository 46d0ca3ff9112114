// Keys and values: check-and-set, prefixes, transactions.

import { setTimeout as sleep } from 'node:timers/promises';
import { at, type Case, pluck, type Reply, refusal, refused, shape, watch } from './world.ts';

export const kvCases: readonly Case[] = [
  {
    name: 'a key is written, read with flags, read raw, deleted',
    run: async (w) => {
      const put = await w.put('/v1/kv/k/1?flags=42', 'one');
      const got = await w.get('/v1/kv/k/1');
      const raw = await w.get('/v1/kv/k/1?raw');
      const gone = await w.send('DELETE', '/v1/kv/k/1');
      return [
        put.json,
        shape(got.json),
        at(got.json, 0, 'Flags'),
        at(got.json, 0, 'Value'),
        got.index === at(got.json, 0, 'ModifyIndex'),
        raw.text,
        raw.headers['content-type'],
        gone.json,
        (await w.get('/v1/kv/k/1')).status,
      ];
    },
  },
  {
    name: 'an empty value is null, a missing key is 404 with an index and no body',
    run: async (w) => {
      await w.put('/v1/kv/empty');
      const missing = await w.get('/v1/kv/none');
      return [at((await w.get('/v1/kv/empty')).json, 0, 'Value'), missing.status, missing.text, missing.index >= 1];
    },
    expect: [null, 404, '', true],
  },
  {
    name: 'the npm client reads, writes and lists keys',
    run: async (w) => {
      await w.consul.kv.set('npm/a', 'x');
      const got = await w.consul.kv.get('npm/a');
      const missing = await w.consul.kv.get('npm/none');
      const keys = await w.consul.kv.keys('npm/');
      return [at(got, 'Value'), missing, keys];
    },
    expect: ['x', undefined, ['npm/a']],
  },
  {
    name: 'recurse and keys, with and without separator, and under no prefix',
    run: async (w) => {
      for (const key of ['t/b', 't/a', 't/c/1', 't/c/2', 'tx']) await w.put(`/v1/kv/${key}`, key);
      const keys = async (query: string): Promise<unknown> => (await w.get(`/v1/kv/${query}`)).json;
      const tree = (await w.get('/v1/kv/t/?recurse')).json;
      return [
        pluck(tree, 'Key'),
        await keys('t/?keys'),
        await keys('t/?keys&separator=/'),
        await keys('t?keys&separator=/'),
        (await w.get('/v1/kv/zz?keys')).status,
        (await w.get('/v1/kv/zz?recurse')).status,
      ];
    },
    expect: [
      ['t/a', 't/b', 't/c/1', 't/c/2'],
      ['t/a', 't/b', 't/c/1', 't/c/2'],
      ['t/a', 't/b', 't/c/'],
      ['t/', 'tx'],
      404,
      404,
    ],
  },
  {
    name: 'check-and-set: 0 creates only, an index replaces only that version',
    run: async (w) => {
      const cas = async (index: number | string, body = 'x'): Promise<unknown> =>
        (await w.put(`/v1/kv/cas?cas=${index}`, body)).json;
      const created = await cas(0);
      const again = await cas(0);
      const { index } = await w.get('/v1/kv/cas');
      return [
        created,
        again,
        await cas(index - 1, 'y'),
        await cas(index, 'y'),
        await cas(index, 'z'),
        refusal(await w.put('/v1/kv/cas?cas=odd', 'x')),
      ];
    },
    expect: [true, false, false, true, false, refused(500, 'strconv.ParseUint: parsing "odd": invalid syntax')],
  },
  {
    name: 'delete with check-and-set, recursive delete, conflicting flags',
    run: async (w) => {
      await w.put('/v1/kv/d/1', 'x');
      const { index } = await w.get('/v1/kv/d/1');
      const remove = async (query: string): Promise<Reply> => await w.send('DELETE', `/v1/kv/d/${query}`);
      const answers = [
        (await remove('1?cas=0')).json,
        (await remove(`1?cas=${index - 1}`)).json,
        (await remove(`1?cas=${index}`)).json,
        (await remove('none?cas=7')).json,
        (await remove('none')).json,
      ];
      await w.put('/v1/kv/d/2', 'x');
      await remove('?recurse');
      return [
        answers,
        (await w.get('/v1/kv/d/?recurse')).status,
        refusal(await remove('1?cas=1&recurse')),
        refusal(await w.put('/v1/kv/d/1?cas=0&acquire=x')),
      ];
    },
    expect: [
      [false, false, true, true, true],
      404,
      refused(400, 'Conflicting flags: cas=1&recurse='),
      refused(400, 'Conflicting flags: acquire=x&cas=0'),
    ],
  },
  {
    name: 'the same value again does not move the index',
    run: async (w) => {
      await w.put('/v1/kv/same', 'x');
      const { index } = await w.get('/v1/kv/same');
      await w.put('/v1/kv/same', 'x');
      return (await w.get('/v1/kv/same')).index === index;
    },
    expect: true,
  },
  {
    name: 'the index of a prefix moves with a deletion under it and not with one elsewhere',
    run: async (w) => {
      for (const key of ['p/a', 'p/b', 'q/a']) await w.put(`/v1/kv/${key}`, 'x');
      const { index } = await w.get('/v1/kv/p/?recurse');
      await w.send('DELETE', '/v1/kv/q/a');
      const elsewhere = (await w.get('/v1/kv/p/?recurse')).index === index;
      await w.send('DELETE', '/v1/kv/p/a');
      const after = await w.get('/v1/kv/p/?recurse');
      const key = await w.get('/v1/kv/p/a');
      return [elsewhere, after.index > index, pluck(after.json, 'Key'), key.status, key.index >= after.index];
    },
    expect: [true, true, ['p/b'], 404, true],
  },
  {
    name: 'a blocked read of a key wakes on its write and on its deletion, of a missing key on its creation',
    run: async (w) => {
      const seen: unknown[] = [];
      const missing = await w.get('/v1/kv/w/1');
      let waiting = watch(w, '/v1/kv/w/1', missing.index);
      await sleep(50);
      await w.put('/v1/kv/w/1', 'x');
      const created = await waiting.reply;
      seen.push(created.status);
      waiting = watch(w, '/v1/kv/w/1', created.index);
      await sleep(50);
      await w.send('DELETE', '/v1/kv/w/1');
      const deleted = await waiting.reply;
      seen.push(deleted.status, deleted.index > created.index);
      return seen;
    },
    expect: [200, 404, true],
  },
  {
    name: 'a blocked prefix wakes on a new key under it and sleeps through others',
    run: async (w) => {
      await w.put('/v1/kv/pre/1', 'x');
      const { index } = await w.get('/v1/kv/pre/?keys');
      const waiting = watch(w, '/v1/kv/pre/?keys', index);
      await sleep(50);
      await w.put('/v1/kv/other', String(index));
      await sleep(100);
      const slept = waiting.isOpen();
      await w.put('/v1/kv/pre/2', 'x');
      return [slept, (await waiting.reply).json];
    },
    expect: [true, ['pre/1', 'pre/2']],
  },
  {
    name: 'a value over 512 KiB is refused with the sizes',
    run: async (w) => refusal(await w.announce('/v1/kv/big', 600_000)),
    expect: refused(
      413,
      'Request body(600000 bytes) too large, max size: 524288 bytes. See https://www.consul.io/docs/agent/options.html#kv_max_value_size.',
    ),
  },
  {
    name: 'encoded slashes and spaces are part of the key',
    run: async (w) => {
      await w.put('/v1/kv/enc%2Fx%20y', 'z');
      return (await w.get('/v1/kv/enc/?keys')).json;
    },
    expect: ['enc/x y'],
  },
  {
    name: 'a transaction is all or nothing',
    run: async (w) => {
      const op = (Verb: string, Key: string, more: object = {}): object => ({ KV: { Verb, Key, ...more } });
      const ok = await w.put('/v1/txn', [
        op('set', 'x/1', { Value: 'b25l' }),
        op('get', 'x/1'),
        op('check-not-exists', 'x/9'),
      ]);
      const stale = await w.put('/v1/txn', [
        op('set', 'x/2', { Value: 'b25l' }),
        op('cas', 'x/1', { Index: 1, Value: 'b25l' }),
      ]);
      const read = await w.put('/v1/txn', [op('get', 'x/none')]);
      const odd = await w.put('/v1/txn', [op('odd', 'x')]);
      return [
        ok.status,
        shape(ok.json),
        at(ok.json, 'Results', 1, 'KV', 'Value'),
        stale.status,
        stale.json,
        (await w.get('/v1/kv/x/2')).status,
        read.status,
        read.json,
        odd.status,
        at(odd.json, 'Errors'),
        (await w.put('/v1/txn', '{bad')).status,
      ];
    },
  },
];
