// Who tells what burns: the leader alone, and everybody while it is not known who leads.

import t from 'tap';
import { Fleet } from '../../../control-plane/core/fleet.ts';
import { NO_ACCOUNTS } from '../../../control-plane/core/slo/accounts.ts';
import { Arrivals } from '../../../control-plane/core/slo/arrivals.ts';
import { type AlertChange, SloBook } from '../../../control-plane/core/slo/book.ts';
import { SloIntake } from '../../../control-plane/core/slo/intake.ts';
import { EXCHANGE_EVERY_MS, SloWatch } from '../../../control-plane/push/slo-watch.ts';
import { createConsulSloStore } from '../../../control-plane/store/consul-slo-store.ts';
import { type Fault, MemoryKv } from '../../support/memory-kv.ts';
import { until } from '../../support/processes.ts';
import { sloTarget } from '../../support/slo-target.ts';

const START = 1_700_000_000_000;

t.test('a follower tells nothing while Consul answers, and what burns once it does not', async (t) => {
  const kv: { fault: Fault } = { fault: null };
  const clock = { at: 0, now: () => clock.at, epochMs: () => START + clock.at };
  const told = new Map<string, AlertChange[]>();
  const notices: string[] = [];
  const shared = new MemoryKv();
  const start = async (name: string, isLeader: boolean): Promise<SloBook> => {
    const book = new SloBook(() => sloTarget());
    const arrivals = new Arrivals(false);
    const store = createConsulSloStore({
      kv: new MemoryKv(() => kv.fault, shared),
      prefix: 'outrigger/',
      replica: name,
      epochMs: clock.epochMs,
    });
    const changes: AlertChange[] = [];
    told.set(name, changes);
    const watch = new SloWatch({
      book,
      intake: new SloIntake(new Fleet(), book, arrivals),
      arrivals,
      store,
      isLeader: () => isLeader,
      clock,
      onNotice: (text) => notices.push(text),
      onChange: (change) => changes.push(change),
      lookEveryMs: 2,
    });
    t.teardown(() => watch.stop());
    await watch.start();
    return book;
  };
  const leader = await start('leader', true);
  const follower = await start('follower', false);
  const alerts = (name: string): string[] => (told.get(name) ?? []).map(({ alert, state }) => `${alert} ${state}`);
  const ALL = ['burn_1h firing', 'burn_6h firing', 'burn_1d firing', 'burn_3d firing'];
  follower.record('payments', 'outbound', 0, { ...NO_ACCOUNTS, service: 100 }, clock.epochMs());
  await until(async () => {
    clock.at += EXCHANGE_EVERY_MS;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return alerts('leader').length > 0;
  }, 10_000);
  t.same(alerts('leader'), ALL, 'the leader tells of what another one counted');
  t.same(alerts('follower'), []);
  await until(async () => {
    clock.at += EXCHANGE_EVERY_MS;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return follower.alerts().length === ALL.length;
  }, 10_000);
  t.same(alerts('follower'), [], 'it knows what fires and says nothing');

  kv.fault = 'refused';
  leader.record('carts', 'outbound', 0, { ...NO_ACCOUNTS, service: 100 }, clock.epochMs());
  follower.record('carts', 'outbound', 0, { ...NO_ACCOUNTS, service: 100 }, clock.epochMs());
  await until(async () => {
    clock.at += EXCHANGE_EVERY_MS;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return alerts('follower').length > 0;
  }, 10_000);
  t.same(alerts('follower'), ALL, 'of carts alone: payments were told of already');
  t.ok((told.get('follower') ?? []).every(({ service }) => service === 'carts'));
  t.equal(
    notices.filter((text) => text.includes('could not be kept')).length,
    2,
    'each says once that nothing is kept',
  );
});
