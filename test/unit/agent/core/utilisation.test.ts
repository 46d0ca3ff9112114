// Utilisation as endpoints report it, and zones that are divided by it.

import t from 'tap';
import { createEndpointStats } from '../../../../agent/core/stats.ts';
import { recordUtilisation } from '../../../../agent/core/utilisation.ts';
import { createServiceStats, createServiceView, PLAIN_CONTEXT } from '../../../../agent/core/view.ts';
import { endpointAt, policyWith } from '../../../support/views.ts';

t.test('the first report counts as it is, later ones move by 1 − exp(−Δt / 5 s)', async (t) => {
  const stats = createEndpointStats('a');
  recordUtilisation(stats, '0.50', 1000);
  t.equal(stats.utilisation, 0.5);
  recordUtilisation(stats, '1.00', 6000);
  t.ok(Math.abs(stats.utilisation - (0.5 + 0.5 * (1 - Math.exp(-1)))) < 1e-9);
  const before = stats.utilisation;
  for (const odd of ['', 'x', '-1', '1e2', '999.99999', 'NaN', '0.5, 0.6', '9999'])
    recordUtilisation(stats, odd, 20_000);
  t.equal(stats.utilisation, before, 'what is no number says nothing');
  recordUtilisation(stats, '0', 5000);
  t.equal(stats.utilisation, before, 'nor does the past');
});

t.test('zones by load: a busy own zone gives to the others, a stale report counts as free', async (t) => {
  const zoneAware = { isEnabled: true, minHosts: 2, isLoadAware: true };
  const plan = {
    service: 'svc',
    policy: policyWith({ loadBalancer: { zoneAware } }),
    rules: [],
    subsets: [],
    permission: { kind: 'allow' },
  } as const;
  const endpoints = ['a', 'a', 'b', 'b'].map((zone, index) => {
    const endpoint = endpointAt(index + 1, { zone });
    return { endpoint, stats: createEndpointStats(endpoint.id) };
  });
  const sharesAt = (now: number) => {
    const view = createServiceView(plan, endpoints, createServiceStats('svc'), { ...PLAIN_CONTEXT, now, zone: 'a' });
    let former = 0;
    return Object.fromEntries(
      view.groups.map(({ zone }, at) => {
        const share = (view.groupShares[at] ?? 1) - former;
        former = view.groupShares[at] ?? 1;
        return [zone ?? '', Math.round(share * 1000) / 1000];
      }),
    );
  };
  t.same(sharesAt(0), { a: 0.985, b: 0.015 }, 'nobody said anything: all at home but for the probing');
  for (const { endpoint, stats } of endpoints) recordUtilisation(stats, endpoint.zone === 'a' ? '0.90' : '0.30', 1000);
  t.same(sharesAt(2000), { a: 0.136, b: 0.864 }, '1 : 7 of what is free');
  t.same(sharesAt(200_000), { a: 0.985, b: 0.015 }, 'after three minutes nothing is known any more');
});
