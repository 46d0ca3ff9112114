// The lock on a real Consul: one doer, another one after it left, none while Consul is away for longer than a session lives.

import t from 'tap';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { createConsulLeadership, createLoneLeadership, type Leadership } from '../../control-plane/store/leader.ts';
import { until } from '../support/processes.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

t.test('one control plane alone always leads', async (t) => {
  const alone = createLoneLeadership();
  t.equal(alone.isLeader(), true);
  alone.onChange(() => t.fail('nothing changes'))();
  await alone.stop();
});

t.test('of several exactly one leads', { timeout: 90_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const consul = await startConsul(t);
  const stopped = new Set<Leadership>();
  const stand = async (name: string): Promise<Leadership> => {
    const kv = await ConsulKv.open({ url: consul.url, token: null, tokenFile: null, datacenter: null });
    const key = 'outrigger/leader';
    const one = createConsulLeadership({ kv, key, name, now: () => performance.now(), random: Math.random });
    t.teardown(() => (stopped.has(one) ? undefined : one.stop()));
    return one;
  };
  const all = [await stand('a'), await stand('b'), await stand('c')];
  const leaders = (): Leadership[] => all.filter((one) => one.isLeader());
  const heard: string[] = [];
  for (const [position, one] of all.entries()) one.onChange((isLeader) => heard.push(`${position} ${isLeader}`));
  await until(() => leaders().length > 0, 20_000);
  t.equal(leaders().length, 1);
  const [first] = leaders();
  t.same(heard, [`${all.indexOf(first as Leadership)} true`]);

  stopped.add(first as Leadership);
  await first?.stop();
  t.equal(first?.isLeader(), false);
  await until(() => leaders().length > 0, 20_000);
  t.equal(leaders().length, 1, 'another one took over');
  const [second] = leaders();
  t.not(second, first);

  await consul.kill('SIGKILL');
  await until(() => leaders().length === 0, 20_000);
  await consul.restart();
  await until(() => leaders().length > 0, 40_000);
  t.equal(leaders().length, 1, 'and one again when Consul is back');
});
