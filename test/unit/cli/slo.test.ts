// What `outrigger slo` prints: nothing is rounded up, and what is wrong is said.

import t from 'tap';
import { percent, renderSlo, renderSlos, type SloDetail } from '../../../cli/slo.ts';

const plain = { hasColours: false };

function slo(changes: Partial<SloDetail> = {}): SloDetail {
  return {
    service: 'payments',
    objective: 0.999,
    windowMs: 30 * 86_400_000,
    latencyThresholdMs: 250,
    from: {
      target: 'ServicePolicy/payments',
      window: 'default',
      latencyThreshold: 'ServicePolicy/payments',
      freezeBelow: 'default',
    },
    freezeBelow: 0,
    isFrozen: false,
    measuredBy: 'outbound',
    sinceEpochMs: 0,
    good: 99_950,
    bad: 50,
    accounts: { instance: 30, service: 0, path: 15, caller: 0, policy: 0, client: 5 },
    budget: { allowed: 100, left: 0.5 },
    burns: [
      {
        name: 'burn_1h',
        severity: 'page',
        threshold: 14.4,
        longMs: 3_600_000,
        longBurn: 15.25,
        shortMs: 300_000,
        shortBurn: 20,
        firingSinceEpochMs: 1,
      },
    ],
    periods: [
      {
        name: 'day',
        coveredMs: 86_400_000,
        good: 99_950,
        bad: 50,
        availability: 0.9995,
        downtimeMs: 43_200,
        fiveNinesMs: 864,
      },
    ],
    composed: { own: 0.9999, path: 0.9998, through: ['ledger'] },
    ...changes,
  };
}

t.test('percent is cut and never rounded up, and has no decimals that say nothing', async (t) => {
  t.equal(percent(1), '100 %');
  t.equal(percent(0.999), '99.9 %');
  t.equal(percent(0.999_999_9), '99.9999 %');
  t.equal(percent(0.5, 1), '50 %');
  t.equal(percent(-0.25, 1), '-25 %');
  t.equal(percent(1 - 1 / 3, 1), '66.6 %');
});

t.test('one service: promise, count, budget, causes by size, alert, parts, burns and downtime', async (t) => {
  const text = renderSlo(slo(), plain);
  t.match(text, /^payments\npromised {2}99\.9 % of requests within 250 ms over 30d \(ServicePolicy\/payments\)$/m);
  t.match(text, /^counted {3}100000 requests by its callers since 1970-01-01T00:00:00\.000Z$/m);
  t.match(text, /^available 99\.95 %: 50 bad$/m);
  t.match(text, /^budget {4}50 % left of 100\.0 bad requests$/m);
  t.match(text, /^spent on {2}instance 30, path 15, client 5$/m);
  t.match(text, /^alert {5}burn_1h fires$/m);
  t.match(text, /^parts {5}99\.98 % is what they promise, with ledger$/m);
  t.match(text, /^burn_1h {2}page +14\.4 +1h +15\.25 +5m +20\.00$/m);
  t.match(text, /^day +1d +99\.95 % +43\.2 s +864 ms$/m);
  t.ok(text.split('\n').every((line) => line.length <= 80));
});

t.test('without requests, failures or parts it says so', async (t) => {
  const none = { instance: 0, service: 0, path: 0, caller: 0, policy: 0, client: 0 };
  const text = renderSlo(
    slo({
      good: 0,
      bad: 0,
      accounts: none,
      burns: [],
      composed: { own: null, path: null, through: [] },
      latencyThresholdMs: 0,
    }),
    plain,
  );
  t.match(text, /^promised {2}99\.9 % of requests over 30d/m);
  t.match(text, /^available -$/m);
  t.match(text, /^spent on {2}nothing$/m);
  t.match(text, /^alert {5}none$/m);
  t.notMatch(text, /^parts/m);
});

t.test('all services: a row each, with what was spent mostly on what in the wide one', async (t) => {
  t.match(renderSlos([], plain, false), /no request was counted yet/);
  const wide = renderSlos([slo(), slo({ service: 'orders', budget: { allowed: 1, left: -49 } })], plain, true);
  t.match(wide, /^payments +99\.9 % +30d +99\.95 % +50 +50 % +15\.25 +burn_1h +instance$/m);
  t.match(wide, /^orders +.*-4900 %/m);
});
