// A control plane over a real Consul that is killed in the middle of writes (test/support/kill-again.ts).

import t from 'tap';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { createConsulStore } from '../../control-plane/store/consul-store.ts';
import type { Store } from '../../control-plane/store/store.ts';
import { KILLS, KILLS_LIMIT_MS, killAgainAndAgain } from '../support/kill-again.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

t.test(`Consul: no acknowledged change is lost over ${KILLS} kills`, { timeout: KILLS_LIMIT_MS }, async (t) => {
  if (consulOrFail(t) === null) return;
  const { url } = await startConsul(t);
  const open = async (): Promise<Store> =>
    createConsulStore({
      kv: await ConsulKv.open({ url, token: null, tokenFile: null, datacenter: null }),
      prefix: 'outrigger/',
      epochMs: () => 0,
      now: () => performance.now(),
      random: Math.random,
      onNotice: (text) => t.fail(text),
    });
  await killAgainAndAgain(t, { consul: { url } }, open);
});
