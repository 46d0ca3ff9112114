// One list of promises, kept by SQLite and by a real Consul.

import t from 'tap';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { createConsulStore } from '../../control-plane/store/consul-store.ts';
import { createSqliteStore } from '../../control-plane/store/sqlite-store.ts';
import type { Store } from '../../control-plane/store/store.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';
import { CASES, type Place } from './store-conformance/cases.ts';

const epochMs = (): number => 1_700_000_000_000;

t.test('SQLite', async (t) => {
  for (const { name, run } of CASES) {
    await t.test(name, async (t) => {
      const folder = t.testdir();
      const at = async (name: string): Promise<Store> => createSqliteStore({ path: `${folder}/${name}.db`, epochMs });
      const place: Place = { isShared: false, open: () => at('policies'), another: () => at('another') };
      await run(t, place);
    });
  }
});

t.test('Consul', { timeout: 120_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const { url } = await startConsul(t);
  for (const [position, { name, run }] of CASES.entries()) {
    await t.test(name, async (t) => {
      const at = async (prefix: string): Promise<Store> =>
        createConsulStore({
          kv: await ConsulKv.open({ url, token: null, tokenFile: null, datacenter: null }),
          prefix,
          epochMs,
          now: () => performance.now(),
          random: Math.random,
          onNotice: (text) => t.fail(text),
        });
      await run(t, { isShared: true, open: () => at(`case-${position}/`), another: () => at(`another-${position}/`) });
    });
  }
});
